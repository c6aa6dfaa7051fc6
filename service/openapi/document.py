"""The OpenAPI document of ``arqway api``: FastAPI's own, completed with what FastAPI cannot know."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from arqway.service.openapi.bounds import correct, write_whole
from arqway.service.openapi.callbacks import BATCH_CALLBACK, CALLBACK, COMPONENTS, WEBHOOKS
from arqway.service.openapi.examples import ANSWERS, REQUESTS
from arqway.service.openapi.links import links_of
from arqway.service.openapi.responses import EVENT_STREAM, HEADERS, PROBLEM_SCHEMA, headers, problems
from arqway.service.openapi.samples import answer_samples, request_samples
from arqway.service.problems.errors import InsufficientScope, RateLimited, Unauthenticated
from arqway.service.shapes.batches import BatchFinishedView
from arqway.service.shapes.jobs import JobEventView
from arqway.service.shapes.problems import Problem
from arqway.workers.contract.api_key import Scope
from arqway.workers.registry import Registry

_REF = "#/components/schemas/{model}"
_SCHEMAS = (("Problem", Problem), ("JobEventView", JobEventView), ("BatchFinishedView", BatchFinishedView))
"""Schemas that no route declares as its response model."""
_EVENT_DATA = ("JobEventView", "JobView", "BatchView", "BatchFinishedView")

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
    write_whole(document["paths"])
    write_whole(document["components"])
    correct(document["components"]["schemas"], (job.payload_type for job in registry.values()))
    _add_components(document)
    for operation in _operations(document):
        name = operation["operationId"]
        needed = scopes[name]
        _drop_nulls(operation.get("parameters", ()))
        if needed is not None:
            _add_admission(operation, needed.value if with_keys else None)
        _add_common_headers(operation, public=needed is None)
        _add_examples(operation, REQUESTS.get(name, {}), ANSWERS.get(name, {}))
        _refer(operation)
        for status, links in links_of(name).items():
            operation["responses"][status]["links"] = links
    _add_callbacks(document["paths"], registry)
    _add_samples(document["paths"], registry)
    if with_keys:
        document["components"]["securitySchemes"] = {"bearer": _BEARER}
    return {**document, "webhooks": WEBHOOKS}


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for operations in document["paths"].values():
        yield from operations.values()


def _add_components(document: dict[str, Any]) -> None:
    components = document["components"]
    schemas = components["schemas"]
    for name, shape in _SCHEMAS:
        schema = TypeAdapter(shape).json_schema(ref_template=_REF, mode="serialization")
        schemas.update({**schema.pop("$defs", {}), name: schema})
    components["headers"] = dict(HEADERS)
    components.update(COMPONENTS)


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


def _add_admission(operation: Operation, scope: str | None) -> None:
    """Add the responses that the service may give before a route is reached."""
    refusals = problems(RateLimited) if scope is None else problems(Unauthenticated, InsufficientScope, RateLimited)
    for status, refusal in refusals.items():
        operation["responses"].setdefault(str(status), refusal)
    if scope is not None:
        operation["security"] = [{"bearer": [scope]}]


def _add_common_headers(operation: Operation, *, public: bool) -> None:
    common = headers("X-Request-ID", *(() if public else ("RateLimit", "RateLimit-Policy")))
    for response in operation["responses"].values():
        response["headers"] = {**response.get("headers", {}), **common}


def _refer(operation: Operation) -> None:
    """Replace what many responses share with references to components."""
    for response in operation["responses"].values():
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in response["headers"]}
        content = response.get("content", {})
        for media, described in content.items():
            if described.get("schema") == PROBLEM_SCHEMA:
                content[media] = {**described, "schema": {"$ref": "#/components/schemas/Problem"}}
            elif media in EVENT_STREAM:
                content[media] = _typed_events(described)


def _typed_events(media: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an event stream, with the schemas of its events' data."""
    data = {
        "anyOf": [
            *({"$ref": _REF.format(model=name)} for name in _EVENT_DATA),
            {"type": "object", "maxProperties": 0, "description": "Data of `gap`: some events are no longer kept"},
        ]
    }
    properties = media["schema"]["properties"]
    typed = {**properties, "data": {**properties["data"], "contentSchema": data}}
    return {**media, "schema": {**media["schema"], "properties": typed}}


def _add_examples(operation: Operation, requests: Mapping[str, Any], answers: Mapping[int, Mapping[str, Any]]) -> None:
    if requests:
        _illustrate(operation["requestBody"]["content"]["application/json"], requests)
    for status, bodies in answers.items():
        _illustrate(operation["responses"][str(status)]["content"]["application/json"], bodies)


def _illustrate(media: dict[str, Any], bodies: Mapping[str, Any]) -> None:
    media["examples"] = {name: {"value": body} for name, body in bodies.items()}


def _add_callbacks(paths: Mapping[str, Any], registry: Registry) -> None:
    submissions = [f"/jobs/{kind}" for kind in registry]
    for path in [*submissions, *({"/reports"} & paths.keys())]:
        paths[path]["post"]["callbacks"] = CALLBACK
    paths["/jobs:batch"]["post"]["callbacks"] = BATCH_CALLBACK


def _add_samples(paths: Mapping[str, Any], registry: Registry) -> None:
    for job in registry.values():
        _add_examples(paths[f"/jobs/{job.kind}"]["post"], request_samples(job), answer_samples(job))
