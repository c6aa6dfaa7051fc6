"""How answers are shaped: JSON, entity tags and conditions, when to ask again, and how long a client would wait.

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
    Header(alias="If-None-Match", description="An ETag: 304 while it is current", examples=['"3-19ca9b1b47d"']),
]
IfMatchHeader = Annotated[
    str | None, Header(alias="If-Match", description="An ETag: 412 if it is not current", examples=["*"])
]
PreferHeader = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: answer when the job has ended, after N seconds at the latest",
        examples=["wait=10"],
    ),
]


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
    seconds = arqway_of(request).queues.retry_after_s(record)
    return {} if seconds is None else {"Retry-After": str(seconds)}


def path_of(request: Request, path: str) -> str:
    """Return ``path``, which is one of Arqway's, as the client must ask for it: below prefixes and a root path."""
    return base_path(request.scope) + path


def next_link(request: Request, path: str, cursor: str) -> dict[str, str]:
    """Return the header that leads to the next page of the list at ``path``. Source: RFC 8288."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {"Link": f'<{path_of(request, path)}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'}


def etag_of(record: JobRecord, request: Request) -> str:
    """Return the entity tag of a job as this caller sees it: an operator is told more of a failure."""
    seen_by = _OPERATORS if caller_of(request).is_operator else ""
    return f'"{record.version}-{record.created_ms:x}{seen_by}"'


def plain_etag(etag: str) -> str:
    """Return the tag of the same version as everybody sees it."""
    return etag.replace(f'{_OPERATORS}"', '"')


def is_known(etag: str, request: Request) -> bool:
    """Tell whether If-None-Match names this tag, in which case the answer is a 304."""
    given = request.headers.get("if-none-match")
    return given is not None and (given == etag or given.strip() == "*" or etag in _TAG.findall(given))


def expected_version(record: JobRecord, request: Request, if_match: str) -> int:
    """Return the version that a change must find. Weak tags match nothing here.

    Raises:
        JobChanged: If-Match names other versions than the present one.
    """
    strong = {tag.strip() for tag in if_match.split(",")}
    if etag_of(record, request) not in strong:
        raise JobChanged
    return record.version


def wait_of(request: Request) -> int | None:
    """Return the seconds that the client would like to wait, no more than the service allows; None: not at all."""
    found = _WAIT.search(", ".join(request.headers.getlist("prefer")))
    return None if found is None else min(int(found[1]), int(arqway_of(request).settings.max_wait_s))


def applied(wait_s: int | None) -> dict[str, str]:
    """Return the header that tells which preference was honoured."""
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}
