"""arq's hooks around each job. An exception in a hook is logged; it harms neither the job nor the worker."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from arqway.workers.attempt import Attempt
from arqway.workers.engine.arq_function import arq_context

logger = logging.getLogger("arqway.workers.engine")

Hook = Callable[[dict[Any, Any]], Awaitable[Any]]


class Hooks:
    """Calls ``on_job_start``, ``on_job_end`` and ``after_job_end``, each with the attempt's own ``ctx``."""

    def __init__(self, context: dict[Any, Any], start: Hook | None, end: Hook | None, after: Hook | None) -> None:
        self._context = context
        self._start, self._end, self._after = start, end, after
        self._running: set[asyncio.Task[None]] = set()

    async def started(self, attempt: Attempt) -> None:
        """Tell that the job is about to run."""
        await self._call(self._start, attempt)

    async def ended(self, attempt: Attempt) -> None:
        """Tell that the job has run; its outcome is not written yet."""
        await self._call(self._end, attempt)

    def settled(self, attempt: Attempt) -> None:
        """Tell, in a task of its own, that the outcome is written; like arq, not of a job that was refused unrun."""
        if self._after is not None and attempt.begun:
            task = asyncio.create_task(self._call(self._after, attempt))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def finished(self) -> None:
        """Return when every hook has."""
        while self._running:
            await asyncio.wait(self._running)

    async def _call(self, hook: Hook | None, attempt: Attempt) -> None:
        if hook is None:
            return
        try:
            await hook(arq_context(self._context, attempt))
        except Exception:
            logger.exception("A hook failed", extra={"hook": getattr(hook, "__qualname__", repr(hook))})
