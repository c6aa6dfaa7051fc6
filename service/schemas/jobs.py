"""The JSON that the service answers with, and how a job's record becomes it.

One rule for all: a part that does not apply is an absent key, never a null. Views are plain dictionaries, so that an
answer is written once, straight to JSON.
"""

from datetime import UTC, datetime
from math import ceil
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from workers.contract.record import JobRecord, Progress
from workers.contract.states import JobState

_LATEST_MS = 253_402_300_799_999  # the end of the year 9999: a stock arq producer may have asked for any moment
_RETRY_AFTER_MAX_S = 60
_EXAMPLE_ID = "0c2f7e6d9b1a4f4c8a51d3e2f6b7a890"

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="UTC, with milliseconds")]
JobId = Annotated[str, Field(description="The job's id")]


class ProgressView(TypedDict):
    """How far a job is. ``total`` and ``message`` are null where the job did not tell."""

    current: float
    total: float | None
    message: str | None


class FailureView(TypedDict):
    """Why the last failed attempt failed: a stable ``code`` for machines, a ``message`` for people."""

    code: str
    message: str


@with_config(
    ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _EXAMPLE_ID,
                    "kind": "report.generate",
                    "queue": "default",
                    "state": "running",
                    "attempt": 1,
                    "max_attempts": 6,
                    "created_at": "2026-03-01T09:30:00.125Z",
                    "due_at": "2026-03-01T09:30:00.125Z",
                    "started_at": "2026-03-01T09:30:00.131Z",
                    "progress": {"current": 2, "total": 5, "message": "Summarised"},
                }
            ]
        }
    )
)
class JobView(TypedDict):
    """A job."""

    id: JobId
    kind: str
    queue: str
    state: JobState
    attempt: Annotated[int, Field(description="Number of the current or last attempt; 0 before the first")]
    max_attempts: Annotated[int, Field(description="Attempts in all, the first included")]
    created_at: Timestamp
    due_at: Annotated[Timestamp, Field(description="When it may (or might) start")]
    started_at: NotRequired[Annotated[Timestamp, Field(description="Start of the current or last attempt")]]
    finished_at: NotRequired[Timestamp]
    cancel_requested_at: NotRequired[Timestamp]
    next_retry_at: NotRequired[Annotated[Timestamp, Field(description="Only while retrying")]]
    progress: NotRequired[ProgressView]
    result: NotRequired[Annotated[Any, Field(description="Only after success")]]
    failure: NotRequired[FailureView]


@with_config(ConfigDict(json_schema_extra={"examples": [{"task_id": _EXAMPLE_ID}]}))
class AcceptedReport(TypedDict):
    """The id to ask for."""

    task_id: str


class ReportResult(TypedDict):
    """A finished report."""

    user_id: int
    report_url: Annotated[str, Field(description="Where the PDF is")]


ReportState = Literal["PENDING", "STARTED", "PROGRESS", "RETRY", "SUCCESS", "FAILURE", "REVOKED"]


@with_config(
    ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task_id": _EXAMPLE_ID,
                    "state": "PROGRESS",
                    "progress": {"current": 2, "total": 5, "message": "Summarised"},
                }
            ]
        }
    )
)
class ReportView(TypedDict):
    """Where a report is in its making."""

    task_id: str
    state: ReportState
    progress: NotRequired[Annotated[ProgressView, Field(description="Only in the state PROGRESS")]]
    result: NotRequired[Annotated[ReportResult, Field(description="Only in the state SUCCESS")]]
    error: NotRequired[Annotated[str, Field(description="Why there is no report; only in the state FAILURE")]]


class HealthView(TypedDict):
    """What a probe learns."""

    status: Literal["ok"]


_REPORT_STATES: dict[JobState, ReportState] = {
    JobState.SCHEDULED: "PENDING",
    JobState.QUEUED: "PENDING",
    JobState.RUNNING: "STARTED",
    JobState.RETRYING: "RETRY",
    JobState.SUCCEEDED: "SUCCESS",
    JobState.FAILED: "FAILURE",
    JobState.CANCELLED: "REVOKED",
}


def job_view(record: JobRecord) -> JobView:
    """Return what everybody may know of a job: never an exception's class, text or traceback, nor its worker."""
    view: JobView = {
        "id": record.id,
        "kind": record.kind,
        "queue": record.queue,
        "state": record.state,
        "attempt": record.attempt,
        "max_attempts": record.max_attempts,
        "created_at": timestamp(record.created_ms),
        "due_at": timestamp(record.due_ms),
    }
    moments = {
        "started_at": record.started_ms,
        "finished_at": record.finished_ms,
        "cancel_requested_at": record.cancel_ms,
        "next_retry_at": record.next_retry_ms,
    }
    view.update({name: timestamp(ms) for name, ms in moments.items() if ms is not None})  # type: ignore[typeddict-item]
    if record.progress is not None:
        view["progress"] = _progress_view(record.progress)
    if record.state is JobState.SUCCEEDED:
        view["result"] = record.result
    elif record.failure is not None:
        view["failure"] = {"code": record.failure.code, "message": record.failure.message}
    return view


def report_view(record: JobRecord, base_url: str) -> ReportView:
    """Return a report's job in the words of the tutorial; ``base_url`` is where the client reached the service."""
    view: ReportView = {"task_id": record.id, "state": _REPORT_STATES[record.state]}
    if record.state is JobState.RUNNING and record.progress is not None:
        view["state"] = "PROGRESS"
        view["progress"] = _progress_view(record.progress)
    elif record.state is JobState.SUCCEEDED:
        url = base_url.rstrip("/") + record.result["report_url"]
        view["result"] = {"user_id": record.result["user_id"], "report_url": url}
    elif record.state is JobState.FAILED:
        view["error"] = record.failure.message if record.failure else "The job failed."
    return view


def retry_after_s(record: JobRecord, now_ms: int) -> int | None:
    """Return when to ask again: 1 s from now, later for a job that is not due yet, None for a finished one."""
    if record.finished:
        return None
    if record.state is JobState.RUNNING:
        return 1
    return min(max(1, ceil((record.due_ms - now_ms) / 1000)), _RETRY_AFTER_MAX_S)


def timestamp(ms: int) -> str:
    """Write Unix milliseconds as ISO 8601 in UTC, e.g. ``2026-03-01T09:30:00.125Z``."""
    seconds, milliseconds = divmod(min(ms, _LATEST_MS), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z"


def _progress_view(progress: Progress) -> ProgressView:
    return {"current": progress.current, "total": progress.total, "message": progress.message}
