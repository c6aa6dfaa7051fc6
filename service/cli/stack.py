"""The processes of one installation, which are started together, kept running and stopped together."""

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
    """The user pressed Ctrl-C, or a stop signal such as SIGTERM arrived."""


def api_part(
    target: str, *, port: int | None = None, server: EmbeddedServer | None = None, log: Path | None = None
) -> Part:
    """Return the API as a part of a stack.

    Args:
        target: The registry or ``Arqway`` object whose jobs it accepts.
        port: Overrides the one in the settings.
        server: The embedded server, which overrides the settings.
        log: The file for its output; by default, it shares this process's output.
    """
    options = {"--port": port, "--redis-url": server and server.url}
    given = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
    return Part(name="API", command=lambda _: ("-m", "arqway.service.cli", "api", target, *given), log=log)


class Stack:
    """Child processes that never outlive the ``async with`` block, however it ends.

    Args:
        parts: What to run.
        settings: The settings that the child processes will find, too.
        server: The embedded server that they use, if any. If this process owns it, they stop when it ends.
        restarts: How many times in a row a process that dies at once is restarted; None for no limit; with 0, the end
            of any process ends all of them.
        changes: Environment variables that differ for the child processes; None unsets a variable.
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
        """Return the result of ``work``, unless the stack ends first.

        Raises:
            StopRequested: A stop signal arrived first.
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
        """Return once every process has finished its work."""
        await self._supervisor.done()

    async def _watch(self) -> Any:
        """Raise once a stop signal arrives or the stack cannot continue."""
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
