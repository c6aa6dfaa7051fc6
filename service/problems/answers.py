"""Turns errors into responses: ``application/problem+json`` (RFC 9457), by the table in ``problems.table``.

A status that needs no further explanation, such as 405, has the type ``about:blank`` and its phrase as the code. No
response contains the text of an exception that is not ours, or repeats a value that the client sent.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from arqway.service.problems.errors import AccessRefused, NotJson, UnsupportedMediaType
from arqway.service.problems.kinds import TYPE_PREFIX, ProblemKind
from arqway.service.problems.table import PROBLEMS, UNEXPECTED
from arqway.service.shapes.problems import FieldError, ItemProblem, Problem
from arqway.workers.contract.errors import (
    ArqwayError,
    BatchRefused,
    IdempotencyHeld,
    InvalidPayload,
    JobRetried,
    NotUnique,
    QueueFull,
)

MEDIA_TYPE = "application/problem+json"
PAGES = "/problems"
"""The path of the problem index; below it is a page for each type."""
KNOWN = tuple(PROBLEMS)
"""The exceptions that ``problem_of`` accepts."""
_ERRORS_SHOWN = 20
_LOC_CHARS = 100


def base_path(scope: Scope) -> str:
    """Return the path below which the client reaches the problem pages, without a trailing slash.

    ``scope["arqway"]`` is the route that serves the request, once it has been chosen. Until then, it is the root path.
    """
    route = scope.get("arqway")
    base: str = scope.get("root_path", "").rstrip("/") if route is None else route.base_path(scope)
    return base


class ProblemResponse(Response):
    """A problem response, with a link to the page that explains it."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(json.dumps(problem), problem["status"], headers)
        slug = problem["type"].removeprefix(TYPE_PREFIX)
        self._page = PAGES if slug == problem["type"] else f"{PAGES}/{slug}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        self.link_below(base_path(scope))
        await super().__call__(scope, receive, send)

    def link_below(self, base: str) -> None:
        """Point the link to the problem pages below this path."""
        self.headers["Link"] = f'<{base}{self._page}>; rel="help"'


def add_error_handlers(app: FastAPI) -> None:
    """Report errors outside of routes, such as an unknown path, as problems; routes report their own errors."""
    app.add_exception_handler(HTTPException, _answer_http)


def add_job_error_handlers(app: FastAPI) -> None:
    """Report Arqway's errors, such as JobNotFound, as problems with the right status in an application's own routes.

    All other errors are left to the application. This is not done by default.
    """
    for error in PROBLEMS:
        if issubclass(error, ArqwayError):
            app.add_exception_handler(error, _answer_known)


def problem_response(
    kind: ProblemKind,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> ProblemResponse:
    """Return the response for a problem of this kind; ``more`` holds members in addition to the common ones."""
    problem = kind.problem(detail)
    if errors:
        problem["errors"] = list(errors)
    pace = {} if kind.retry_after_s is None else {"Retry-After": str(kind.retry_after_s)}
    return ProblemResponse({**problem, **(more or {})}, {**pace, **(headers or {})})


def kind_of(error: Exception) -> ProblemKind:
    """Return an exception's row in the table. Raises StopIteration if there is none."""
    return next(PROBLEMS[parent] for parent in type(error).__mro__ if parent in PROBLEMS)


def item_problem(index: int, error: Exception) -> ItemProblem:
    """Return why one job of a batch was not accepted."""
    problem: ItemProblem = {"index": index, "code": kind_of(error).code, "detail": str(error)}
    if isinstance(error, InvalidPayload) and error.errors:
        problem["errors"] = field_errors(error.errors, "payload")
    return problem


def unexpected_response() -> ProblemResponse:
    """Return the response to a bug; the details are in the log only."""
    return problem_response(UNEXPECTED, "The service has a bug. Its log has the details under this X-Request-ID.")


def field_errors(errors: Sequence[Mapping[str, Any]], *root: str) -> list[FieldError]:
    """Return pydantic's errors without input values, limited to the first 20."""
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
    return problem_of(error)


def problem_of(error: Exception) -> ProblemResponse:
    """Return the response to an exception that is in the table."""
    kind = kind_of(error)
    match error:
        case InvalidPayload(errors=[{"type": "json_invalid", "loc": ()}]):
            return problem_response(PROBLEMS[NotJson], "The body is not JSON.")
        case InvalidPayload():
            return problem_response(kind, str(error), errors=field_errors(error.errors, "body"))
        case RequestValidationError():
            return _invalid_request(error)
        case HTTPException():
            return problem_response(kind, error.detail, headers=error.headers)
    return problem_response(kind, str(error), headers=_headers_of(error), more=_members_of(error))


def _invalid_request(error: RequestValidationError) -> ProblemResponse:
    """Report FastAPI's validation errors; those of a body are reported as an invalid payload."""
    errors = error.errors()
    if not any(one["loc"][:1] == ("body",) for one in errors):
        return problem_response(kind_of(error), "The request does not fit.", errors=field_errors(errors))
    if any(one["type"] == "json_invalid" for one in errors):
        return problem_response(PROBLEMS[NotJson], "The body is not JSON.")
    return problem_response(PROBLEMS[InvalidPayload], "The body does not fit.", errors=field_errors(errors))


def _headers_of(error: Exception) -> Mapping[str, str]:
    match error:
        case UnsupportedMediaType():
            return {"Accept": "application/json"}
        case IdempotencyHeld() | QueueFull():
            return {"Retry-After": str(error.retry_after_s)}
        case AccessRefused():
            return error.headers
    return {}


def _members_of(error: Exception) -> Mapping[str, Any]:
    match error:
        case NotUnique() | JobRetried() if error.job_id:
            return {"job_id": error.job_id}
        case BatchRefused():
            items = [item_problem(n, reason) for n, reason in enumerate(error.errors) if reason is not None]
            return {"items": items[:_ERRORS_SHOWN]}
    return {}


async def _answer_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the signature is Starlette's
    return plain_problem(error.status_code, error.detail, error.headers)


def plain_problem(status: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem of the type ``about:blank``, which its HTTP status explains."""
    phrase = HTTPStatus(status).phrase
    problem: Problem = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": detail or phrase,
        "code": phrase.lower().replace(" ", "_").replace("-", "_"),
    }
    return ProblemResponse(problem, headers)
