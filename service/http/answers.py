"""Builds responses: JSON, entity tags and conditions, when to poll again, and how long a client would wait.

Sources: RFC 9110, sections 8.8.3 and 13.1 (conditions); RFC 7240, sections 2 and 4.3 (``Prefer``).
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Header
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.callers import caller_of
from arqway.service.dependencies import arqway_of
from arqway.service.problems.answers import base_path
from arqway.workers.contract.errors import JobChanged
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.view import job_view

_CACHING = "private, no-cache"
_OPERATORS = "-o"
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)

IfNoneMatchHeader = Annotated[
    str | None,
    Header(alias="If-None-Match", description="An ETag; 304 if it is still current", examples=['"3-19ca9b1b47d"']),
]
IfMatchHeader = Annotated[
    str | None, Header(alias="If-Match", description="An ETag; 412 if it is no longer current", examples=["*"])
]
PreferHeader = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: respond once the job has finished, after N seconds at the latest",
        examples=["wait=10"],
    ),
]


def json_answer(view: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``view`` as JSON."""
    return Response(to_json(view), status, headers, "application/json")


def job_answer(
    request: Request, record: JobRecord, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a job as this caller may see it, with its ETag and Retry-After."""
    view = job_view(record, operator=caller_of(request).is_operator)
    return Response(to_json(view), status, {**_describe(request, record), **(headers or {})}, "application/json")


def fresh_job_answer(request: Request, record: JobRecord, headers: Mapping[str, str] | None = None) -> Response:
    """Like ``job_answer``, but a 304 for a client that has this version already."""
    if not is_known(etag_of(record, request), request):
        return job_answer(request, record, headers=headers)
    return Response(None, 304, {**_describe(request, record), **(headers or {})})


def _describe(request: Request, record: JobRecord) -> dict[str, str]:
    return {"ETag": etag_of(record, request), "Cache-Control": _CACHING, **pace(request, record)}


def pace(request: Request, record: JobRecord) -> dict[str, str]:
    """Return the Retry-After header for this job; nothing if it has finished."""
    seconds = arqway_of(request).queues.retry_after_s(record)
    return {} if seconds is None else {"Retry-After": str(seconds)}


def path_of(request: Request, path: str) -> str:
    """Return one of Arqway's paths as the client must request it, with the root path and any prefixes."""
    return base_path(request.scope) + path


def next_link(request: Request, path: str, cursor: str) -> dict[str, str]:
    """Return the Link header to the next page of the list at ``path``. Source: RFC 8288."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {"Link": f'<{path_of(request, path)}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'}


def etag_of(record: JobRecord, request: Request) -> str:
    """Return the entity tag of a job as this caller sees it; operators see more of a failure."""
    seen_by = _OPERATORS if caller_of(request).is_operator else ""
    return f'"{record.version}-{record.created_ms:x}{seen_by}"'


def plain_etag(etag: str) -> str:
    """Return the tag of the same version for callers who are not operators."""
    return etag.replace(f'{_OPERATORS}"', '"')


def is_known(etag: str, request: Request) -> bool:
    """Return whether If-None-Match names this tag, in which case the response is a 304."""
    given = request.headers.get("if-none-match")
    return given is not None and (given == etag or given.strip() == "*" or etag in _TAG.findall(given))


def expected_version(record: JobRecord, request: Request, if_match: str) -> int:
    """Return the version that a change expects. Weak tags never match.

    Raises:
        JobChanged: If-Match does not name the current version.
    """
    strong = {tag.strip() for tag in if_match.split(",")}
    if etag_of(record, request) not in strong:
        raise JobChanged
    return record.version


def wait_of(request: Request) -> int | None:
    """Return the seconds that the client would wait, capped by the service's limit; None if it would not wait."""
    found = _WAIT.search(", ".join(request.headers.getlist("prefer")))
    return None if found is None else min(int(found[1]), int(arqway_of(request).settings.max_wait_s))


def applied(wait_s: int | None) -> dict[str, str]:
    """Return the header that confirms the honoured preference."""
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}
