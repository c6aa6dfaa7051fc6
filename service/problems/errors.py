"""What can go wrong, and the one table that says which exception is which problem.

``type`` is ``urn:arqway:problem:<slug>`` and ``code`` the slug with underscores; both are stable.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from arqway.service.problems.refusals import ForeignHost, ForeignOrigin, InsufficientScope, RateLimited, Unauthenticated
from arqway.service.shapes.jobs import EXAMPLE_ID
from arqway.service.shapes.problems import Problem
from arqway.workers.contract.errors import (
    BatchNotFound,
    BatchRefused,
    CallbacksOff,
    DuplicateJob,
    IdempotencyHeld,
    IdempotencyMismatch,
    InvalidCursor,
    InvalidPayload,
    InvalidSubmission,
    JobChanged,
    JobFinished,
    JobNotFinished,
    JobNotFound,
    JobRetried,
    NotUnique,
    QueueFull,
    QueueNotAllowed,
    StoreUnavailable,
    UnknownKind,
    WaitTimeout,
)

TYPE_PREFIX = "urn:arqway:problem:"


class ServiceError(Exception):
    """The request cannot be served. The docstring of a subclass is its default message."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])


class NotJson(ServiceError):  # noqa: N818 - a fact, as in arqway.workers.contract.errors
    """The body is not JSON."""


class UnsupportedMediaType(ServiceError):  # noqa: N818
    """The body must be JSON, sent with the header Content-Type: application/json."""


class UnsupportedJson(ServiceError):  # noqa: N818
    """The body is JSON that not every reader would understand alike."""


class BodyTooLarge(HTTPException):
    """The body is larger than this service accepts. An HTTPException, since only those pass FastAPI's body reader."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"A body may have {max_bytes} bytes at most.")


class RequestTimeout(HTTPException):
    """The request was not complete in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(408, f"A request must be complete within {timeout_s:g} s.", {"Connection": "close"})


class ServiceBusy(HTTPException):
    """The service holds as much as it may."""

    def __init__(self, what: str) -> None:
        super().__init__(503, f"The service holds as many {what} as it may.")


class MalformedRequest(HTTPException):
    """What was sent is not HTTP/1.1."""

    def __init__(self) -> None:
        super().__init__(400, "What was sent is not HTTP/1.1.")


