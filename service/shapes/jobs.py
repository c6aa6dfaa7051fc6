"""A job as its clients see it, its events and lists. ``workers.contract.view`` makes the views from records."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, Strict, with_config
from typing_extensions import TypedDict

from arqway.workers.contract.states import JobState
from arqway.workers.definition import JobDefinition

EXAMPLE_ID = "0c2f7e6d9b1a4f4c8a51d3e2f6b7a890"
EXAMPLE_BATCH_ID = "7c1d52a9f0e84b63a1b2c3d4e5f60718"
EXAMPLE_PROGRESS: dict[str, Any] = {"current": 2, "total": 5, "message": "Summarised"}
EXAMPLE_JOB: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "kind": "report.generate",
    "queue": "default",
    "state": "running",
    "attempt": 1,
    "max_attempts": 6,
    "created_at": "2026-03-01T09:30:00.125Z",
    "due_at": "2026-03-01T09:30:00.125Z",
    "started_at": "2026-03-01T09:30:00.131Z",
    "progress": EXAMPLE_PROGRESS,
}

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="UTC, with milliseconds")]
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_RESULT = "Only after success"
JobId = Annotated[str, Field(description="The job's id")]


def _check_moment(moment: Any) -> Any:
    """Refuse other forms that pydantic would accept, such as a number, which could be seconds or milliseconds."""
    if not isinstance(moment, str) or not _RFC_3339.fullmatch(moment):
        raise ValueError("a moment is written as RFC 3339 says, such as 2026-03-01T09:30:00Z")
    return moment


# Without Strict(False), a strict body would refuse text, because of the check before it.
Moment = Annotated[AwareDatetime, Strict(False), BeforeValidator(_check_moment)]
"""A date and time with its offset, as a client writes it. Source: RFC 3339."""


class ProgressView(TypedDict):
    """How far a job is. ``total`` and ``message`` are null where the job did not tell."""

    current: float
    total: float | None
    message: str | None


class FailureView(TypedDict):
    """Why the last failed attempt failed: a stable ``code`` for machines, a ``message`` for people."""

    code: str
    message: str
    fingerprint: NotRequired[Annotated[str, Field(description="The same for failures of one kind and place")]]
    error: NotRequired[Annotated[str, Field(description="The exception's class; with the scope operate only")]]
    detail: NotRequired[Annotated[str, Field(description="Its text; with the scope operate only")]]
    traceback: NotRequired[Annotated[str, Field(description="Its last frames; with the scope operate only")]]


@with_config(json_schema_extra={"examples": [EXAMPLE_JOB]})
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
    deadline_at: NotRequired[Annotated[Timestamp, Field(description="No attempt begins or goes on after it")]]
    batch: NotRequired[Annotated[str, Field(description="Id of its batch")]]
    tags: NotRequired[list[str]]
    unique_key: NotRequired[str]
    callback_url: NotRequired[str]
    retry_of: NotRequired[Annotated[str, Field(description="Id of the job that was submitted again as this one")]]
    retried_as: NotRequired[Annotated[str, Field(description="Id of the job that this one was submitted again as")]]
    progress: NotRequired[ProgressView]
    result: NotRequired[Annotated[Any, Field(description=_RESULT)]]
    failure: NotRequired[FailureView]


class JobEventView(TypedDict):
    """The data of an event: a state that a job reached, or its progress."""

    id: Annotated[str, Field(description="The job's id")]
    state: JobState
    attempt: Annotated[int, Field(description="The attempt it belongs to; 0 before the first")]
    at: Timestamp
    progress: NotRequired[Annotated[ProgressView, Field(description="Of `progress`")]]
    failure: NotRequired[Annotated[FailureView, Field(description="Of `failed` and `retrying`")]]


class AttemptView(TypedDict):
    """One attempt of a job."""

    attempt: Annotated[int, Field(description="Its number; one whose worker was lost shares it with the next one")]
    outcome: Literal["running", "succeeded", "failed", "cancelled", "interrupted", "worker_lost"]
    started_at: Timestamp
    ended_at: NotRequired[Timestamp]
    failure: NotRequired[FailureView]
    worker: NotRequired[Annotated[str, Field(description="Which worker ran it; with the scope operate only")]]


class AttemptsView(TypedDict):
    """A job's attempts, the oldest first, the last 21 of them."""

    attempts: list[AttemptView]
    next_retry_at: NotRequired[Annotated[Timestamp, Field(description="Only while retrying")]]


class WaitingReason(TypedDict):
    """One reason why a job waits."""

    code: Literal["scheduled", "retrying", "queue_paused", "no_worker", "unknown_kind", "workers_busy", "backlog"]
    message: str
    until: NotRequired[Timestamp]
    position: NotRequired[Annotated[int, Field(description="Jobs of the queue that are due before it")]]
    estimate_s: NotRequired[Annotated[float, Field(description="Seconds that they will take, at the present pace")]]


class WaitingView(TypedDict):
    """Why a job is waiting, the firmest reason first; no reason for one that runs or has ended."""

    waiting: bool
    reasons: list[WaitingReason]


class JobSelection(BaseModel):
    """A selection of jobs. A job must match every field that is given."""

    model_config = ConfigDict(extra="forbid")

    kind: str | None = Field(default=None, max_length=200, description="The kind of job", examples=["report.generate"])
    queue: str | None = Field(default=None, max_length=200, description="The queue that the job is or was in")
    tag: str | None = Field(default=None, max_length=128, description="One of the job's tags", examples=["march"])
    batch: str | None = Field(default=None, max_length=128, description="The id of the job's batch")
    fingerprint: str | None = Field(
        default=None, max_length=64, description="The fingerprint of the failure; sorts by its time, latest first"
    )
    created_from: Moment | None = Field(default=None, description="Accepted at this time or later")
    created_to: Moment | None = Field(default=None, description="Accepted at this time or earlier")


class ListQuery(JobSelection):
    """A selection of jobs, and a page of it."""

    state: JobState | None = Field(default=None, description="The current state")
    limit: int = Field(default=50, ge=1, le=200, description="Maximum number of jobs per page")
    cursor: str | None = Field(default=None, max_length=1000, description="`next` of the previous page")


class JobList(TypedDict):
    """A page of jobs."""

    jobs: Annotated[list[JobView], Field(description="May be fewer than the limit, even none, although more follow")]
    next: NotRequired[Annotated[str, Field(description="Cursor of the next page; absent on the last one")]]


def view_names(kinds: Iterable[str]) -> dict[str, str]:
    """Return a name for the shape of the jobs of each kind: ``ReportGenerateJob``, with a number if it is taken."""
    names: dict[str, str] = {}
    for kind in kinds:
        name = "".join(part.capitalize() for part in re.split("[._]", kind)) + "Job"
        taken = sum(re.fullmatch(rf"{name}\d*", other) is not None for other in names.values())
        names[kind] = f"{name}{taken + 1}" if taken else name
    return names


def typed_job_view(job: JobDefinition[Any, Any], name: str) -> Any:
    """Return the shape of the jobs of one kind: their result has the kind's own type."""
    parts = {**JobView.__annotations__, "result": NotRequired[Annotated[job.result_type, Field(description=_RESULT)]]}
    view = TypedDict(name, parts)  # type: ignore[misc]
    view.__doc__ = f"A job of the kind {job.kind}."
    return view
