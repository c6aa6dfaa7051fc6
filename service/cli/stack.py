"""The processes of one installation, which are started together, kept running, replaced and stopped together."""

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

from arqway.service.cli.terminal import WRONG_INPUT, CommandError, warn
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.supervisor import Part, Supervisor
from arqway.workers.processes.target import inspect_target

logger = logging.getLogger("arqway.workers.supervisor")

ResultT = TypeVar("ResultT")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_AT_SERVER_EVERY_S = 0.5


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """The user pressed Ctrl-C, or a stop signal such as SIGTERM arrived."""


class Reloader:
    """Replaces the processes of a stack with ones that run new code, but never with code that cannot be loaded.

    Args:
        target: What the processes run.
        watches: Whether a change to a Python file below the current folder triggers a reload.
        on_hangup: Whether SIGHUP triggers a reload, unless it is due to a terminal that was closed.

    Raises:
        CommandError: Files should be watched, but watchfiles is not installed.
    """

    def __init__(self, target: str, *, watches: bool, on_hangup: bool = False) -> None:
        if watches and find_spec("watchfiles") is None:
            raise CommandError("--reload needs watchfiles, not installed: pip install 'arqway[reload]'", WRONG_INPUT)
        self.watches = watches
        self._target = target
        self._on_hangup = on_hangup
        self._wanted = asyncio.Event()
        self._had_terminal = _has_terminal()

    def hang_up(self) -> bool:
        """Handle a SIGHUP. Returns False if it means that everything should stop."""
        if not self._on_hangup or (self._had_terminal and not _has_terminal()):
            return False
        self._wanted.set()
        return True

    async def run(self, supervisor: Supervisor) -> NoReturn:
        """Replace the supervisor's processes at every request, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self.watches:
                tasks.create_task(self._watch())
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                try:
                    await asyncio.to_thread(inspect_target, self._target)
                except ConfigurationError as error:
                    warn(f"{error}; the running processes were not replaced")
                else:
                    logger.info("New processes replace those that run")
                    supervisor.replace()

    async def _watch(self) -> None:
        from watchfiles import PythonFilter, awatch

        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs every change at `info`
        folder = Path.cwd()
        try:
            async for changes in awatch(folder, watch_filter=PythonFilter()):
                names = sorted(path.removeprefix(f"{folder}{os.sep}") for _, path in changes)
                logger.info("Files have changed", extra={"files": names})
                self._wanted.set()
        except OSError as error:
            warn(f"files can no longer be watched: {error}")


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal; the kernel detaches one that was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


class Stack:
    """Child processes that never outlive the ``async with`` block, however it ends.

    Args:
        parts: What to run.
        settings: The settings that the child processes will find, too.
        server: The embedded server that they use, if any. If this process owns it, they stop when it ends.
        restarts: How many times in a row a process that dies at once is restarted; None for no limit; with 0, the end
            of any process ends all of them.
        environment: The environment of the child processes; by default, this process's own.
        reloader: Replaces the processes when their code has changed.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        settings: ServiceSettings,
        server: EmbeddedServer | None,
        *,
        restarts: int | None,
        environment: Mapping[str, str] = os.environ,
        reloader: Reloader | None = None,
    ) -> None:
        self._supervisor = Supervisor(
            parts, environment=environment, stop_within_s=settings.stop_within_s, restarts=restarts
        )
        self._server = server if server and server.owned else None
        self._stopping = asyncio.Event()
        self._reloader = reloader

    async def __aenter__(self) -> Self:
        for stop_signal in _STOP_SIGNALS:
            if signal.getsignal(stop_signal) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                asyncio.get_running_loop().add_signal_handler(stop_signal, self._on_signal, stop_signal)
        await self._supervisor.__aenter__()
        return self

    async def __aexit__(self, *ending: Any) -> None:
        await self._supervisor.__aexit__(*ending)

    async def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Return the result of ``work``, unless the stack ends first. Meanwhile, processes are reloaded.

        Raises:
            StopRequested: A stop signal arrived first.
            CommandError: A process of the stack cannot be kept running, or the embedded server has ended.
        """
        coroutines: list[Coroutine[Any, Any, Any]] = [work, self._stop_signal(), self._server_end(), self._failure()]
        if self._reloader is not None:
            coroutines.append(self._reloader.run(self._supervisor))
        tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            result: ResultT = next(task for task in tasks if task.done()).result()
            return result
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def done(self) -> None:
        """Return once every process has finished its work; never, if there are parts whose work has no end."""
        await self._supervisor.done()

    async def _stop_signal(self) -> NoReturn:
        await self._stopping.wait()
        raise StopRequested

    async def _server_end(self) -> NoReturn:
        while self._server is None or self._server.is_running():  # noqa: ASYNC110 - an adopted server is no child
            await asyncio.sleep(_LOOK_AT_SERVER_EVERY_S)
        raise CommandError("the embedded server has ended, so everything stops")

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
