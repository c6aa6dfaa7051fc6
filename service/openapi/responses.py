"""How routes describe their responses in an OpenAPI document: problems and headers.

The descriptions are inline, since an application that mounts the routes has none of our components. In the document of
``arqway api``, ``openapi.document`` turns them back into references.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from arqway.service.problems.answers import MEDIA_TYPE
from arqway.service.problems.errors import RateLimited
from arqway.service.problems.table import PROBLEMS, ProblemKind
from arqway.service.shapes.problems import Problem
from arqway.workers.contract.errors import IdempotencyHeld, QueueFull
from arqway.workers.contract.events import EVENT_NAMES

Responses = dict[int | str, dict[str, Any]]

_PACED = {PROBLEMS[error].slug for error in (IdempotencyHeld, QueueFull, RateLimited)}
"""Problems whose Retry-After varies, so that it is not in the table."""


def _written_out(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a JSON schema with every reference replaced by its definition."""
    match schema:
        case {"$ref": str(name)}:
            return _written_out(definitions[name.rpartition("/")[2]], definitions)
        case dict():
            return {word: _written_out(part, definitions) for word, part in schema.items() if word != "$defs"}
        case list():
            return [_written_out(part, definitions) for part in schema]
    return schema


_EVENTS = """\
retry: 2000
: open

id: 1772357400131-0
event: progress
data: {"id":"0c2f7e6d9b1a4f4c8a51d3e2f6b7a890","state":"running","attempt":1,"at":"2026-03-01T09:30:00.131Z",\
"progress":{"current":2,"total":5,"message":"Summarised"}}

"""
_PROBLEM = TypeAdapter(Problem).json_schema(mode="serialization")
PROBLEM_SCHEMA: dict[str, Any] = _written_out(_PROBLEM, _PROBLEM["$defs"])


def event_stream(data: dict[str, Any]) -> dict[str, Any]:
    """Return the ``content`` of an event stream, whose events' data has the schema ``data``."""
    schema = {
        "description": "One event of the stream",
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "id": {"type": "string", "description": "For `Last-Event-ID`"},
            "event": {"type": "string", "enum": sorted({*EVENT_NAMES, "batch", "gap"})},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
    }
    return {"text/event-stream": {"schema": schema, "example": _EVENTS}}


EVENT_STREAM = event_stream({"type": "object"})


def _header(description: str, example: Any = None, **schema: Any) -> dict[str, Any]:
    shown = {} if example is None else {"example": example}
    return {"description": description, "schema": {"type": "string", **schema}, **shown}


HEADERS: Mapping[str, dict[str, Any]] = {
    "Allow": _header("The methods that the path supports"),
    "Cache-Control": _header("Who may cache the response"),
    "Content-Disposition": _header("The suggested file name"),
    "ETag": _header(
        "Identifies the current version, for `If-None-Match` and `If-Match`",
        '"3-19ca9b1b47d"',
        pattern='^(W/)?"[^"]*"$',
    ),
    "Idempotency-Replayed": _header(
        "This is the response to the first request with this `Idempotency-Key`", enum=["true"]
    ),
    "Link": _header('The next page, `rel="next"`, or the explanation of a problem, `rel="help"`'),
    "Location": _header("Where to read it", format="uri-reference"),
    "Preference-Applied": _header("The preference that was honoured", "wait=10"),
    "RateLimit": _header(
        "How many requests the API key has left, and when it gains the next one, if it has a rate", '"default";r=12;t=1'
    ),
    "RateLimit-Policy": _header(
        "The size of the API key's bucket, and the seconds in which it refills, if it has a rate", '"default";q=100;w=2'
    ),
    "Retry-After": _header("Seconds to wait before the next request", 1, type="integer", minimum=0),
    "Vary": _header("The request headers that the response depends on"),
    "WWW-Authenticate": _header(
        "Which credentials are required, as defined by RFC 6750",
        'Bearer realm="arqway", error="insufficient_scope", scope="operate"',
    ),
    "X-Request-ID": _header("Identifies the request in the service's log", pattern="^[A-Za-z0-9._-]{1,64}$"),
}
"""The response headers, by name."""

JOB_HEADERS = ("ETag", "Retry-After", "Cache-Control")
"""The headers of a response with a job; ``Retry-After`` is absent once the job has finished."""
ACCEPTED_HEADERS = ("Location", *JOB_HEADERS)
SUBMITTED_HEADERS = (*ACCEPTED_HEADERS, "Preference-Applied", "Idempotency-Replayed")


def problems(*errors: type[Exception]) -> Responses:
    """Return the ``responses`` of a route that may fail with these errors, and a default for any other problem."""
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in map(PROBLEMS.__getitem__, errors):
        by_status.setdefault(kind.status, []).append(kind)
    default = answer("Any other problem", "Link", content={MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}})
    return {**{status: _describe(kinds) for status, kinds in by_status.items()}, "default": default}


def answer(description: str, *names: str, **more: Any) -> dict[str, Any]:
    """Return one entry of a route's ``responses``: what the status means, and which headers the response may have."""
    return {"description": description, "headers": {name: HEADERS[name] for name in names}, **more}


def _describe(kinds: list[ProblemKind]) -> dict[str, Any]:
    media = {"schema": PROBLEM_SCHEMA, "examples": {kind.code: {"value": kind.example()} for kind in kinds}}
    paced = any(kind.retry_after_s is not None or kind.slug in _PACED for kind in kinds)
    challenged = kinds[0].status in (401, 403)
    names = ["Link", *(["Retry-After"] if paced else []), *(["WWW-Authenticate"] if challenged else [])]
    return answer("; ".join(kind.title for kind in kinds), *names, content={MEDIA_TYPE: media})
