"""Waking up: an idle worker blocks on its queues' wake lists instead of polling.

A stock arq producer pushes no token, and a scheduled job comes due without anybody's doing; the wait is therefore never
longer than the poll interval, nor than the time until the next known job is due.
"""

from collections.abc import Sequence

from workers.store import JobStore

_SHORTEST_S = 0.001


class Wakeup:
    """Waits until there may be something to claim."""

    def __init__(self, store: JobStore, queues: Sequence[str], poll_s: float) -> None:
        self._store = store
        self._queues = list(queues)
        self._poll_s = poll_s

    async def wait(self, idle_s: float | None) -> None:
        """Return when woken, after ``idle_s``, or when it is time to look anyway. Raises StoreUnavailable."""
        timeout_s = self._poll_s if idle_s is None else min(self._poll_s, idle_s)
        await self._store.next_wakeup(self._queues, timeout_s=max(_SHORTEST_S, timeout_s))
