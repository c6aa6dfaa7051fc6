"""The intake: fills free slots with claimed jobs until it is stopped.

An idle worker blocks on its queues' wake lists instead of polling. But a stock arq producer pushes no wake token, and
nothing happens when a scheduled job comes due. So the intake also checks the head of each queue, with one command per
queue, every poll interval and at the moment when the next known job is due.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from arqway.workers.background import Backoff, end
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.engine.slots import Slots
from arqway.workers.runners.attempt import Attempt
from arqway.workers.runners.executor import Executor
from arqway.workers.runners.observers import Observer
from arqway.workers.runners.outcome import Outcome
from arqway.workers.store.attempts import SettleAnswer
from arqway.workers.store.jobs import JobStore

logger = logging.getLogger("arqway.workers.engine")

_CLAIM_MAX = 200
_UNHEARD_MAX = 100
_BACKLOG_PER_SLOT = 4
"""Per slot, how many ended jobs may wait to be settled before claiming stops: Redis is slower than the jobs."""
_SHORTEST_WAIT_S = 0.001


class Intake(Observer):
    """Claims jobs for one worker process. Its slots are filled in parallel, so full ones do not hold up the others.

    Args:
        store: Where the queues are.
        executor: Runs the jobs.
        slots: No queue is in two of them.
        worker_id: Written into the records.
        lease_s: How long a claim holds without renewal.
    """

    def __init__(
        self, store: JobStore, executor: Executor, slots: Sequence[Slots], *, worker_id: str, lease_s: float
    ) -> None:
        self._store = store
        self._executor = executor
        self._slots = slots
        self._tasks_of = {queue: each.tasks for each in slots for queue in each.queues}
        self._backlog_max = _BACKLOG_PER_SLOT * sum(each.count for each in slots)
        self._worker_id = worker_id
        self._lease_ms = int(lease_s * 1000)
        self._boot = secrets.token_hex(6)
        self._claims = 0
        self._unheard: dict[str, list[str]] = {}
        """The token prefixes of claims whose answers have not arrived, by queue."""
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()
        """Set when a slot becomes free, an outcome is written, or somebody who waits is to look again."""
        self._hurried = False
        executor.observers.add(self)

    def released(self, attempt: Attempt) -> None:
        """Free the attempt's slot."""
        self._tasks_of[attempt.claim.queue].pop(attempt.claim.id, None)
        self._changed.set()

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Allow another look: fewer outcomes wait to be written."""
        self._changed.set()

    def stop(self) -> None:
        """Claim no more jobs. Those that a claim in flight still returns are handed back."""
        self._stopped.set()
        self._changed.set()

    def hurry(self) -> None:
        """End the current or the next wait for running jobs."""
        self._hurried = True
        self._changed.set()

    async def run(self) -> None:
        """Claim until stopped or, in a burst, until nothing is left. Raises any error but StoreUnavailable."""
        filling = [asyncio.create_task(self._fill(slots)) for slots in self._slots]
        try:
            await asyncio.wait(filling, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await asyncio.wait(filling)  # a claim in flight must be awaited, or its jobs wait out a lease
        finally:
            await end(task for task in filling if not task.done())
        for task in filling:
            task.result()

    async def emptied(self, timeout_s: float) -> bool:
        """Wait until no job holds a slot, for ``timeout_s`` at most or until hurried; return whether none does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._hurried and any(slots.tasks for slots in self._slots):
                    self._changed.clear()
                    await self._changed.wait()
        self._hurried = False
        return not any(slots.tasks for slots in self._slots)

    async def _fill(self, slots: Slots) -> None:
        backoff = Backoff()
        while not self._stopped.is_set():
            backlog = len(self._executor.running) - sum(len(each.tasks) for each in self._slots)
            if slots.wanted <= 0 or backlog > self._backlog_max:
                if slots.burst and slots.spent:  # the last job that a burst may start has ended
                    return
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                claimed, next_due_ms, skew_ms = await self._look(slots)
                if backoff.waits > 1:
                    logger.info("Redis is back")
                backoff.reset()
                if slots.burst and not claimed and next_due_ms is None and not slots.tasks:
                    return
                if not claimed:
                    await self._unless_stopped(self._more(slots, next_due_ms, skew_ms))
            except StoreUnavailable as error:
                if backoff.waits == 1:  # a single connection that breaks is replaced at once
                    logger.warning("Redis is away; running jobs go on", extra={"cause": repr(error.__cause__)})
                await self._unless_stopped(asyncio.sleep(backoff.next_s()))

    async def _look(self, slots: Slots) -> tuple[int, int | None, float]:
        """Claim from one queue after another, and start each queue's jobs at once: the next claim may fail.

        Returns:
            How many jobs were claimed, when the next known job of any queue is due (ms by the server's clock, possibly
            past; None: no queue holds one, be it scheduled or running), and the server's clock minus ours in ms.
        """
        want, claimed, skew_ms = slots.wanted, 0, 0.0
        dues: list[int] = []
        for queue in slots.turn():
            if claimed < want and not self._stopped.is_set():
                self._claims += 1
                prefix, unheard = f"{self._boot}.{self._claims}.", self._unheard.setdefault(queue, [])
                asked = tuple(unheard)
                unheard.append(prefix)  # until the answer is here
                found = await self._store.claim(
                    queue,
                    want=min(want - claimed, _CLAIM_MAX),
                    lease_ms=self._lease_ms,
                    worker=self._worker_id,
                    token_prefix=prefix,
                    on_probation=self._executor.on_probation(),
                    unheard=asked[-_UNHEARD_MAX:],
                )
                unheard.clear()
                if self._stopped.is_set():
                    self._executor.hand_back(found.jobs)
                else:
                    slots.take(self._executor.start(found.jobs))
                claimed += len(found.jobs)
                skew_ms = found.now_ms - time.time() * 1000
                if found.next_due_ms is not None:
                    dues.append(found.next_due_ms)
        slots.looked_at_s = time.monotonic()
        return claimed, min(dues, default=None), skew_ms

    async def _more(self, slots: Slots, due_ms: int | None, skew_ms: float) -> None:
        """Return when woken or when a job is due; in a burst also after a poll interval, as the queues may be empty."""
        while True:
            wait_s = slots.poll_s
            if due_ms is not None:
                wait_s = max(_SHORTEST_WAIT_S, min(wait_s, (due_ms - skew_ms) / 1000 - time.time()))
            if await self._store.next_wakeup(slots.queues, timeout_s=wait_s) or slots.burst:
                return
            due_ms = await self._store.first_due_ms(slots.queues)
            slots.looked_at_s = time.monotonic()
            if due_ms is not None and due_ms <= time.time() * 1000 + skew_ms:
                return

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait, but no longer than until the intake is stopped."""
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(waiting), asyncio.create_task(self._stopped.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await end(task for task in tasks if not task.done())
        if not tasks[0].cancelled():
            tasks[0].result()
