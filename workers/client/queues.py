"""The state of the queues: what waits, since when, throughput, and who serves them. Figures are up to a second old."""

import asyncio
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import NamedTuple

from arqway.workers.background import end
from arqway.workers.client.queue import JobQueue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import QueueFull, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.view import retry_after_s
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.store.queues import QueueFigures, QueueStore
from arqway.workers.store.workers import Fleet

_MINUTES = 4
_FRESH_S = 1.0
_WAIT_S = 5


class QueueStatus(NamedTuple):
    """The state of one queue."""

    figures: QueueFigures
    now_ms: int
    workers: int

    @property
    def age_ms(self) -> int:
        """How long its oldest due job has waited; 0 if none waits."""
        oldest = self.figures.oldest_due_ms
        return 0 if oldest is None else max(0, self.now_ms - oldest)

    @property
    def in_rate(self) -> float:
        """Jobs submitted per second, over the last four to five minutes."""
        return self.figures.submitted / self._window_s

    @property
    def out_rate(self) -> float:
        """Jobs that reached a final state per second, over the same period."""
        ended = self.figures.succeeded + self.figures.failed + self.figures.cancelled
        return ended / self._window_s

    @property
    def drain_s(self) -> float | None:
        """Time until nothing waits, if jobs end at the recent rate and none are added; None: unknown."""
        if self.figures.due == 0:
            return 0.0
        return self.figures.due / self.out_rate if self.out_rate > 0 and self.figures.paused_ms is None else None

    @property
    def _window_s(self) -> float:
        return _MINUTES * 60 + self.now_ms % 60_000 / 1000


class Queues:
    """The queues of one server.

    Args:
        queue: The client to read with.
        max_due: Submissions to a queue with this many due jobs are refused; None: no limit.
        max_age_s: So are those to a queue whose oldest due job has waited longer than this; None: no limit.
    """

    def __init__(self, queue: JobQueue, *, max_due: int | None = None, max_age_s: float | None = None) -> None:
        self._queue = queue
        self._store = QueueStore(queue.redis)
        self._fleet = Fleet(queue.redis)
        self._max_due = max_due
        self._max_age_s = max_age_s
        self._views: dict[str, QueueStatus] = {}
        self._run_times: dict[str, float] = {}
        self._read_at_s = -_FRESH_S
        self._reading: asyncio.Task[None] | None = None
        self._skew_ms = 0.0

    async def all(self) -> list[QueueStatus]:
        """Return every queue that a registered job goes to, that a worker serves, or that is paused, sorted by name."""
        await self._read()
        return [self._views[name] for name in sorted(self._views)]

    async def workers(self) -> list[WorkerRecord]:
        """Return the live workers, sorted by id."""
        return await self._fleet.read()

    async def pause(self, name: str, *, paused: bool) -> bool:
        """Pause or resume a queue; return whether that changed anything. Running jobs continue."""
        self._read_at_s = -_FRESH_S
        return await self._store.pause(name, paused=paused)

    async def position(self, record: JobRecord) -> int | None:
        """Return how many jobs of its queue are due before a waiting job; None if it is not in the queue."""
        return await self._store.position(record.queue, record.id)

    def retry_after_s(self, record: JobRecord) -> int | None:
        """Return in how many seconds to poll a job again, by the latest figures; None if it has ended. Never waits."""
        self._refresh()
        view = self._views.get(record.queue)
        now_ms = int((monotonic() * 1000) + self._skew_ms) if self._skew_ms else record.created_ms
        age_ms = view.age_ms if view else 0
        return retry_after_s(record, now_ms, queue_age_ms=age_ms, run_ms=self._run_times.get(record.kind, 0))

    def refuse_full(self, name: str) -> None:
        """Raise QueueFull if a queue takes no more submissions, by the latest figures. Never waits."""
        if self._max_due is None and self._max_age_s is None:
            return
        self._refresh()
        view = self._views.get(name)
        if view is None:
            return
        if self._max_due is not None and view.figures.due >= self._max_due:
            raise QueueFull(f"{view.figures.due} jobs wait in this queue.", retry_after_s=self._until_room(view))
        if self._max_age_s is not None and view.age_ms > self._max_age_s * 1000:
            raise QueueFull("Jobs wait for too long in this queue already.", retry_after_s=self._until_room(view))

    async def close(self) -> None:
        """Stop reading figures in the background."""
        await end([self._reading] if self._reading else [])

    def _until_room(self, view: QueueStatus) -> int:
        """Return in how many seconds there will be room, if jobs end at the recent rate."""
        too_many = view.figures.due - (self._max_due or 0) + 1 if self._max_due else view.figures.due
        return min(max(1, round(too_many / view.out_rate)), 3600) if view.out_rate > 0 else _WAIT_S

    def _refresh(self) -> None:
        """Refresh figures that are older than a second, in the background."""
        if self._reading is None and monotonic() - self._read_at_s >= _FRESH_S:
            self._reading = asyncio.create_task(self._read_in_background())

    async def _read_in_background(self) -> None:
        try:
            await self._read()
        except StoreUnavailable:
            self._read_at_s = monotonic()
        finally:
            self._reading = None

    async def _read(self) -> None:
        workers = await self._fleet.read()
        paused = await self._store.paused()
        names = _names(self._queue, workers, paused)
        now_ms, figures = await self._store.figures(names, minutes=_MINUTES)
        self._run_times = await self._store.run_times()
        self._views = {
            one.name: QueueStatus(one, now_ms, sum(one.name in worker.queues for worker in workers)) for one in figures
        }
        self._read_at_s = monotonic()
        self._skew_ms = now_ms - self._read_at_s * 1000


def _names(queue: JobQueue, workers: Iterable[WorkerRecord], paused: Iterable[str]) -> Sequence[str]:
    served = {name for worker in workers for name in worker.queues}
    defined = {name for job in queue.registry.values() for name in (job.queue, *job.other_queues)}
    return sorted({keys.DEFAULT_QUEUE} | served | defined | set(paused))
