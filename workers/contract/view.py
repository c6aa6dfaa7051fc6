"""A job's record as clients see it, as plain JSON values, and when to ask again.

Parts that do not apply are absent keys.
"""

from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Any

from arqway.workers.contract.record import Failure, JobRecord, Progress
from arqway.workers.contract.states import TERMINAL_STATES, JobState

OPERATOR_PARTS = ("error", "detail", "traceback")
"""The parts of a failure that may contain secrets."""
_UNTOUCHED = frozenset({JobState.QUEUED, JobState.SCHEDULED})
_LONGEST_S = 60
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999: stock arq producers may request any time


def job_view(record: JobRecord, *, operator: bool = False) -> dict[str, Any]:
    """Return the client's view of a job. Its shape is ``service.shapes.JobView``.

    Args:
        record: The job.
        operator: Whether to include the exception's class, text and traceback.
    """
    view: dict[str, Any] = {
        "id": record.id,
        "kind": record.kind,
        "queue": record.queue,
        "state": record.state.value,
        "attempt": record.attempt,
        "max_attempts": record.max_attempts,
        "created_at": timestamp(record.created_ms),
        "due_at": timestamp(record.due_ms),
    }
    if record.started_ms is not None:
        view["started_at"] = timestamp(record.started_ms)
    if record.version > 1 or record.extras or record.state not in _UNTOUCHED:
        _add_rest(view, record, operator)
    return view


def _add_rest(view: dict[str, Any], record: JobRecord, operator: bool) -> None:
    moments = {
        "finished_at": record.finished_ms,
        "cancel_requested_at": record.cancel_ms,
        "next_retry_at": record.next_retry_ms,
        "deadline_at": record.deadline_ms,
    }
    view.update({name: timestamp(ms) for name, ms in moments.items() if ms is not None})
    for name in ("batch", "unique_key", "callback_url", "retry_of", "retried_as"):
        if (value := getattr(record, name)) is not None:
            view[name] = value
    if record.tags:
        view["tags"] = list(record.tags)
    if record.progress is not None:
        view["progress"] = progress_view(record.progress)
    if record.state is JobState.SUCCEEDED:
        view["result"] = record.result
    elif record.failure is not None:
        view["failure"] = failure_view(record.failure, operator=operator)


def progress_view(progress: Progress) -> dict[str, Any]:
    """Return the client's view of a job's progress."""
    return {"current": progress.current, "total": progress.total, "message": progress.message}


def failure_view(failure: Failure, *, operator: bool = False) -> dict[str, Any]:
    """Return the client's view of a failure; ``operator`` as in ``job_view``."""
    names = ("code", "message", "fingerprint", *(OPERATOR_PARTS if operator else ()))
    return {name: value for name in names if (value := getattr(failure, name)) is not None}


def attempt_views(record: JobRecord, *, operator: bool = False) -> list[dict[str, Any]]:
    """Return the attempts still in the record, oldest first, each in the shape of ``service.shapes.AttemptView``.

    Args:
        record: The job.
        operator: Whether to include the worker that ran each attempt.
    """
    rows: list[tuple[int, str, int, int | None, str | None, str | None, str | None]] = [
        (past.attempt, past.outcome, past.started_ms, past.ended_ms, past.worker, past.code, past.message)
        for past in record.attempts
    ]
    # The record itself describes the running attempt, or the one that the job ended with; not so for a job that was
    # cancelled while it waited for its next attempt.
    ended_with = record.finished and all(row[2] != record.started_ms for row in rows)
    if record.started_ms is not None and (ended_with or record.state is JobState.RUNNING):
        failure = record.failure if record.state is JobState.FAILED else None
        why = (None, None) if failure is None else (failure.code, failure.message)
        times = record.started_ms, record.finished_ms
        rows.append((record.attempt, record.state.value, *times, record.worker, *why))
    views = []
    for attempt, outcome, started_ms, ended_ms, worker, code, message in rows:
        view: dict[str, Any] = {"attempt": attempt, "outcome": outcome, "started_at": timestamp(started_ms)}
        if ended_ms is not None:
            view["ended_at"] = timestamp(ended_ms)
        if operator:
            view["worker"] = worker
        if code is not None:
            view["failure"] = {"code": code, "message": message}
        views.append(view)
    return views


def retry_after_s(record: JobRecord, now_ms: int, *, queue_age_ms: float = 0, run_ms: float = 0) -> int | None:
    """Return the seconds after which the job may have ended, in 1 … 60; None for one that has.

    A waiting job is expected to wait as long as the queue's oldest due job has, less the time it has waited already,
    and then to run. If that time has already passed, the result is 1.

    Args:
        record: The job.
        now_ms: Unix milliseconds; the caller's best estimate of the Redis server's clock.
        queue_age_ms: How long the queue's oldest due job has waited.
        run_ms: How long an attempt of this kind usually takes.
    """
    if record.state in TERMINAL_STATES:
        return None
    if record.state is JobState.RUNNING:
        left_ms = run_ms - (now_ms - (record.started_ms or now_ms))
    elif record.due_ms > now_ms:
        left_ms = record.due_ms - now_ms + run_ms
    else:
        left_ms = max(0.0, queue_age_ms - (now_ms - record.due_ms)) + run_ms
    return min(max(1, ceil(left_ms / 1000)), _LONGEST_S)


def timestamp(ms: int) -> str:
    """Format Unix milliseconds as ISO 8601 in UTC, e.g. ``2026-03-01T09:30:00.125Z``."""
    seconds, milliseconds = divmod(min(ms, _LATEST_MS), 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
