"""Answers that are written straight to JSON."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from service.auth import caller_of
from service.conditions import etag_of, is_known
from service.dependencies import queues_of
from workers.contract.record import JobRecord
from workers.contract.view import job_view

_CACHING = "private, no-cache"


def json_answer(view: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``view`` as JSON."""
    return Response(to_json(view), status, headers, "application/json")


def job_answer(
    request: Request, record: JobRecord, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a job as the caller may see it, with its ETag and when to ask again."""
    view = job_view(record, operator=caller_of(request).is_operator)
    return Response(to_json(view), status, {**_describe(request, record), **(headers or {})}, "application/json")


def fresh_job_answer(request: Request, record: JobRecord, headers: Mapping[str, str] | None = None) -> Response:
    """Return the same, or a 304 to a client that has it already."""
    if not is_known(etag_of(record, request), request):
        return job_answer(request, record, headers=headers)
    return Response(None, 304, {**_describe(request, record), **(headers or {})})


def _describe(request: Request, record: JobRecord) -> dict[str, str]:
    return {"ETag": etag_of(record, request), "Cache-Control": _CACHING, **pace(request, record)}


def pace(request: Request, record: JobRecord) -> dict[str, str]:
    """Return the header that says when to ask for this job again; none for a finished one."""
    seconds = queues_of(request).retry_after_s(record)
    return {} if seconds is None else {"Retry-After": str(seconds)}


def path_of(request: Request, path: str) -> str:
    """Return ``path`` as the client must ask for it, also behind a proxy that strips a prefix."""
    return str(request.scope.get("root_path", "")).rstrip("/") + path
