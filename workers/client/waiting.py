"""Why a job is waiting: an explanation for anyone who wonders about ``queued``."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from arqway.workers.client.queues import Queues, QueueStatus
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.contract.worker import WorkerRecord


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


async def reasons_for(record: JobRecord, queues: Queues) -> list[Reason]:
    """Return why a job is waiting, the most certain reason first; empty if it is running or has ended."""
    if record.finished or record.state is JobState.RUNNING:
        return []
    workers = await queues.workers()
    views = {view.figures.name: view for view in await queues.all()}
    view = views.get(record.queue)
    # A job whose time has come keeps its state until it is claimed.
    due = record.state is JobState.QUEUED or (view is not None and record.due_ms <= view.now_ms)
    position = await queues.position(record) if due else None
    return [
        *([] if due else _own(record)),
        *_of_queue(record, view),
        *_of_workers(record, workers, due),
        *_backlog(view, position),
    ]


def _own(record: JobRecord) -> Iterator[Reason]:
    if record.state is JobState.SCHEDULED:
        yield Reason("scheduled", "It was submitted for a later time.", until_ms=record.due_ms)
    if record.state is JobState.RETRYING:
        yield Reason("retrying", "An attempt failed, and the next one is due later.", until_ms=record.due_ms)


def _of_queue(record: JobRecord, view: QueueStatus | None) -> Iterator[Reason]:
    if view is not None and view.figures.paused_ms is not None:
        yield Reason("queue_paused", f"The queue {record.queue} is paused.")


def _of_workers(record: JobRecord, workers: Sequence[WorkerRecord], due: bool) -> Iterator[Reason]:
    serving = [worker for worker in workers if record.queue in worker.queues]
    knowing = [worker for worker in serving if record.kind in worker.kinds]
    if not serving:
        yield Reason("no_worker", f"No worker serves the queue {record.queue}.")
    elif not knowing:
        yield Reason("unknown_kind", f"No worker of this queue knows the kind {record.kind}.")
    elif due and all(worker.running >= worker.max_jobs for worker in knowing):
        yield Reason("workers_busy", "All slots of the workers that could run it were taken at their last beats.")


def _backlog(view: QueueStatus | None, position: int | None) -> Iterator[Reason]:
    if position is not None:
        rate = view.out_rate if view and view.figures.paused_ms is None else 0
        estimate = position / rate if rate > 0 else None
        yield Reason("backlog", f"{position} jobs of the queue are due before it.", None, position, estimate)
