"""The processes of one installation: started together, watched, and stopped together."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from service.cli.errors import CommandError
from service.cli.output import warn
from workers.embedded import EmbeddedServer

if TYPE_CHECKING:
    from service.settings import ServiceSettings

ResultT = TypeVar("ResultT")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_AT_SERVER_EVERY_S = 0.5
_LAST_WRITES_S = 10.0
"""Time for a worker, after it has drained, to hand back its jobs and write what it holds."""


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Somebody pressed Ctrl-C or sent SIGTERM."""


class Part(NamedTuple):
    """A process of the stack: ``arqway {command}`` under a name."""

    name: str
    command: str


API = Part("API", "api")
WORKER = Part("worker", "worker")


class Stack:
    """Child processes that live no longer than the ``async with`` block, whatever ends it.

    Args:
        parts: What to start.
        settings: Of this process; the children read the same, from the environment.
        server: The embedded server they use, if any. One that is owned here must live as long as they do.
        changes: Environment variables that differ for the children.
        logs: Folder that gets the children's output, ``{command}.log``; without it they share this terminal.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        settings: "ServiceSettings",
        server: EmbeddedServer | None,
        *,
        changes: Mapping[str, str] | None = None,
        logs: Path | None = None,
    ) -> None:
        self._parts = parts
        self._environment = {**os.environ, **(changes or {}), **({"REDIS_URL": server.url} if server else {})}
        self._stop_within_s = settings.drain_s + settings.cancel_grace_s + _LAST_WRITES_S
        self._server = server if server and server.owned else None
        self._logs = logs
        self._children: dict[Part, Process] = {}
        self._stopping = asyncio.Event()
        self._impatient = asyncio.Event()

    async def __aenter__(self) -> Self:
        for stop_signal in _STOP_SIGNALS:
            if signal.getsignal(stop_signal) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                asyncio.get_running_loop().add_signal_handler(stop_signal, self._on_signal)
        self._lifeline, self._lifeline_held = os.pipe()
        try:
            for part in self._parts:
                self._children[part] = await self._start(part)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Return what ``work`` gives, if the stack lives so long.

        Raises:
            StopRequested: A signal came first.
            CommandError: A process of the stack ended first.
        """
        task = asyncio.create_task(work)
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([task, watching], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else watching.result()
        finally:
            for pending in (task, watching):
                pending.cancel()
            await asyncio.gather(task, watching, return_exceptions=True)

    async def _watch(self) -> Any:
        """Raise when a signal has come or something of the stack has ended."""
        ends = {asyncio.create_task(child.wait()): part for part, child in self._children.items()}
        stopping = asyncio.create_task(self._stopping.wait())
        server = asyncio.create_task(self._server_end())
        everything = [stopping, server, *ends]
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                raise StopRequested
            if server.done():
                raise CommandError("the embedded server has ended, so everything stops")
            raise CommandError(next(self._epitaph(part, end.result()) for end, part in ends.items() if end.done()))
        finally:
            for pending in everything:
                pending.cancel()

    async def _server_end(self) -> None:
        while self._server is None or self._server.is_running():  # noqa: ASYNC110 - an adopted server is no child
            await asyncio.sleep(_LOOK_AT_SERVER_EVERY_S)

    def _epitaph(self, part: Part, code: int) -> str:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        where = f" (see {self._log_of(part)})" if self._logs else ""
        return f"the {part.name} {how}, so everything stops{where}"

    def _log_of(self, part: Part) -> Path:
        return (self._logs or Path()) / f"{part.command}.log"

    async def _start(self, part: Part) -> Process:
        log = self._log_of(part).open("wb") if self._logs else None
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "service.cli", part.command, "--lifeline", str(self._lifeline)),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                pass_fds=(self._lifeline,),
                process_group=0,  # Ctrl-C reaches this process only, which stops the others in order
            )
        finally:
            if log:
                log.close()

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._impatient.set()
        self._stopping.set()

    async def _stop(self) -> None:
        """Ask every child to stop, wait, and kill those that do not; a second signal cuts the waiting short."""
        self._stopping.set()
        for child in self._children.values():
            with suppress(ProcessLookupError):
                child.terminate()
        ended = asyncio.create_task(self._all_ended())
        impatient = asyncio.create_task(self._impatient.wait())
        await asyncio.wait([ended, impatient], timeout=self._stop_within_s, return_when=asyncio.FIRST_COMPLETED)
        for part, child in self._children.items():
            if child.returncode is None:
                warn(f"the {part.name} did not stop in time and was killed")
                os.killpg(child.pid, signal.SIGKILL)  # with its own children
        await ended
        impatient.cancel()
        os.close(self._lifeline)
        os.close(self._lifeline_held)

    async def _all_ended(self) -> None:
        for child in self._children.values():
            await child.wait()
