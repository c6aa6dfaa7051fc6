"""The processes of one installation: started together, kept running, and stopped together."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from arqway.service.cli.reload import Reloader
from arqway.service.cli.terminal import CommandError, warn
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.supervisor import Part, Supervisor

if TYPE_CHECKING:
    from arqway.service.settings import ServiceSettings

ResultT = TypeVar("ResultT")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_AT_SERVER_EVERY_S = 0.5


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Somebody pressed Ctrl-C or sent SIGTERM."""


def api_part(
    target: str, *, port: int | None = None, server: EmbeddedServer | None = None, log: Path | None = None
) -> Part:
    """Return the API.

    Args:
        target: Whose jobs it accepts.
        port: Instead of the one in the settings.
        server: The embedded server, which wins over the settings.
        log: The file that its output goes to; without it that is this process's own.
    """
    options = {"--port": port, "--redis-url": server and server.url}
    given = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
    return Part(name="API", command=lambda _: ("-m", "arqway.service.cli", "api", target, *given), log=log)


class Stack:
    """Child processes that live no longer than the ``async with`` block, whatever ends it.

    Args:
        parts: What to run.
        settings: Those that the children will find, too.
        server: The embedded server they use, if any. One that is owned here must live as long as they do.
        restarts: How often in a row a process that dies at once is started again; None: for ever; 0: the end of any
            process is the end of all.
        changes: Environment variables that differ for the children; None: unset.
        reloader: Replaces the processes when their code has changed.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        settings: "ServiceSettings",
        server: EmbeddedServer | None,
        *,
        restarts: int | None,
        changes: Mapping[str, str | None] | None = None,
        reloader: Reloader | None = None,
    ) -> None:
        variables = {**os.environ, **(changes or {})}
        self._supervisor = Supervisor(
            parts,
            environment={name: value for name, value in variables.items() if value is not None},
            stop_within_s=settings.stop_within_s,
            restarts=restarts,
        )
        self._server = server if server and server.owned else None
        self._stopping = asyncio.Event()
        self._reloader = reloader
        self._reloading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for stop_signal in _STOP_SIGNALS:
            if signal.getsignal(stop_signal) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                asyncio.get_running_loop().add_signal_handler(stop_signal, self._on_signal, stop_signal)
        await self._supervisor.__aenter__()
        if self._reloader is not None:
            self._reloading = asyncio.create_task(self._reloader.run(self._supervisor))
        return self

    async def __aexit__(self, *ending: Any) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
        await self._supervisor.__aexit__(*ending)

    async def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Return what ``work`` gives, if the stack lives so long.

        Raises:
            StopRequested: A signal came first.
            CommandError: A process of the stack cannot be kept running, or the embedded server has ended.
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

    async def done(self) -> None:
        """Return once every process has done its work."""
        await self._supervisor.done()

    async def _watch(self) -> Any:
        """Raise when a signal has come, or the stack cannot go on."""
        stopping = asyncio.create_task(self._stopping.wait())
        server = asyncio.create_task(self._server_end())
        failure = asyncio.create_task(self._failure())
        everything: list[asyncio.Task[Any]] = [stopping, server, failure]
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                raise StopRequested
            if server.done():
                raise CommandError("the embedded server has ended, so everything stops")
            failure.result()
        finally:
            for pending in everything:
                pending.cancel()

    async def _server_end(self) -> None:
        while self._server is None or self._server.is_running():  # noqa: ASYNC110 - an adopted server is no child
            await asyncio.sleep(_LOOK_AT_SERVER_EVERY_S)

    async def _failure(self) -> NoReturn:
        while True:
            reason = await self._supervisor.failure()
            if self._reloader is None or not self._reloader.watches:
                raise CommandError(f"{reason}, so everything stops")
            warn(f"{reason}; it is started again when a file changes")

    def _on_signal(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP and self._reloader is not None and self._reloader.hang_up():
            return
        if self._stopping.is_set():
            self._supervisor.hurry()
        self._stopping.set()
