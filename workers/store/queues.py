"""``QueueStore``: the contents, throughput and paused state of queues."""

from collections.abc import Sequence
from typing import NamedTuple

from arqway.workers.contract import keys
from arqway.workers.store.connection import Facade, Value, rows, store_errors


class QueueFigures(NamedTuple):
    """A snapshot of a queue. The last six fields are counts over the last minutes."""

    name: str
    due: int
    """Number of jobs whose score has passed: ready to run, or running with an expired lease."""
    held: int
    """Number of all jobs in the queue: due, scheduled for later, or running."""
    oldest_due_ms: int | None
    running: int
    paused_ms: int | None
    submitted: int
    started: int
    succeeded: int
    failed: int
    cancelled: int
    retrying: int


class QueueStore(Facade):
    """The queues of one server."""

    async def figures(self, queues: Sequence[str], *, minutes: int) -> tuple[int, list[QueueFigures]]:
        """Return the server's time in ms and a snapshot of each queue, with counts of the last ``minutes``. Atomic."""
        args: list[Value] = [minutes]
        for name in queues:
            args += (name, keys.queue(name))
        now, *flat = await self._call("queue_figures", args)
        numbers = [int(float(number)) for number in flat]
        figures = [
            QueueFigures(name, due, held, None if due_ms < 0 else due_ms, running, None if ms < 0 else ms, *counts)
            for name, (due, held, due_ms, running, ms, *counts) in zip(queues, rows(numbers, 11), strict=True)
        ]
        return int(now), figures

    async def run_times(self) -> dict[str, float]:
        """Return the usual run time of each kind in ms: a moving average over its attempts."""
        with store_errors():
            found: dict[bytes, bytes] = await self.redis.hgetall(keys.RUN_TIMES)  # type: ignore[misc]
        return {kind.decode(): float(ms) for kind, ms in found.items()}

    async def paused(self) -> dict[str, int]:
        """Return the paused queues, and when each was paused (ms)."""
        with store_errors():
            found: dict[bytes, bytes] = await self.redis.hgetall(keys.PAUSED_QUEUES)  # type: ignore[misc]
        return {name.decode(): int(since) for name, since in found.items()}

    async def position(self, queue: str, job_id: str) -> int | None:
        """Return the number of jobs in the queue ahead of a waiting job; None if it is not in the queue."""
        with store_errors():
            rank: int | None = await self.redis.zrank(keys.queue(queue), job_id)
        return rank

    async def pause(self, queue: str, *, paused: bool) -> bool:
        """Pause or resume a queue; return whether that changed anything. Atomic: one script."""
        return bool(await self._call("pause", [queue, keys.queue(queue), int(paused)]))
