"""The OpenAPI document as data: walking through it, and comparing values and answers with what it says."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
from httpx import Response

Document = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TOLD = {"allow", "etag", "idempotency-replayed", "link", "location", "preference-applied", "retry-after", "vary"}
"""Headers that a client acts on."""


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give method, path and what is said of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def media(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give, for each body that is sent or answered, where it is, its media type, and what is said of it."""
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield "request", media_type, body
    for status, answer in operation["responses"].items():
        for media_type, body in answer.get("content", {}).items():
            yield status, media_type, body


def fits(document: Document, schema: Any, value: Any) -> bool:
    """Tell whether a value is as a schema of the document says."""
    whole = {"$schema": _DIALECT, **schema, "components": document["components"]}
    return jsonschema_rs.validator_for(whole, validate_formats=True).is_valid(value)


def walk(part: Any) -> Iterator[dict[str, Any]]:
    """Give every object in a part of the document."""
    match part:
        case dict():
            yield part
            for value in part.values():
                yield from walk(value)
        case list():
            for one in part:
                yield from walk(one)


def find(document: Document, pointer: str) -> Any:
    """Return what a reference leads to. Raises KeyError."""
    found: Any = document
    for name in pointer.removeprefix("#/").split("/"):
        found = found[name]
    return found


def check(document: Document, answer: Response) -> None:
    """Compare an answer with the document, read so that what it does not name is forbidden."""
    operation = operation_of(document, answer.request.method, answer.request.url.path)
    said = operation["responses"].get(str(answer.status_code))
    assert said, (answer.request.url, answer.status_code)
    assert set(answer.headers) & _TOLD <= {name.lower() for name in said["headers"]}, answer.request.url
    if "content" in said:
        body = said["content"][answer.headers["content-type"]]
        assert fits(closed(document), closed(body["schema"]), answer.json()), (answer.request.url, answer.text)


def operation_of(document: Document, method: str, path: str) -> dict[str, Any]:
    """Return what is said of the operation that a path belongs to: the one with the longest fixed text."""
    found = [known for known in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), path)]
    best = max(found, key=lambda known: len(re.sub(r"\{\w+\}", "", known)))
    operation: dict[str, Any] = document["paths"][best][method.lower()]
    return operation


def closed(part: Any) -> Any:
    """Return a part of the document with no objects that may have more than they say."""
    match part:
        case {"type": "object", "properties": _}:
            return {"additionalProperties": False, **{name: closed(value) for name, value in part.items()}}
        case dict():
            return {name: closed(value) for name, value in part.items()}
        case list():
            return [closed(one) for one in part]
    return part
