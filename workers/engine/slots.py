"""Slots: how many jobs of certain queues this process runs at a time, and which jobs hold them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_PORTIONS = 2
"""Slots are filled in parts, so that Redis claims and settles some jobs while others run."""


@dataclass(eq=False, kw_only=True)
class Slots:
    """Slots shared by the jobs of certain queues.

    Args:
        queues: Served in turn, so that none starves behind a long one.
        count: How many jobs run at a time.
        poll_s: How often to look for jobs that nobody announced.
        tasks: The jobs that hold a slot: id → task.
        burst: Whether to stop when the queues hold nothing, not even scheduled jobs, or at ``limit``.
        limit: How many attempts may start in total; None: no limit.
        looked_at_s: When all queues were last checked successfully, by the monotonic clock.
    """

    queues: Sequence[str]
    count: int
    poll_s: float
    tasks: "dict[str, asyncio.Task[Any]]" = field(default_factory=dict)
    burst: bool = False
    limit: int | None = None
    looked_at_s: float = field(default_factory=time.monotonic)
    _begun: int = 0

    @property
    def full(self) -> bool:
        """Whether every slot is taken."""
        return len(self.tasks) >= self.count

    @property
    def spent(self) -> bool:
        """Whether the limit of attempts is reached and no job holds a slot."""
        return not self.tasks and self._begun == self.limit

    @property
    def wanted(self) -> int:
        """How many jobs to claim now."""
        want = min(self.count - len(self.tasks), max(1, self.count // _PORTIONS))
        return want if self.limit is None else min(want, self.limit - self._begun)

    def turn(self) -> Sequence[str]:
        """Return the queues in the order of this look; the next look starts with another queue."""
        order = self.queues
        self.queues = (*order[1:], *order[:1])
        return order

    def take(self, tasks: "Mapping[str, asyncio.Task[Any]]") -> None:
        """Give slots to jobs that have started."""
        self._begun += len(tasks)
        self.tasks.update(tasks)
