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

from arqway.service.problems.errors import NotJson, ServiceError
from arqway.service.problems.table import PROBLEMS, TYPE_PREFIX, UNEXPECTED, ProblemKind
from arqway.service.shapes.problems import FieldError, ItemProblem
from arqway.workers.contract import errors as jobs

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
        self._page = f"{PAGES}/{problem['type'].partition(TYPE_PREFIX)[2]}".rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        self.link_below(base_path(scope))
        await super().__call__(scope, receive, send)

    def link_below(self, base: str) -> None:
        """Point the link to the problem pages below this path."""
        self.headers["Link"] = f'<{base}{self._page}>; rel="help"'


def add_error_handlers(app: FastAPI) -> None:
    """Report errors outside of routes, such as an unknown path, as problems; routes report their own errors."""
    app.add_exception_handler(HTTPException, _answer)


def add_job_error_handlers(app: FastAPI) -> None:
    """Report Arqway's errors, such as JobNotFound, as problems with the right status in an application's own routes.

    All other errors are left to the application. This is not done by default.
    """
    for error in PROBLEMS:
        if issubclass(error, jobs.ArqwayError):
            app.add_exception_handler(error, _answer)


def problem_response(
    kind: ProblemKind, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> ProblemResponse:
    """Return the response for a problem of this kind; ``members`` are added to the common ones, except empty ones."""
    added = {name: member for name, member in members.items() if member}
    pace = {} if kind.retry_after_s is None else {"Retry-After": str(kind.retry_after_s)}
    return ProblemResponse({**kind.problem(detail), **added}, {**pace, **(headers or {})})


def kind_of(error: Exception) -> ProblemKind:
    """Return an exception's row in the table. Raises StopIteration if there is none."""
    return next(PROBLEMS[parent] for parent in type(error).__mro__ if parent in PROBLEMS)


def item_problem(index: int, error: Exception) -> ItemProblem:
    """Return why one job of a batch was not accepted."""
    problem: ItemProblem = {"index": index, "code": kind_of(error).code, "detail": str(error)}
    if isinstance(error, jobs.InvalidPayload) and error.errors:
        problem["errors"] = field_errors(error.errors, "payload")
    return problem


def unexpected_response() -> ProblemResponse:
    """Return the response to a bug; the details are in the log only."""
    return problem_response(UNEXPECTED, "The service has a bug. Its log has the details under this X-Request-ID.")


def field_errors(errors: Sequence[Mapping[str, Any]], *root: str) -> list[FieldError]:
    """Return pydantic's errors without input values, limited to the first 20."""
    shown: list[FieldError] = []
    for error in errors[:_ERRORS_SHOWN]:
        loc = [part[:_LOC_CHARS] if isinstance(part, str) else part for part in error["loc"]]
        message = str(error["msg"])
        if error["type"] == "union_tag_invalid":  # pydantic's own message repeats the tag that was sent
            message = f"Input tag does not match any of the expected tags: {error['ctx']['expected_tags']}"
        shown.append({"loc": [*root, *loc], "type": error["type"], "msg": message})
    return shown


def problem_of(error: Exception) -> ProblemResponse:
    """Return the response to an exception that is in the table."""
    kind, detail = kind_of(error), error.detail if isinstance(error, HTTPException) else str(error)
    match error:
        case jobs.InvalidPayload(errors=[{"type": "json_invalid", "loc": ()}]):
            return problem_of(NotJson())
        case jobs.InvalidPayload():
            return problem_response(kind, detail, errors=field_errors(error.errors, "body"))
        case RequestValidationError():
            return _invalid_request(kind, error.errors())
        case HTTPException() | ServiceError():
            return problem_response(kind, detail, headers=error.headers)
        case jobs.IdempotencyHeld() | jobs.QueueFull():
            return problem_response(kind, detail, headers={"Retry-After": str(error.retry_after_s)})
        case jobs.NotUnique() | jobs.JobRetried():
            return problem_response(kind, detail, job_id=error.job_id)
        case jobs.BatchRefused():
            items = [item_problem(n, reason) for n, reason in enumerate(error.errors) if reason is not None]
            return problem_response(kind, detail, items=items[:_ERRORS_SHOWN])
    return problem_response(kind, detail)


def _invalid_request(kind: ProblemKind, errors: Sequence[Any]) -> ProblemResponse:
    """Report FastAPI's validation errors; those of a body are reported as an invalid payload."""
    if not any(one["loc"][:1] == ("body",) for one in errors):
        return problem_response(kind, "The request does not fit.", errors=field_errors(errors))
    if any(one["type"] == "json_invalid" for one in errors):
        return problem_of(NotJson())
    return problem_response(PROBLEMS[jobs.InvalidPayload], "The body does not fit.", errors=field_errors(errors))


async def _answer(_: Request, error: Exception) -> Response:
    """Handle an exception outside of our routes: a plain HTTPException, or an ArqwayError."""
    if isinstance(error, HTTPException):
        return plain_problem(error.status_code, error.detail, error.headers)
    return problem_of(error)


def plain_problem(status: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem of the type ``about:blank``, which its HTTP status explains."""
    title = HTTPStatus(status).phrase
    code = title.lower().replace(" ", "_").replace("-", "_")
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail or title, "code": code}
    return ProblemResponse(problem, headers)
