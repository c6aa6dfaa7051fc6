"""Errors as ``application/problem+json`` (RFC 9457): one table says which exception is which problem.

``type`` is ``urn:arqway:problem:<slug>`` and ``code`` the slug with underscores; both are stable. A status that HTTP
itself explains, such as 405, has the type ``about:blank`` and its phrase as the code. No answer holds an exception's
text, unless the exception is one of ours, and none repeats a value that the client sent.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, NotRequired

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from workers.contract.errors import (
    DuplicateJob,
    InvalidPayload,
    InvalidSubmission,
    JobFinished,
    JobNotFound,
    StoreUnavailable,
    UnknownKind,
    WaitTimeout,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:arqway:problem:"
_ERRORS_SHOWN = 20
_LOC_CHARS = 100


class ServiceError(Exception):
    """The request cannot be served. The docstring of a subclass is its default message."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])


class NotJson(ServiceError):  # noqa: N818 - a fact, as in workers.contract.errors
    """The body is not JSON."""


class UnsupportedMediaType(ServiceError):  # noqa: N818
    """The body must be JSON, sent with the header Content-Type: application/json."""


class BodyTooLarge(HTTPException):
    """The body is larger than this service accepts. An HTTPException, since only those pass FastAPI's body reader."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"A body may have {max_bytes} bytes at most.")


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
    JobNotFound: ProblemKind(404, "job-not-found", "No such job"),
    UnknownKind: ProblemKind(404, "unknown-kind", "No such kind of job"),
    ReportUnavailable: ProblemKind(404, "report-unavailable", "No report file"),
    DuplicateJob: ProblemKind(409, "duplicate-job", "Job exists already"),
    JobFinished: ProblemKind(409, "job-finished", "Job has finished"),
    ReportNotReady: ProblemKind(409, "report-not-ready", "Report is not finished", 1),
    BodyTooLarge: ProblemKind(413, "body-too-large", "Body too large"),
    UnsupportedMediaType: ProblemKind(415, "unsupported-media-type", "Body is not declared as JSON"),
    InvalidPayload: ProblemKind(422, "invalid-payload", "Payload does not fit"),
    RequestValidationError: ProblemKind(422, "invalid-request", "Request does not fit"),
    InvalidSubmission: ProblemKind(422, "invalid-submission", "Job cannot be accepted"),
    StoreUnavailable: ProblemKind(503, "store-unavailable", "Job store does not answer", 1),
    ReportStoreUnavailable: ProblemKind(503, "report-store-unavailable", "Report store does not answer", 5),
    WaitTimeout: ProblemKind(504, "wait-timeout", "Job has not finished in time"),
}
UNEXPECTED = ProblemKind(500, "internal-error", "Internal error")


class FieldError(TypedDict):
    """One part of the request that does not fit, in FastAPI's words but without the value."""

    loc: list[str | int]
    type: str
    msg: str


class Problem(TypedDict):
    """A problem after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: NotRequired[list[FieldError]]


def add_error_handlers(app: FastAPI) -> None:
    """Answer every exception of the table, and what HTTP itself refuses, as a problem."""
    for error in PROBLEMS:
        app.add_exception_handler(error, _answer_known)
    app.add_exception_handler(HTTPException, _answer_http)


def problem_response(
    kind: ProblemKind, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer that a problem of this kind gets."""
    problem: Problem = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": kind.code,
    }
    if errors:
        problem["errors"] = list(errors)
    pace = {} if kind.retry_after_s is None else {"Retry-After": str(kind.retry_after_s)}
    return Response(json.dumps(problem), kind.status, {**pace, **(headers or {})}, MEDIA_TYPE)


def unexpected_response() -> Response:
    """Return the answer to a bug; what went wrong stands in the log only."""
    return problem_response(UNEXPECTED, "The service made a mistake. The log has it under this answer's X-Request-ID.")


def field_errors(errors: Sequence[Mapping[str, Any]], *root: str) -> list[FieldError]:
    """Return pydantic's errors without input values, the first of them if there are many."""
    return [
        {"loc": [*root, *map(_short, error["loc"])], "type": error["type"], "msg": _message(error)}
        for error in errors[:_ERRORS_SHOWN]
    ]


def _short(part: str | int) -> str | int:
    return part[:_LOC_CHARS] if isinstance(part, str) else part


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "union_tag_invalid":  # pydantic's own message repeats the tag that was sent
        return f"Input tag does not match any of the expected tags: {error['ctx']['expected_tags']}"
    return str(error["msg"])


async def _answer_known(_: Request, error: Exception) -> Response:
    kind = next(PROBLEMS[base] for base in type(error).__mro__ if base in PROBLEMS)
    match error:
        case InvalidPayload(errors=[{"type": "json_invalid", "loc": ()}]):
            return problem_response(PROBLEMS[NotJson], "The body is not JSON.")
        case InvalidPayload():
            return problem_response(kind, str(error), errors=field_errors(error.errors, "body"))
        case RequestValidationError():
            return problem_response(kind, "The request does not fit.", errors=field_errors(error.errors()))
        case UnsupportedMediaType():
            return problem_response(kind, str(error), headers={"Accept": "application/json"})
        case BodyTooLarge():
            return problem_response(kind, error.detail)
    return problem_response(kind, str(error))


async def _answer_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the signature is Starlette's
    phrase = HTTPStatus(error.status_code).phrase
    problem: Problem = {
        "type": "about:blank",
        "title": phrase,
        "status": error.status_code,
        "detail": error.detail,
        "code": phrase.lower().replace(" ", "_").replace("-", "_"),
    }
    return Response(json.dumps(problem), error.status_code, error.headers, MEDIA_TYPE)
