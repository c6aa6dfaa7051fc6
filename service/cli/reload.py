"""Reloading: replaces processes with ones that run new code, on SIGHUP or when a Python file changes."""

import asyncio
import logging
import os
from importlib.util import find_spec
from pathlib import Path

from arqway.service.cli.terminal import WRONG_INPUT, CommandError, warn
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.supervisor import Supervisor
from arqway.workers.processes.target import inspect_target

logger = logging.getLogger("arqway.workers.supervisor")


class Reloader:
    """Replaces the processes of a stack on request, but never with code that cannot be loaded.

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

    async def run(self, supervisor: Supervisor) -> None:
        """Replace the supervisor's processes at every request, until cancelled."""
        watching = asyncio.create_task(self._watch()) if self.watches else None
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                try:
                    await asyncio.to_thread(inspect_target, self._target)
                except ConfigurationError as error:
                    warn(f"{error}; the processes that run were not replaced")
                else:
                    logger.info("New processes replace those that run")
                    supervisor.replace()
        finally:
            if watching is not None:
                watching.cancel()

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
            warn(f"files cannot be watched any more: {error}")


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal; the kernel detaches one that was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
