"""The processes of one installation: started together, kept running, and stopped together."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from arqway.service.cli.errors import CommandError
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.supervisor import Part, Supervisor
from arqway.workers.processes.workers import worker_part

if TYPE_CHECKING:
    from arqway.service.settings import ServiceSettings

__all__ = ["Stack", "StopRequested", "api_part", "workers_of"]

ResultT = TypeVar("ResultT")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_AT_SERVER_EVERY_S = 0.5


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Somebody pressed Ctrl-C or sent SIGTERM."""


def api_part(log: Path | None = None) -> Part:
    """Return the API; its output goes to ``log``, if given."""
    return Part(name="API", command=lambda _: ("-m", "arqway.service.cli", "api"), log=log)


def workers_of(settings: "ServiceSettings", server: EmbeddedServer | None) -> Part:
    """Return the worker processes that ``settings`` ask for, on the embedded server or on that of ``REDIS_URL``."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    return worker_part(settings, server.url if server else url)


class Stack:
    """Child processes that live no longer than the ``async with`` block, whatever ends it.

    Args:
        parts: What to run.
        settings: Of this process; the children read the same, from the environment.
        server: The embedded server they use, if any. One that is owned here must live as long as they do.
        restarts: How often in a row a process that dies at once is started again; None: for ever; 0: the end of any
            process is the end of all.
        changes: Environment variables that differ for the children; None: unset.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        settings: "ServiceSettings",
        server: EmbeddedServer | None,
        *,
        restarts: int | None,
        changes: Mapping[str, str | None] | None = None,
    ) -> None:
        variables = {**os.environ, **(changes or {}), **({"REDIS_URL": server.url} if server else {})}
        self._supervisor = Supervisor(
            parts,
            environment={name: value for name, value in variables.items() if value is not None},
            stop_within_s=settings.stop_within_s,
            restarts=restarts,
        )
        self._server = server if server and server.owned else None
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        for stop_signal in _STOP_SIGNALS:
            if signal.getsignal(stop_signal) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                asyncio.get_running_loop().add_signal_handler(stop_signal, self._on_signal)
        await self._supervisor.__aenter__()
        return self

    async def __aexit__(self, *ending: Any) -> None:
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
        failure = asyncio.create_task(self._supervisor.failure())
        everything: list[asyncio.Task[Any]] = [stopping, server, failure]
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                raise StopRequested
            if server.done():
                raise CommandError("the embedded server has ended, so everything stops")
            raise CommandError(failure.result())
        finally:
            for pending in everything:
                pending.cancel()

    async def _server_end(self) -> None:
        while self._server is None or self._server.is_running():  # noqa: ASYNC110 - an adopted server is no child
            await asyncio.sleep(_LOOK_AT_SERVER_EVERY_S)

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._supervisor.hurry()
        self._stopping.set()
