"""What routes say of their answers in the OpenAPI document: problems, headers, links."""

from collections.abc import Mapping
from typing import Any

from arqway.service.problems.answers import MEDIA_TYPE
from arqway.service.problems.errors import PROBLEMS, ProblemKind, problem_example
from arqway.workers.contract.errors import IdempotencyHeld, QueueFull

Responses = dict[int | str, dict[str, Any]]

_PACED = frozenset({PROBLEMS[IdempotencyHeld].slug, PROBLEMS[QueueFull].slug, "rate-limited"})
"""Problems that say by themselves when to try again."""

HEADERS: Mapping[str, dict[str, Any]] = {
    "Allow": {"description": "The methods that the path has", "schema": {"type": "string"}},
    "Cache-Control": {"description": "Who may keep the answer", "schema": {"type": "string"}},
    "Content-Disposition": {"description": "A name for the file", "schema": {"type": "string"}},
    "ETag": {
        "description": "Names the job as it is now, for `If-None-Match` and `If-Match`",
        "schema": {"type": "string", "pattern": '^(W/)?"[^"]*"$'},
        "example": '"3-19ca9b1b47d"',
    },
    "Idempotency-Replayed": {
        "description": "The answer was given before, to the first request with this `Idempotency-Key`",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": {
        "description": 'Leads to the next page, `rel="next"`; with a problem, to what explains it, `rel="help"`',
        "schema": {"type": "string"},
    },
    "Location": {"description": "Where to ask for it", "schema": {"type": "string", "format": "uri-reference"}},
    "Preference-Applied": {
        "description": "The preference that was honoured",
        "schema": {"type": "string"},
        "example": "wait=10",
    },
    "RateLimit": {
        "description": "How many requests the API key has left, and when it gains the next one; if it has a rate",
        "schema": {"type": "string"},
        "example": '"default";r=12;t=1',
    },
    "RateLimit-Policy": {
        "description": "The API key's bucket of requests, and within how many seconds it fills up; if it has a rate",
        "schema": {"type": "string"},
        "example": '"default";q=100;w=2',
    },
    "Retry-After": {
        "description": "Seconds until it is worth asking again",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
    "Vary": {"description": "What else the answer depends on", "schema": {"type": "string"}},
    "WWW-Authenticate": {
        "description": "Which credentials are needed, after RFC 6750",
        "schema": {"type": "string"},
        "example": 'Bearer realm="arqway", error="insufficient_scope", scope="operate"',
    },
    "X-Request-ID": {
        "description": "Names the request in the service's log",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
}
"""By name: the headers of answers, which ``headers`` refers to."""

JOB_HEADERS = ("ETag", "Retry-After", "Cache-Control")
"""With a job; ``Retry-After`` until it has ended."""
ACCEPTED_HEADERS = ("Location", *JOB_HEADERS)
SUBMITTED_HEADERS = (*ACCEPTED_HEADERS, "Preference-Applied", "Idempotency-Replayed")


def problems(*errors: type[Exception]) -> Responses:
    """Return the ``responses`` of a route that may answer with these, and with any other problem besides."""
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in (PROBLEMS[error] for error in errors):
        by_status.setdefault(kind.status, []).append(kind)
    described: Responses = {status: _describe(kinds) for status, kinds in by_status.items()}
    return {**described, "default": {**_describe([]), "description": "Any other problem"}}


def answer(description: str, *names: str, **more: Any) -> dict[str, Any]:
    """Return what a route's ``responses`` say of one status: when it is, and which headers it may have."""
    return {"description": description, "headers": headers(*names), **more}


def headers(*names: str) -> dict[str, Any]:
    """Return references to ``HEADERS``."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def link(operation_id: str, description: str, **parameters: str) -> dict[str, Any]:
    """Return a link from an answer to an operation; parts of the answer are its parameters."""
    return {"operationId": operation_id, "parameters": parameters, "description": description}


def next_page(operation_id: str) -> dict[str, Any]:
    """Return the link from a page of a list to the next one."""
    return {"next": link(operation_id, "The next page", cursor="$response.body#/next")}


def job_links(pointer: str = "/id") -> dict[str, Any]:
    """Return what one can do with the job whose id is at ``pointer`` in the answer's body."""
    job_id = f"$response.body#{pointer}"
    return {
        "read": link("read_job", "Its state, progress and end", job_id=job_id),
        "follow": link("stream_job", "What happens to it, as it happens", job_id=job_id),
        "result": link("read_result", "Its result alone", job_id=job_id),
        "attempts": link("read_attempts", "How its attempts went", job_id=job_id),
        "waiting": link("read_waiting", "What it waits for", job_id=job_id),
        "deliveries": link("list_deliveries", "How its end was told", job_id=job_id),
        "cancel": link("cancel_job", "End it", job_id=job_id),
        "retry": link("retry_job", "Submit it again, once it has ended", job_id=job_id),
    }


BATCH_LINKS = {
    "read": link("read_batch", "How far it is", batch_id="$response.body#/id"),
    "follow": link("stream_batch", "What happens to its jobs, as it happens", batch_id="$response.body#/id"),
    "cancel": link("cancel_batch", "End all of it", batch_id="$response.body#/id"),
    "retry": link("retry_failed", "Submit again what failed", batch_id="$response.body#/id"),
}
REPORT_LINKS = {
    "read": link("read_report", "How far it is", task_id="$response.body#/task_id"),
    "file": link("download_report", "The PDF, once it is made", task_id="$response.body#/task_id"),
}


def _describe(kinds: list[ProblemKind]) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if kinds:
        media["examples"] = {kind.code: {"value": problem_example(kind)} for kind in kinds}
    paced = [kind for kind in kinds if kind.retry_after_s is not None or kind.slug in _PACED]
    challenged = [kind for kind in kinds if kind.status in (401, 403)]
    names = ["Link", *(["Retry-After"] if paced else []), *(["WWW-Authenticate"] if challenged else [])]
    return answer("; ".join(kind.title for kind in kinds), *names, content={MEDIA_TYPE: media})
