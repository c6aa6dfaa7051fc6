"""The supervisor: starts processes, watches them, and restarts those that die.

It runs none of their code, so whatever kills one of them spares the supervisor. Nor do they outlive it: each inherits
the reading end of a pipe, its lifeline, whose other end only the supervisor holds. A supervisor that gets SIGKILL
cannot stop its children, but the kernel closes its end of the pipe, which ``end_with_parent`` notices in each child.
"""

import asyncio
import logging
import os
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from threading import Thread
from typing import NamedTuple, Self

from arqway.workers.background import Backoff

logger = logging.getLogger("arqway.workers.supervisor")

MISCONFIGURED = 2
"""Exit code with which a process reports that no start can work as it is configured."""
_AT_ONCE_S = 10.0
"""A process that dies within this time of its start has died at once."""
_LONGEST_WAIT_S = 30.0
_LAST_CLEANUP_S = 2.0


class Start(NamedTuple):
    """One start of a process."""

    place: int
    """From 1: numbers the processes of a part that run side by side."""
    generation: int
    """From 1: how many times this place has been started."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A group of processes that run the same command.

    Args:
        name: What to call one of them.
        command: Returns the arguments of Python for a start. ``--lifeline FD`` is appended to them.
        count: How many run side by side.
        overlap: Whether a new process may run while the one that it replaces is still stopping; not if both would
            listen on the same port.
        lost: Cleans up after a start that ended by a signal or with a nonzero exit code.
        log: File that receives the output; by default it goes where this process's own goes.
        ends: Whether exit code 0 means that the work is done, as in a burst, so that no other start follows.
    """

    name: str
    command: Callable[[Start], Sequence[str]]
    count: int = 1
    overlap: bool = False
    lost: Callable[[Start], Awaitable[None]] | None = None
    log: Path | None = None
    ends: bool = False


@dataclass(eq=False)
class _Place:
    """A place where a process of a part runs and, after its death, the next one."""

    part: Part
    start: Start
    process: Process | None = None
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    deaths: int = 0
    """Consecutive deaths, each at once after the start."""
    done: bool = False
    misconfigured: bool | None = None
    """Whether every start so far has ended at once with ``MISCONFIGURED``; None: none has ended."""
    keeper: "asyncio.Task[None]" = field(init=False)
    farewell: "asyncio.Task[None] | None" = None
    """Ends the process; None while it is to be kept running."""

    @property
    def name(self) -> str:
        return self.part.name if self.part.count == 1 else f"{self.part.name} {self.start.place}"

    def signal(self, number: Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    def kill(self) -> None:
        """Kill a process that is still alive, with its own children."""
        if self.process is not None and self.process.returncode is None:
            logger.warning("A process did not stop in time and is killed", extra={"part": self.name})
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, SIGKILL)


