"""What the OpenAPI document says of problems; all else FastAPI finds out by itself."""

from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from service.errors import MEDIA_TYPE, PROBLEMS, TYPE_PREFIX, Problem, ProblemKind

_REF_TEMPLATE = "#/components/schemas/{model}"

Responses = dict[int | str, dict[str, Any]]


def problems(*errors: type[Exception]) -> Responses:
    """Return the ``responses`` of a route that may answer with these, and with any other problem besides."""
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in (PROBLEMS[error] for error in errors):
        by_status.setdefault(kind.status, []).append(kind)
    described: Responses = {status: _describe(kinds) for status, kinds in by_status.items()}
    return {**described, "default": {**_describe([]), "description": "Any other problem"}}


def add_problem_schema(app: FastAPI) -> None:
    """Put the schema that ``problems`` refers to into the application's OpenAPI document."""
    generate = app.openapi
    problem = TypeAdapter(Problem).json_schema(ref_template=_REF_TEMPLATE)
    schemas = {"Problem": problem, **problem.pop("$defs")}

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this way of extending it


def _describe(kinds: list[ProblemKind]) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": _REF_TEMPLATE.format(model="Problem")}}
    if kinds:
        media["examples"] = {kind.code: {"value": _example(kind)} for kind in kinds}
    return {"description": "; ".join(kind.title for kind in kinds), "content": {MEDIA_TYPE: media}}


def _example(kind: ProblemKind) -> Problem:
    return {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title}.",
        "code": kind.code,
    }
