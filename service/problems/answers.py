"""Errors as ``application/problem+json`` (RFC 9457), by the table in ``service.problems.errors``.

A status that HTTP itself explains, such as 405, has the type ``about:blank`` and its phrase as the code. No answer
holds an exception's text, unless the exception is one of ours, and none repeats a value that the client sent.
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

from arqway.service.problems.errors import (
    PROBLEMS,
    TYPE_PREFIX,
    UNEXPECTED,
    NotJson,
    ProblemKind,
    UnsupportedMediaType,
)
from arqway.service.problems.refusals import Refusal
from arqway.service.shapes.problems import FieldError, ItemProblem, Problem
from arqway.workers.contract.errors import (
    BatchRefused,
    IdempotencyHeld,
    InvalidPayload,
    JobRetried,
    NotUnique,
    QueueFull,
)

MEDIA_TYPE = "application/problem+json"
PAGES = "/problems"
"""Where problems are explained: the index, and below it a page for each type."""
_ERRORS_SHOWN = 20
_LOC_CHARS = 100


class ProblemResponse(Response):
    """A problem, with a link to the page that explains it."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(json.dumps(problem), problem["status"], headers)
        slug = problem["type"].removeprefix(TYPE_PREFIX)
        self._page = PAGES if slug == problem["type"] else f"{PAGES}/{slug}"
        self._link_below("")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if root_path := scope.get("root_path"):
            self._link_below(root_path.rstrip("/"))
        await super().__call__(scope, receive, send)

    def _link_below(self, root_path: str) -> None:
        self.headers["Link"] = f'<{root_path}{self._page}>; rel="help"'


def add_error_handlers(app: FastAPI) -> None:
    """Answer every exception of the table, and what HTTP itself refuses, as a problem."""
    for error in PROBLEMS:
        app.add_exception_handler(error, _answer_known)
    app.add_exception_handler(HTTPException, _answer_http)


def problem_response(
    kind: ProblemKind,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """Return the answer that a problem of this kind gets; ``more`` are members beside those that all have."""
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
    return ProblemResponse({**problem, **(more or {})}, {**pace, **(headers or {})})


def item_problem(index: int, error: Exception) -> ItemProblem:
    """Return why one job of a batch was not accepted."""
    problem: ItemProblem = {"index": index, "code": kind_of(error).code, "detail": str(error)}
    if isinstance(error, InvalidPayload) and error.errors:
        problem["errors"] = field_errors(error.errors, "payload")
    return problem


def kind_of(error: Exception) -> ProblemKind:
    """Return the row of the table that an exception belongs to."""
    return next(PROBLEMS[base] for base in type(error).__mro__ if base in PROBLEMS)


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
    return problem_of(error)


def problem_of(error: Exception) -> Response:
    """Return the answer to an exception of the table."""
    kind = kind_of(error)
    match error:
        case InvalidPayload(errors=[{"type": "json_invalid", "loc": ()}]):
            return problem_response(PROBLEMS[NotJson], "The body is not JSON.")
        case InvalidPayload():
            return problem_response(kind, str(error), errors=field_errors(error.errors, "body"))
        case RequestValidationError():
            return problem_response(kind, "The request does not fit.", errors=field_errors(error.errors()))
        case HTTPException():
            return problem_response(kind, error.detail, headers=error.headers)
    return problem_response(kind, str(error), headers=_headers_of(error), more=_members_of(error))


def _headers_of(error: Exception) -> Mapping[str, str]:
    match error:
        case UnsupportedMediaType():
            return {"Accept": "application/json"}
        case IdempotencyHeld() | QueueFull():
            return {"Retry-After": str(error.retry_after_s)}
        case Refusal():
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
    """Return a problem that HTTP itself explains."""
    phrase = HTTPStatus(status).phrase
    problem: Problem = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": detail or phrase,
        "code": phrase.lower().replace(" ", "_").replace("-", "_"),
    }
    return ProblemResponse(problem, headers)