class Supervisor:
    """Runs processes that live no longer than the ``async with`` block, whatever ends it.

    Args:
        parts: What to run.
        environment: The environment of every process.
        stop_within_s: A process that has not ended this long after it was asked to is killed.
        restarts: How many times in a row a process that dies at once is restarted; None: without limit; 0: no process
            is restarted, however long it has lived.
    """

    def __init__(
        self, parts: Sequence[Part], *, environment: Mapping[str, str], stop_within_s: float, restarts: int | None
    ) -> None:
        self._parts = parts
        self._places: list[_Place] = []
        self._environment = environment
        self._stop_within_s = stop_within_s
        self._restarts = restarts
        self._cleanups: set[asyncio.Task[None]] = set()
        self._stopping = self._hurried = False
        self._failures: asyncio.Queue[str] = asyncio.Queue()
        self._done = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._lifeline, self._lifeline_held = os.pipe()
        for part in self._parts:
            for number in range(1, part.count + 1):
                self._add(_Place(part, Start(number, 0)))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ask every process to stop, wait, and kill those that do not."""
        self._stopping = True
        await asyncio.gather(*map(self._retire, self._places))
        if self._cleanups:
            await asyncio.wait(self._cleanups, timeout=_LAST_CLEANUP_S)
        for task in self._cleanups:
            task.cancel()
        os.close(self._lifeline)
        os.close(self._lifeline_held)

    async def failure(self) -> str:
        """Wait until it is pointless to continue, as a process keeps dying; return why, in one line."""
        return await self._failures.get()

    async def done(self) -> None:
        """Return once every process has done its work; never, if there are parts whose work has no end."""
        await self._done.wait()

    def replace(self) -> None:
        """Start a new process in every place, and ask the old one to stop gracefully; a no-op while everything stops.

        A process that was given up on is started again, too.
        """
        if self._stopping:
            return
        for place in [kept for kept in self._places if kept.farewell is None]:
            self._retire(place)
            self._add(_Place(place.part, place.start), None if place.part.overlap else place)

    def hurry(self) -> None:
        """Ask processes that are stopping to stop at once; if called again, kill them."""
        if self._stopping:
            for place in self._places:
                if self._hurried:
                    place.kill()
                else:
                    place.signal(SIGINT)
            self._hurried = True

    def _add(self, place: _Place, after: _Place | None = None) -> None:
        place.keeper = asyncio.create_task(self._keep(place, after))
        self._places.append(place)

    async def _keep(self, place: _Place, after: _Place | None) -> None:
        """Run one process after the other in a place, the first one once ``after`` is vacant."""
        if after is not None:
            await asyncio.wait([after.keeper])
        backoff = Backoff(cap_s=_LONGEST_WAIT_S)
        while not place.leaving.is_set():
            started_s = time.monotonic()
            code = await self._run(place)
            at_once = time.monotonic() - started_s < _AT_ONCE_S
            place.deaths = place.deaths + 1 if at_once else 1
            place.misconfigured = at_once and code == MISCONFIGURED and place.misconfigured is not False
            if place.leaving.is_set():
                return
            if code == 0 and place.part.ends:
                place.done = True
                if all(other.done for other in self._places):
                    self._done.set()
                return
            if (reason := self._reason_to_give_up(place, code)) is not None:
                self._failures.put_nowait(reason)
                return
            if not at_once:
                backoff.reset()
            wait_s = backoff.next_s()
            extra = {"part": place.name, "ended": ending(code), "wait_s": round(wait_s, 3)}
            logger.warning("A process has ended and is started again", extra=extra)
            with suppress(TimeoutError):
                await asyncio.wait_for(place.leaving.wait(), wait_s)

    def _reason_to_give_up(self, place: _Place, code: int) -> str | None:
        part = place.part
        if all(other.misconfigured for other in self._places if other.part is part and other.farewell is None):
            reason = f"every start of the {part.name} has ended with exit code {code}, which no restart can fix"
        elif self._restarts is not None and place.deaths > self._restarts:
            often = f", {place.deaths} times in a row" if place.deaths > 1 else ""
            reason = f"the {place.name} {ending(code)}{often}"
        else:
            return None
        return f"{reason} (see {part.log})" if part.log else reason

    async def _run(self, place: _Place) -> int:
        """Start the process, and return its exit code once it has ended."""
        part = place.part
        place.start = start = place.start._replace(generation=place.start.generation + 1)
        try:
            with part.log.open("wb" if start.generation == 1 else "ab") if part.log else nullcontext() as log:
                place.process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # or a file in the current folder could shadow our modules or a library's
                    *(*part.command(start), "--lifeline", str(self._lifeline)),
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    pass_fds=(self._lifeline,),
                    process_group=0,  # Ctrl-C reaches only this process, which stops the others in order
                )
        except OSError as error:
            logger.error("A process cannot be started", extra={"part": place.name, "cause": str(error)})  # noqa: TRY400
            return 1
        if place.leaving.is_set():
            place.process.terminate()
        code = await place.process.wait()
        if code != 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(place.process.pid, SIGKILL)  # kills the children it left
            if part.lost is not None:
                cleanup = asyncio.create_task(_log_errors(part.lost(start), place.name))
                self._cleanups.add(cleanup)
                cleanup.add_done_callback(self._cleanups.discard)
        return code

    def _retire(self, place: _Place) -> "asyncio.Task[None]":
        """Ask the process of a place to stop; return a task that waits for that, and kills it if it takes too long."""
        if place.farewell is None:
            place.leaving.set()
            place.signal(SIGTERM)
            place.farewell = asyncio.create_task(self._await_end(place))
        return place.farewell

    async def _await_end(self, place: _Place) -> None:
        await asyncio.wait([place.keeper], timeout=self._stop_within_s)
        place.kill()
        await place.keeper
        self._places.remove(place)


async def _log_errors(cleanup: Awaitable[None], part: str) -> None:
    try:
        await cleanup
    except Exception:
        logger.exception("Cleaning up after a dead process failed", extra={"part": part})


def ending(code: int) -> str:
    """Describe how a process with this exit code ended."""
    return f"was ended by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def end_with_parent(lifeline: int, *, within_s: float) -> None:
    """Send SIGTERM to this process once nobody holds the other end of the pipe ``lifeline``, a file descriptor.

    A process that has not ended ``within_s`` seconds later, such as one whose event loop is blocked, gets SIGKILL.
    """

    def wait_and_end() -> None:
        while os.read(lifeline, 1):
            pass
        os.kill(os.getpid(), SIGTERM)
        time.sleep(within_s)
        os.kill(os.getpid(), SIGKILL)

    Thread(target=wait_and_end, name="lifeline", daemon=True).start()
