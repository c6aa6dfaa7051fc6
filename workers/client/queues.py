"""The state of the queues: what waits, since when and why, throughput, and who serves them.

Figures are up to a second old.
"""

import asyncio
from collections.abc import Iterable
from time import monotonic
from typing import Literal, NamedTuple

from arqway.workers.background import end
from arqway.workers.client.queue import JobQueue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import QueueFull, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
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
        return self._per_second(self.figures.submitted)

    @property
    def out_rate(self) -> float:
        """Jobs that reached a final state per second, over the same period."""
        return self._per_second(self.figures.succeeded + self.figures.failed + self.figures.cancelled)

    @property
    def drain_s(self) -> float | None:
        """Time until nothing waits, if jobs end at the recent rate and none are added; None: unknown."""
        if self.figures.due == 0:
            return 0.0
        return self.figures.due / self.out_rate if self.out_rate > 0 and self.figures.paused_ms is None else None

    def _per_second(self, count: int) -> float:
        return count / (_MINUTES * 60 + self.now_ms % 60_000 / 1000)


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
        if (view := self._views.get(name)) is None:
            return
        due = view.figures.due
        if self._max_due is not None and due >= self._max_due:
            message = f"{due} jobs wait in this queue."
        elif self._max_age_s is not None and view.age_ms > self._max_age_s * 1000:
            message = "Jobs have been waiting for too long in this queue."
        else:
            return
        too_many = due - self._max_due + 1 if self._max_due else due
        until_room_s = min(max(1, round(too_many / view.out_rate)), 3600) if view.out_rate > 0 else _WAIT_S
        raise QueueFull(message, retry_after_s=until_room_s)

    async def close(self) -> None:
        """Stop reading figures in the background."""
        await end([self._reading] if self._reading else [])

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
        names = {keys.DEFAULT_QUEUE, *await self._store.paused()}
        names.update(*(worker.queues for worker in workers))
        names.update(*((job.queue, *job.other_queues) for job in self._queue.registry.values()))
        now_ms, figures = await self._store.figures(sorted(names), minutes=_MINUTES)
        self._run_times = await self._store.run_times()
        self._views = {
            one.name: QueueStatus(one, now_ms, sum(one.name in worker.queues for worker in workers)) for one in figures
        }
        self._read_at_s = monotonic()
        self._skew_ms = now_ms - self._read_at_s * 1000


class Reason(NamedTuple):
    """One reason why a job is waiting."""

    code: Literal["scheduled", "retrying", "queue_paused", "no_worker", "unknown_kind", "workers_busy", "backlog"]
    message: str
    until_ms: int | None = None
    """When it will be over, if known."""
    position: int | None = None
    """``backlog``: how many jobs of the queue are due before it."""
    estimate_s: float | None = None
    """``backlog``: how many seconds they will take, if jobs end at the recent rate."""


_NOT_DUE = {
    JobState.SCHEDULED: Reason("scheduled", "It was submitted for a later time."),
    JobState.RETRYING: Reason("retrying", "An attempt failed, and the next one is due later."),
}


async def reasons_for(record: JobRecord, queues: Queues) -> list[Reason]:
    """Return why a job is waiting, the most certain reason first; empty if it is running or has ended."""
    if record.finished or record.state is JobState.RUNNING:
        return []
    view = next((status for status in await queues.all() if status.figures.name == record.queue), None)
    # A job whose time has come keeps its state until it is claimed.
    due = record.state is JobState.QUEUED or (view is not None and record.due_ms <= view.now_ms)
    found = [] if due else [_NOT_DUE[record.state]._replace(until_ms=record.due_ms)]
    paused = view is not None and view.figures.paused_ms is not None
    if paused:
        found.append(Reason("queue_paused", f"The queue {record.queue} is paused."))
    if lacking := _lacking_workers(record, await queues.workers(), due=due):
        found.append(lacking)
    if due and (position := await queues.position(record)) is not None:
        rate = view.out_rate if view and not paused else 0
        estimate_s = position / rate if rate > 0 else None
        found.append(Reason("backlog", f"{position} jobs of the queue are due before it.", None, position, estimate_s))
    return found


def _lacking_workers(record: JobRecord, workers: Iterable[WorkerRecord], *, due: bool) -> Reason | None:
    serving = [worker for worker in workers if record.queue in worker.queues]
    knowing = [worker for worker in serving if record.kind in worker.kinds]
    if not serving:
        return Reason("no_worker", f"No worker serves the queue {record.queue}.")
    if not knowing:
        return Reason("unknown_kind", f"No worker of this queue knows the kind {record.kind}.")
    if due and all(worker.running >= worker.max_jobs for worker in knowing):
        return Reason("workers_busy", "All slots of the workers that could run it were taken at their last heartbeats.")
    return None
