"""Waking up: an idle worker blocks on its queues' wake lists instead of polling.

A stock arq producer pushes no token, and a scheduled job comes due without anybody's doing. So the worker also looks at
the head of each queue, one command a queue, every poll interval and at the moment when the next known job is due.
"""

import time
from collections.abc import Sequence

from arqway.workers.engine.claimer import Found
from arqway.workers.store.jobs import JobStore

_SHORTEST_S = 0.001


class Wakeup:
    """Waits until there is something to claim."""

    def __init__(self, store: JobStore, queues: Sequence[str], poll_s: float) -> None:
        self._store = store
        self._queues = list(queues)
        self._poll_s = poll_s
        self.heard_at_s = 0.0
        """When Redis last answered here, by the monotonic clock."""

    async def wait(self, found: Found) -> None:
        """Return when woken or when a job is due; ``found`` is what the last look gave. Raises StoreUnavailable."""
        due_ms = found.next_due_ms
        while not await self._store.next_wakeup(self._queues, timeout_s=self._patience_s(due_ms, found.skew_ms)):
            due_ms = await self._store.first_due_ms(self._queues)
            self.heard_at_s = time.monotonic()
            if due_ms is not None and due_ms <= time.time() * 1000 + found.skew_ms:
                return

    async def pause(self, found: Found) -> None:
        """Return when woken, when a job is due, or after a poll interval: a burst also ends when a queue runs empty."""
        await self._store.next_wakeup(self._queues, timeout_s=self._patience_s(found.next_due_ms, found.skew_ms))

    def _patience_s(self, due_ms: int | None, skew_ms: float) -> float:
        if due_ms is None:
            return self._poll_s
        return max(_SHORTEST_S, min(self._poll_s, (due_ms - skew_ms) / 1000 - time.time()))
