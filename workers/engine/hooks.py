"""What arq's worker does around each job of its queues: call hooks, and count outcomes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from arq.worker import Worker

from arqway.workers.contract.states import JobState
from arqway.workers.engine.arq_function import arq_context
from arqway.workers.runners.attempt import Attempt
from arqway.workers.runners.observers import Observer
from arqway.workers.runners.outcome import Outcome, Succeeded
from arqway.workers.store.attempts import SettleAnswer

logger = logging.getLogger("arqway.workers.engine")

Hook = Callable[[dict[Any, Any]], Awaitable[Any]]


class Counters(Observer):
    """Keeps arq's counters ``jobs_complete``, ``jobs_retried`` and ``jobs_failed``."""

    def __init__(self, worker: Worker, queues: Collection[str]) -> None:
        self._worker = worker
        self._queues = queues

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Count the attempt."""
        if attempt.claim.queue not in self._queues:
            return
        if isinstance(outcome, Succeeded):
            self._worker.jobs_complete += 1
        elif attempt.next_state in {JobState.RETRYING, JobState.QUEUED}:
            self._worker.jobs_retried += 1
        else:
            self._worker.jobs_failed += 1


class Hooks(Observer):
    """Calls ``on_job_start``, ``on_job_end`` and ``after_job_end``, each with the attempt's own ``ctx``.

    An exception in a hook is logged; it affects neither the job nor the worker.
    """

    def __init__(self, worker: Worker, queues: Collection[str]) -> None:
        self._worker = worker
        self._queues = queues
        self._after: set[asyncio.Task[None]] = set()

    async def started(self, attempt: Attempt) -> None:
        """Call ``on_job_start``."""
        await self._call(self._worker.on_job_start, attempt)

    async def ended(self, attempt: Attempt) -> None:
        """Call ``on_job_end``."""
        await self._call(self._worker.on_job_end, attempt)

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Call ``after_job_end`` in a task of its own; like arq, not for a job that was refused before it ran."""
        if self._worker.after_job_end is not None and attempt.begun:
            task = asyncio.create_task(self._call(self._worker.after_job_end, attempt))
            self._after.add(task)
            task.add_done_callback(self._after.discard)

    async def finished(self) -> None:
        """Wait until every hook has returned."""
        while self._after:
            await asyncio.wait(self._after)

    async def _call(self, hook: Hook | None, attempt: Attempt) -> None:
        if hook is None or attempt.claim.queue not in self._queues:
            return
        try:
            await hook(arq_context(self._worker.ctx, attempt))
        except Exception:
            logger.exception("A hook failed", extra={"hook": getattr(hook, "__qualname__", repr(hook))})
