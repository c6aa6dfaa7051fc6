"""The supervisor: keeps processes running, each started, watched, and started again when it dies.

It runs none of their code, so what kills one of them does not kill it; nor do they outlive it.
"""

import asyncio
import logging
import os
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from typing import NamedTuple, Self

from arqway.workers.background import Backoff

logger = logging.getLogger("arqway.workers.supervisor")

MISCONFIGURED = 2
"""Exit code by which a process says that no start can work as it is configured."""
_AT_ONCE_S = 10.0
"""A process that dies sooner after its start has died at once."""
_LONGEST_WAIT_S = 30.0
_LAST_CARE_S = 2.0


class Start(NamedTuple):
    """One start of a process."""

    place: int
    """From 1: where several of a part run side by side."""
    generation: int
    """From 1: how often this place was started."""


async def _nothing(_: Start) -> None:
    return


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Processes of one sort.

    Args:
        name: What people call one of them.
        command: Gives the arguments of Python for a start. ``--lifeline FD`` is added to them.
        count: How many run side by side.
        environment: Variables that differ for a start.
        lost: Takes care of what a start leaves that ended by a signal or with an error's exit code.
        log: File that gets the output; without it that is this process's own.
        ends: Whether a start that ends with exit code 0 has done its work, as in a burst, and is followed by no other.
    """

    name: str
    command: Callable[[Start], Sequence[str]]
    count: int = 1
    environment: Callable[[Start], Mapping[str, str]] = lambda _: {}
    lost: Callable[[Start], Awaitable[None]] = _nothing
    log: Path | None = None
    ends: bool = False


class _Place:
    """Where a process of a part runs, and after its death the next."""

    def __init__(self, part: Part, number: int) -> None:
        self.part = part
        self.process: Process | None = None
        self.start = Start(number, 0)
        self.deaths = 0
        """In a row, each at once after the start."""
        self.done = False
        self.misconfigured: bool | None = None
        """Whether every start so far has ended at once with that exit code; None: none has ended."""

    @property
    def name(self) -> str:
        return self.part.name if self.part.count == 1 else f"{self.part.name} {self.start.place}"

    def ended(self, code: int, lived_s: float) -> None:
        at_once = lived_s < _AT_ONCE_S
        self.deaths = self.deaths + 1 if at_once else 1
        self.misconfigured = at_once and code == MISCONFIGURED and self.misconfigured is not False


class Supervisor:
    """Processes that live no longer than the ``async with`` block, whatever ends it.

    Args:
        parts: What to run.
        environment: Of all of them.
        stop_within_s: A process that has not ended so long after it was asked to is killed.
        restarts: How often in a row a process that dies at once is started again; None: for ever; 0: no process is
            started again, however long it has lived.
    """

    def __init__(
        self, parts: Sequence[Part], *, environment: Mapping[str, str], stop_within_s: float, restarts: int | None
    ) -> None:
        self._places = [_Place(part, number) for part in parts for number in range(1, part.count + 1)]
        self._environment = environment
        self._stop_within_s = stop_within_s
        self._restarts = restarts
        self._keepers: list[asyncio.Task[None]] = []
        self._care: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._hurried_twice = asyncio.Event()
        self._hurried = False
        self._hopeless: asyncio.Queue[str] = asyncio.Queue()
        self._done = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._lifeline, self._lifeline_held = os.pipe()
        self._keepers = [asyncio.create_task(self._keep(place)) for place in self._places]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def failure(self) -> str:
        """Return why, in one line, once it makes no sense to go on: a process ends again and again."""
        return await self._hopeless.get()

    async def done(self) -> None:
        """Return once every process has done its work; never, where there are parts whose work has no end."""
        await self._done.wait()

    def hurry(self) -> None:
        """Ask the processes, which were asked to stop, to do so at once; asked again, kill them."""
        if self._hurried:
            self._hurried_twice.set()
        elif self._stopping.is_set():
            self._hurried = True
            self._signal_all(SIGINT)

    async def _keep(self, place: _Place) -> None:
        backoff = Backoff(cap_s=_LONGEST_WAIT_S)
        while not self._stopping.is_set():
            started_s = time.monotonic()
            code = await self._run(place)
            lived_s = time.monotonic() - started_s
            place.ended(code, lived_s)
            if self._stopping.is_set():
                return
            if code == 0 and place.part.ends:
                place.done = True
                if all(other.done for other in self._places):
                    self._done.set()
                return
            if (reason := self._despair(place, code)) is not None:
                self._hopeless.put_nowait(reason)
                return
            if lived_s >= _AT_ONCE_S:
                backoff.reset()
            await self._start_later(place, code, backoff.next_s())

    async def _start_later(self, place: _Place, code: int, wait_s: float) -> None:
        extra = {"part": place.name, "ended": _ending(code), "wait_s": round(wait_s, 3)}
        logger.warning("A process has ended and is started again", extra=extra)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()

    def _despair(self, place: _Place, code: int) -> str | None:
        name = place.part.name
        if all(other.misconfigured for other in self._places if other.part is place.part):
            reason = f"every start of the {name} has ended with exit code {code}, which no other start can mend"
        elif self._restarts is not None and place.deaths > self._restarts:
            often = f", {place.deaths} times in a row" if place.deaths > 1 else ""
            reason = f"the {place.name} {_ending(code)}{often}"
        else:
            return None
        return f"{reason}, so everything stops" + (f" (see {place.part.log})" if place.part.log else "")

    async def _run(self, place: _Place) -> int:
        """Start the process, and return its exit code when it has ended."""
        place.start = place.start._replace(generation=place.start.generation + 1)
        try:
            place.process = await self._execute(place)
        except OSError as error:
            logger.error("A process cannot be started", extra={"part": place.name, "cause": str(error)})  # noqa: TRY400
            return 1
        if self._stopping.is_set():
            place.process.terminate()
        code = await place.process.wait()
        if code != 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(place.process.pid, SIGKILL)  # what it had started itself
            self._take_care(place)
        return code

    async def _execute(self, place: _Place) -> Process:
        part, start = place.part, place.start
        log = part.log.open("wb" if start.generation == 1 else "ab") if part.log else None
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *(*part.command(start), "--lifeline", str(self._lifeline)),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._environment, **part.environment(start)},
                pass_fds=(self._lifeline,),
                process_group=0,  # Ctrl-C reaches this process only, which stops the others in order
            )
        finally:
            if log:
                log.close()

    def _take_care(self, place: _Place) -> None:
        async def care() -> None:
            try:
                await place.part.lost(start)
            except Exception:
                logger.exception("What a dead process left could not be taken care of", extra={"part": place.name})

        start = place.start
        task = asyncio.create_task(care())
        self._care.add(task)
        task.add_done_callback(self._care.discard)

    def _signal_all(self, number: Signals) -> None:
        for place in self._places:
            if place.process is not None and place.process.returncode is None:
                with suppress(ProcessLookupError):
                    place.process.send_signal(number)

    async def _stop(self) -> None:
        """Ask every process to stop, wait, and kill those that do not."""
        self._stopping.set()
        self._signal_all(SIGTERM)
        ended = asyncio.create_task(self._all_ended())
        impatient = asyncio.create_task(self._hurried_twice.wait())
        await asyncio.wait([ended, impatient], timeout=self._stop_within_s, return_when=asyncio.FIRST_COMPLETED)
        for place in self._places:
            if place.process is not None and place.process.returncode is None:
                logger.warning("A process did not stop in time and is killed", extra={"part": place.name})
                os.killpg(place.process.pid, SIGKILL)  # with its own children
        await ended
        impatient.cancel()
        await self._finish_care()
        os.close(self._lifeline)
        os.close(self._lifeline_held)

    async def _all_ended(self) -> None:
        await asyncio.gather(*self._keepers)

    async def _finish_care(self) -> None:
        if self._care:
            await asyncio.wait(self._care, timeout=_LAST_CARE_S)
        for task in self._care:
            task.cancel()


def _ending(code: int) -> str:
    """Return how a process with this exit code has ended."""
    return f"was ended by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
