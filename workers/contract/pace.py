"""When it is worth asking for a job again: an estimate from how its queue is and how long its kind usually runs."""

from math import ceil

from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState

_LONGEST_S = 60


def retry_after_s(record: JobRecord, now_ms: int, *, queue_age_ms: float = 0, run_ms: float = 0) -> int | None:
    """Return the seconds after which the job may have ended, in 1 … 60; None for one that has.

    A job that waits has the wait of its queue before it, less what it has waited, and then its run. Where the estimate
    has passed already, it says 1.

    Args:
        record: The job.
        now_ms: Unix milliseconds, by the clock of the Redis server as nearly as the caller knows it.
        queue_age_ms: For how long the queue's oldest due job has waited.
        run_ms: How long an attempt of this kind usually takes.
    """
    if record.finished:
        return None
    if record.state is JobState.RUNNING:
        left_ms = run_ms - (now_ms - (record.started_ms or now_ms))
    elif record.due_ms > now_ms:
        left_ms = record.due_ms - now_ms + run_ms
    else:
        left_ms = max(0.0, queue_age_ms - (now_ms - record.due_ms)) + run_ms
    return min(max(1, ceil(left_ms / 1000)), _LONGEST_S)
