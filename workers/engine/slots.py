"""Slots: how many jobs of certain queues this process runs at a time, and which jobs hold them."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from arqway.workers.runners.attempt import Attempt

_BACKLOG_PER_SLOT = 4
"""Per slot, how many ended jobs may wait to be settled before claiming stops: Redis is slower than the jobs."""
_PORTIONS = 2
"""Slots are filled in parts, so that Redis claims and settles some jobs while others run."""


class Slots:
    """Slots shared by the jobs of certain queues.

    Args:
        queues: Served in turn, so that none starves behind a long one.
        count: How many jobs run at a time.
        poll_s: How often to look for jobs that nobody announced.
        tasks: Where the jobs that hold a slot are kept: id → task.
        burst: Whether to stop when the queues hold nothing, not even scheduled jobs, or at ``limit``.
        limit: How many attempts may start in total; None: no limit.
    """

    def __init__(
        self,
        queues: Sequence[str],
        count: int,
        *,
        poll_s: float,
        tasks: dict[str, "asyncio.Task[Any]"] | None = None,
        burst: bool = False,
        limit: int | None = None,
    ) -> None:
        self.queues = tuple(queues)
        self.count = count
        self.poll_s = poll_s
        self.tasks = {} if tasks is None else tasks
        self.burst = burst
        self.changed = asyncio.Event()
        """Set when a slot becomes free, or an outcome is written."""
        self.looked_at_s = time.monotonic()
        """When all queues were last checked successfully, by the monotonic clock."""
        self._turns = deque(self.queues)
        self._unsettled: set[Attempt] = set()
        self._limit = limit
        self._begun = 0

    @property
    def full(self) -> bool:
        """Whether every slot is taken."""
        return len(self.tasks) >= self.count

    @property
    def spent(self) -> bool:
        """Whether the limit of attempts is reached and no job holds a slot."""
        return not self.tasks and self._begun == self._limit

    @property
    def wanted(self) -> int:
        """How many jobs to claim now."""
        if len(self._unsettled) > _BACKLOG_PER_SLOT * self.count:
            return 0
        want = min(self.count - len(self.tasks), max(1, self.count // _PORTIONS))
        return want if self._limit is None else min(want, self._limit - self._begun)

    def turn(self) -> list[str]:
        """Return the queues in the order of this look; the next look starts with another queue."""
        order = list(self._turns)
        self._turns.rotate(-1)
        return order

    def take(self, tasks: Mapping[str, "asyncio.Task[Any]"]) -> None:
        """Give slots to jobs that have started."""
        self._begun += len(tasks)
        self.tasks.update(tasks)

    def release(self, attempt: Attempt) -> None:
        """Free the slot of a job that has ended and waits to be settled."""
        self.tasks.pop(attempt.claim.id, None)
        self._unsettled.add(attempt)
        self.changed.set()

    def settle(self, attempt: Attempt) -> None:
        """Forget a job that has been settled."""
        self._unsettled.discard(attempt)
        self.changed.set()
