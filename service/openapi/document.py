"""The OpenAPI document of ``arqway api``: FastAPI's own, completed with what FastAPI cannot know."""

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from arqway.service.openapi.examples import ANSWERS, REQUESTS, job_samples, payload_samples
from arqway.service.openapi.links import BATCH_CALLBACK, CALLBACK, COMPONENTS, LINKS, SUBMISSION_LINKS, WEBHOOKS
from arqway.service.openapi.responses import HEADERS, event_stream, problems
from arqway.service.problems.answers import MEDIA_TYPE
from arqway.service.problems.errors import InsufficientScope, RateLimited, Unauthenticated
from arqway.service.shapes.batches import BatchFinishedView
from arqway.service.shapes.jobs import JobEventView
from arqway.service.shapes.problems import Problem
from arqway.workers.contract.api_key import Scope
from arqway.workers.registry import Registry

_REF = "#/components/schemas/{model}"
_EVENT_DATA = {
    "anyOf": [
        *({"$ref": _REF.format(model=name)} for name in ("JobEventView", "JobView", "BatchView", "BatchFinishedView")),
        {"type": "object", "maxProperties": 0, "description": "Data of `gap`: some events are no longer kept"},
    ]
}
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})

_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "arqway_{id}_{secret}",
    "description": "An API key. Each operation lists the scopes that the key must have.",
}
DESCRIPTION = """\
Durable background jobs: submit a job, then poll it, wait for it, follow its events or receive a callback.

- **Accepted means stored.** A 202 is sent once the job is stored. The job runs at least once and is settled once.
- **Retry safely** with an `Idempotency-Key`: a repeated request gets the response of the first one.
- **Poll** after `Retry-After`, with `If-None-Match`; or wait with `Prefer: wait=N`; or follow the events.
- **Lists** are paginated: `Link` leads to the next page, and `next` is its cursor.
- **Errors** are `application/problem+json`. `code` and `type` are stable, and `Link` leads to an explanation.
- **Times** are RFC 3339; in responses, in UTC with milliseconds. Fields that do not apply are absent, never null.
"""

Operation = dict[str, Any]
Scopes = Mapping[str, Scope | None]
"""The scope that each operation requires, by operation id; None for a public one."""


def add_document(app: FastAPI, registry: Registry, scopes: Scopes, *, with_keys: bool) -> None:
    """Make the application serve the complete OpenAPI document.

    Args:
        app: The application, with all of its routes.
        registry: The jobs that have routes of their own.
        scopes: The scopes that its operations require.
        with_keys: Whether requests need an API key. If not, the document does not mention keys.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, registry, scopes, with_keys=with_keys)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this way of extending it


def _document(app: FastAPI, registry: Registry, scopes: Scopes, *, with_keys: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        tags=app.openapi_tags,
        routes=app.routes,
    )
    components = document["components"]
    _correct_bounds(document["paths"])
    _correct_bounds(components["schemas"], _schemas("validation", (job.payload_type for job in registry.values())))
    # no route declares these as its response model
    components["schemas"] |= _schemas("serialization", (Problem, JobEventView, BatchFinishedView))
    components |= {"headers": dict(HEADERS), **COMPONENTS}
    if with_keys:
        components["securitySchemes"] = {"bearer": _BEARER}
    for operations in document["paths"].values():
        for operation in operations.values():
            name = operation["operationId"]
            _drop_nulls(operation.get("parameters", ()))
            _add_admission(operation, scopes[name], with_keys=with_keys)
            _refer(operation["responses"].values(), public=scopes[name] is None)
            _add_examples(operation, REQUESTS.get(name, {}), ANSWERS.get(name, {}))
            _add_links(operation, name)
    for job in registry.values():
        _add_examples(document["paths"][f"/jobs/{job.kind}"]["post"], payload_samples(job), job_samples(job))
    return {**document, "webhooks": WEBHOOKS}


def _schemas(mode: JsonSchemaMode, types: Iterable[Any]) -> dict[str, Any]:
    """Return the schemas of these types and of all that they refer to, by name."""
    inputs = [(number, mode, TypeAdapter[Any](one)) for number, one in enumerate(types)]
    schemas: dict[str, Any] = TypeAdapter.json_schemas(inputs, ref_template=_REF)[1].get("$defs", {})
    return schemas


def _correct_bounds(part: Any, exact: Any = None) -> None:
    """Correct the numeric bounds in ``part`` of a document, by the same part of ``exact`` if that has it.

    FastAPI writes floats: 1 becomes 1.0 and, since a float holds no more than 53 bits, 2⁶³-1 becomes 2⁶³.
    """
    if isinstance(part, dict):
        known = exact if isinstance(exact, dict) else {}
        for word, value in part.items():
            if word in _BOUNDS and isinstance(value, float) and value.is_integer():
                part[word] = int(known.get(word, value))
            else:
                _correct_bounds(value, known.get(word))
    elif isinstance(part, list):
        for one, other in zip_longest(part, exact if isinstance(exact, list) else ()):
            _correct_bounds(one, other)


def _drop_nulls(parameters: Iterable[dict[str, Any]]) -> None:
    """Remove null from the parameters' types: a parameter can be absent, but not null."""
    for parameter in parameters:
        schema = parameter["schema"]
        kept = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
        if len(kept) == 1:
            parameter["schema"] = {**kept[0], **{name: word for name, word in schema.items() if name != "anyOf"}}
        for word in ("title", "description"):  # they are on the parameter itself
            parameter["schema"].pop(word, None)
        if parameter["schema"].get("default", ...) in (None, []):
            del parameter["schema"]["default"]


def _add_admission(operation: Operation, scope: Scope | None, *, with_keys: bool) -> None:
    """Add the responses that the service may give before a route is reached."""
    if scope is None:
        return
    refusals = (Unauthenticated, InsufficientScope, RateLimited) if with_keys else (RateLimited,)
    for status, refusal in problems(*refusals).items():
        operation["responses"].setdefault(str(status), refusal)
    if with_keys:
        operation["security"] = [{"bearer": [scope.value]}]


def _refer(responses: Iterable[dict[str, Any]], *, public: bool) -> None:
    """Add the headers of all responses, and replace what many responses share with references to components."""
    common = ("X-Request-ID",) if public else ("X-Request-ID", "RateLimit", "RateLimit-Policy")
    for response in responses:
        names = [*response.get("headers", ()), *common]
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        content = response.get("content", {})
        if MEDIA_TYPE in content:
            content[MEDIA_TYPE]["schema"] = {"$ref": _REF.format(model="Problem")}
        if "text/event-stream" in content:
            response["content"] = event_stream(_EVENT_DATA)


def _add_examples(operation: Operation, requests: Mapping[str, Any], answers: Mapping[int, Mapping[str, Any]]) -> None:
    described = [(operation["responses"][str(status)], bodies) for status, bodies in answers.items()]
    if requests:
        described.append((operation["requestBody"], requests))
    for body, examples in described:
        body["content"]["application/json"]["examples"] = {name: {"value": one} for name, one in examples.items()}


def _add_links(operation: Operation, name: str) -> None:
    """Add what may follow: further requests, which are links, and the webhook of a submission, which is a callback."""
    submits = name.startswith("submit_")
    for status, links in LINKS.get(name, SUBMISSION_LINKS if submits else {}).items():
        operation["responses"][status]["links"] = links
    if submits:
        operation["callbacks"] = BATCH_CALLBACK if name == "submit_batch" else CALLBACK
