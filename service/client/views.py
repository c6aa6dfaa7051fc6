"""Jobs and their events, typed by the jobs' definitions. Everything else is read as its shape in ``service.shapes``.

Members that a later version of the service adds are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, Generic, cast

from pydantic import InstanceOf, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypeVar

from arqway.service.client.errors import UnexpectedAnswer
from arqway.service.shapes.batches import BatchView
from arqway.service.shapes.problems import ItemProblem
from arqway.workers.contract.record import Failure, Progress
from arqway.workers.contract.states import TERMINAL_STATES, JobState
from arqway.workers.definition import JobDefinition

ResultT = TypeVar("ResultT", default=Any)
"""The type of a job's result; any, if the job is given by its id."""
ViewT = TypeVar("ViewT")


@dataclass(frozen=True, slots=True)
class JobHandle(Generic[ResultT]):
    """Identifies a job. With a definition, the result is read as the definition's result type."""

    id: str
    definition: InstanceOf[JobDefinition[Any, ResultT]] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(JobHandle[ResultT]):
    """A snapshot of a job. An attribute that does not apply is None."""

    kind: str
    queue: str
    state: JobState
    attempt: int
    max_attempts: int
    created_at: datetime
    due_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    next_retry_at: datetime | None = None
    deadline_at: datetime | None = None
    batch: str | None = None
    tags: tuple[str, ...] = ()
    unique_key: str | None = None
    callback_url: str | None = None
    retry_of: str | None = None
    retried_as: str | None = None
    progress: Progress | None = None
    result: ResultT | None = None
    """Set once the job has succeeded; may be None then, too."""
    failure: Failure | None = None
    etag: str | None = None
    """Identifies this version of the job; None if it came in a list or in an event."""

    @property
    def finished(self) -> bool:
        """Whether its state is final."""
        return self.state in TERMINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Whether it has a result."""
        return self.state is JobState.SUCCEEDED

    def after(self, event: "Event[ResultT]") -> "Job[ResultT]":
        """Return the job as it is after one of its events."""
        if event.job is not None:
            return event.job
        if event.state is None or event.attempt is None:
            return self
        progress, failure = event.progress or self.progress, event.failure or self.failure
        return replace(self, state=event.state, attempt=event.attempt, progress=progress, failure=failure, etag=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[ResultT]):
    """An event of a job or of a batch. An attribute that does not apply is None."""

    name: str
    """The state that a job reached, or ``progress``; for a batch ``batch`` or ``finished``; or ``gap``: events before
    this one are no longer kept."""
    id: str
    """A stream can be resumed after this id."""
    job_id: str | None = None
    state: JobState | None = None
    attempt: int | None = None
    at: datetime | None = None
    progress: Progress | None = None
    failure: Failure | None = None
    job: "Job[ResultT] | None" = None
    """The whole job, in the event that ends its stream."""
    batch: BatchView | None = None
    """The state of the batch, in an event ``batch``."""


@dataclass(frozen=True, slots=True)
class SubmittedBatch:
    """The outcome of submitting a batch."""

    id: str
    outcomes: tuple[JobHandle[Any] | ItemProblem, ...]
    """For each item its job, or why it was refused. Empty if the call was repeated and these are no longer stored."""

    @property
    def jobs(self) -> list[JobHandle[Any]]:
        """The jobs that were accepted."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, JobHandle)]

    @property
    def refused(self) -> list[ItemProblem]:
        """The problems of the items that were refused."""
        return [outcome for outcome in self.outcomes if not isinstance(outcome, JobHandle)]


def handle_of(job: JobHandle[ResultT] | str) -> JobHandle[ResultT]:
    """Return a handle of the job, without anything else that is known about it."""
    return JobHandle(job) if isinstance(job, str) else JobHandle(job.id, job.definition)


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises UnexpectedAnswer."""
    try:
        value = from_json(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnexpectedAnswer("The response is not from Arqway.")
    return value


def read_view(kind: type[ViewT], view: Any) -> ViewT:
    """Read one view. Raises UnexpectedAnswer."""
    try:
        return cast(ViewT, _adapter(cast(Any, kind)).validate_python(view))
    except ValidationError as error:
        what = ", ".join(".".join(map(str, one["loc"])) for one in error.errors(include_input=False))
        raise UnexpectedAnswer(f"This client cannot read the service's {kind.__name__}: {what}.") from error


def read_job(view: Mapping[str, Any], handle: JobHandle[ResultT], etag: str | None = None) -> Job[ResultT]:
    """Read a job, with its result by the handle's definition. Raises UnexpectedAnswer."""
    job = {**view, "definition": handle.definition, "etag": etag}
    if handle.definition is not None and "result" in view:
        try:
            job["result"] = handle.definition.result.validate_json(to_json(view["result"]))
        except ValidationError as error:
            kind = handle.definition.kind
            raise UnexpectedAnswer(f"The result of {kind} does not match this client's definition.") from error
    return read_view(Job, job)


def read_event(name: str, event_id: str, data_json: str, handle: JobHandle[ResultT]) -> Event[ResultT]:
    """Read an event of a stream. Raises UnexpectedAnswer."""
    data = read_object(data_json.encode())
    if name == "batch":
        return Event(name=name, id=event_id, batch=read_view(BatchView, data))
    known: dict[str, Any] = {part: data.get(part) for part in ("state", "attempt", "at", "progress", "failure")}
    if "kind" in data:  # the event that ends a job has the whole job
        known |= {"at": data.get("finished_at"), "job": read_job(data, handle)}
    return read_view(Event, {**known, "name": name, "id": event_id, "job_id": data.get("id")})


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
