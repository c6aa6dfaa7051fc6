"""When to poll a job again: an estimate from the queue's waiting time and the usual run time of the job's kind."""

from math import ceil

from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState

_LONGEST_S = 60


def retry_after_s(record: JobRecord, now_ms: int, *, queue_age_ms: float = 0, run_ms: float = 0) -> int | None:
    """Return the seconds after which the job may have ended, from 1 to 60; None if it has ended.

    A waiting job is expected to wait as long as its queue's oldest job, less the time it has already waited, and then
    to run. An estimate that has already passed gives 1.

    Args:
        record: The job.
        now_ms: Unix milliseconds by the clock of the Redis server, as closely as the caller knows it.
        queue_age_ms: How long the queue's oldest due job has been waiting.
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