class HeadersTooLarge(HTTPException):
    """The head of the request is larger than this service accepts."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(431, f"The head of a request may have {max_bytes} bytes at most.")


class InvalidIdempotencyKey(ServiceError):  # noqa: N818
    """An Idempotency-Key is a string of 1 to 255 visible characters, sent once."""


class InvalidEventId(ServiceError):  # noqa: N818
    """Last-Event-ID is the id of no event of this stream."""


class TooManyStreams(ServiceError):  # noqa: N818
    """The service has as many event streams open as it may."""


class JobNotSucceeded(ServiceError):  # noqa: N818
    """The job has no result: it has not ended yet, or not succeeded."""


class ReportNotReady(ServiceError):  # noqa: N818
    """The report is still being made."""


class ReportUnavailable(ServiceError):  # noqa: N818
    """There is no file: the report was not made, or was deleted since."""


class ReportStoreUnavailable(ServiceError):  # noqa: N818
    """The store of finished reports does not answer at the moment."""


class ProblemKind(NamedTuple):
    """What all problems of one kind have in common."""

    status: int
    slug: str
    title: str
    retry_after_s: int | None = None

    @property
    def code(self) -> str:
        """The slug, for programs that compare names."""
        return self.slug.replace("-", "_")


PROBLEMS: Mapping[type[Exception], ProblemKind] = {
    NotJson: ProblemKind(400, "not-json", "Body is not JSON"),
    InvalidIdempotencyKey: ProblemKind(400, "invalid-idempotency-key", "Idempotency-Key cannot be used"),
    InvalidCursor: ProblemKind(400, "invalid-cursor", "Cursor cannot be used"),
    InvalidEventId: ProblemKind(400, "invalid-event-id", "Last-Event-ID cannot be used"),
    MalformedRequest: ProblemKind(400, "malformed-request", "Request is not HTTP"),
    Unauthenticated: ProblemKind(401, "unauthenticated", "An API key is needed"),
    InsufficientScope: ProblemKind(403, "insufficient-scope", "API key does not allow this"),
    ForeignOrigin: ProblemKind(403, "foreign-origin", "Page of another site"),
    JobNotFound: ProblemKind(404, "job-not-found", "No such job"),
    BatchNotFound: ProblemKind(404, "batch-not-found", "No such batch"),
    UnknownKind: ProblemKind(404, "unknown-kind", "No such kind of job"),
    ReportUnavailable: ProblemKind(404, "report-unavailable", "No report file"),
    RequestTimeout: ProblemKind(408, "request-timeout", "Request took too long to arrive"),
    DuplicateJob: ProblemKind(409, "duplicate-job", "Job exists already"),
    JobFinished: ProblemKind(409, "job-finished", "Job has finished"),
    JobNotFinished: ProblemKind(409, "job-not-finished", "Job has not finished"),
    JobNotSucceeded: ProblemKind(409, "job-not-succeeded", "Job has no result"),
    JobRetried: ProblemKind(409, "job-retried", "Job was retried already"),
    NotUnique: ProblemKind(409, "not-unique", "Unique key is taken"),
    IdempotencyHeld: ProblemKind(409, "idempotency-held", "First request is not answered yet"),
    ReportNotReady: ProblemKind(409, "report-not-ready", "Report is not finished", 1),
    JobChanged: ProblemKind(412, "job-changed", "Job has changed"),
    BodyTooLarge: ProblemKind(413, "body-too-large", "Body too large"),
    UnsupportedMediaType: ProblemKind(415, "unsupported-media-type", "Body is not declared as JSON"),
    ForeignHost: ProblemKind(421, "foreign-host", "Not a name of this service"),
    UnsupportedJson: ProblemKind(422, "unsupported-json", "JSON is ambiguous or out of bounds"),
    InvalidPayload: ProblemKind(422, "invalid-payload", "Payload does not fit"),
    RequestValidationError: ProblemKind(422, "invalid-request", "Request does not fit"),
    InvalidSubmission: ProblemKind(422, "invalid-submission", "Job cannot be accepted"),
    QueueNotAllowed: ProblemKind(422, "queue-not-allowed", "Queue is not the kind's"),
    CallbacksOff: ProblemKind(422, "callbacks-off", "Callbacks are off"),
    BatchRefused: ProblemKind(422, "batch-refused", "Batch cannot be accepted"),
    IdempotencyMismatch: ProblemKind(422, "idempotency-mismatch", "Idempotency-Key came with another request"),
    RateLimited: ProblemKind(429, "rate-limited", "Too many requests"),
    HeadersTooLarge: ProblemKind(431, "headers-too-large", "Head of the request too large"),
    ServiceBusy: ProblemKind(503, "service-busy", "Service holds as much as it may", 5),
    TooManyStreams: ProblemKind(503, "too-many-streams", "Too many event streams", 5),
    StoreUnavailable: ProblemKind(503, "store-unavailable", "Job store does not answer", 1),
    QueueFull: ProblemKind(503, "queue-full", "Queue takes no more for now", 5),
    ReportStoreUnavailable: ProblemKind(503, "report-store-unavailable", "Report store does not answer", 5),
    WaitTimeout: ProblemKind(504, "wait-timeout", "Job has not finished in time"),
}
UNEXPECTED = ProblemKind(500, "internal-error", "Internal error")

_FIELD = {"loc": ["body", "user_id"], "type": "int_type", "msg": "Input should be a valid integer"}
_PROBLEM_MEMBERS: Mapping[str, Mapping[str, Any]] = {
    "invalid-payload": {"errors": [_FIELD]},
    "invalid-request": {"errors": [{**_FIELD, "loc": ["query", "delay"], "type": "float_parsing"}]},
    "not-unique": {"job_id": EXAMPLE_ID},
    "job-retried": {"job_id": EXAMPLE_ID},
    "batch-refused": {"items": [{"index": 1, "code": "unknown_kind", "detail": "No job of this kind is registered."}]},
}


def problem_example(kind: ProblemKind) -> Problem:
    """Return a problem of this kind."""
    problem: Problem = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title}.",
        "code": kind.code,
    }
    return {**problem, **_PROBLEM_MEMBERS.get(kind.slug, {})}  # type: ignore[typeddict-item]
