"""The intake: fills free slots with claimed jobs until it is told to stop."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from arqway.workers.background import Backoff, end
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.engine.claimer import Claimer, Found
from arqway.workers.engine.wakeup import Wakeup
from arqway.workers.executor import Executor

logger = logging.getLogger("arqway.workers.engine")

_BACKLOG_PER_SLOT = 4
"""Ended jobs that wait to be settled, for each slot, before no more are claimed: Redis is slower than the jobs."""
_PORTIONS = 2
"""Slots are filled in portions, so that Redis claims and settles some jobs while others run."""


class Intake:
    """Claims jobs for one worker.

    Args:
        claimer: Where jobs come from.
        wakeup: Waits for more.
        executor: Runs them.
        tasks: Jobs that hold a slot: id → task.
        slots: How many may.
        burst_left: How many jobs may still be begun, by the number that were; None: any number.
        burst: Stop when there is nothing left in the queues.
    """

    def __init__(
        self,
        claimer: Claimer,
        wakeup: Wakeup,
        executor: Executor,
        tasks: dict[str, asyncio.Task[Any]],
        *,
        slots: int,
        burst: bool = False,
        burst_left: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._claimed_at_s = time.monotonic()
        self._claimer = claimer
        self._wakeup = wakeup
        self._executor = executor
        self._tasks = tasks
        self._slots = slots
        self._burst = burst
        self._burst_left = burst_left
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def claimed_at_s(self) -> float:
        """When a claim last succeeded, or a look that found nothing to claim, by the monotonic clock.

        A worker whose slots are all taken does neither.
        """
        return max(self._claimed_at_s, self._wakeup.heard_at_s)

    def stop(self) -> None:
        """Claim no more. What a claim under way still brings is handed back."""
        self._stopped.set()
        self._changed.set()

    def released(self, job_id: str) -> None:
        """Free the slot of a job that has ended."""
        self._tasks.pop(job_id, None)
        self._changed.set()

    def settled(self) -> None:
        """Look again: the backlog has become shorter."""
        self._changed.set()

    async def run(self) -> None:
        """Claim until told to stop or, in a burst, until there is nothing left."""
        backoff = Backoff()
        while not self._stopped.is_set():
            try:
                found = await self._fill_slots()
                if found is not None and not backoff.fresh:
                    logger.info("Redis is back")
                    backoff.reset()
                if found is not None and not found.jobs:
                    await self._idle(self._wakeup.pause(found) if self._burst else self._wakeup.wait(found))
            except StoreUnavailable as error:
                if backoff.fresh:
                    logger.warning("Redis is away; running jobs go on", extra={"cause": repr(error.__cause__)})
                await self._idle(asyncio.sleep(backoff.next_s()))

    async def emptied(self, timeout_s: float, hurry: asyncio.Event) -> bool:
        """Wait until no job holds a slot, at most ``timeout_s`` or until ``hurry``; tell whether that is so."""
        hurried = asyncio.create_task(hurry.wait())
        try:
            async with asyncio.timeout(timeout_s):
                while self._tasks and not hurry.is_set():
                    self._changed.clear()  # also set for a job that was given up on, whose task goes on
                    freed = asyncio.create_task(_set(self._changed))
                    await asyncio.wait([hurried, freed], return_when=asyncio.FIRST_COMPLETED)
                    freed.cancel()
        except TimeoutError:
            pass
        finally:
            hurried.cancel()
        return not self._tasks

    async def _fill_slots(self) -> Found | None:
        """Claim into the free slots; None if nothing could be claimed now, after something has changed."""
        want = self._wanted()
        if want <= 0:
            if self._burst and not self._tasks and self._burst_left() == 0:
                self._stopped.set()
                return None
            self._changed.clear()
            await self._changed.wait()
            return None
        found = await self._claimer.claim(want)
        self._claimed_at_s = time.monotonic()
        if self._stopped.is_set():
            self._executor.hand_back(found.jobs)
            return None
        self._tasks.update(self._executor.start(found.jobs))
        if self._burst and not self._tasks and not found.waiting:
            self._stopped.set()
        return found

    def _wanted(self) -> int:
        free = self._slots - len(self._tasks)
        if self._executor.backlog > _BACKLOG_PER_SLOT * self._slots:
            return 0
        left = self._burst_left()
        return min(free, max(1, self._slots // _PORTIONS), free if left is None else left)

    async def _idle(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait, but no longer than until told to stop."""
        tasks = asyncio.create_task(waiting), asyncio.create_task(_set(self._stopped))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await end(task for task in tasks if not task.done())
        if not tasks[0].cancelled():
            tasks[0].result()


async def _set(event: asyncio.Event) -> None:
    await event.wait()
