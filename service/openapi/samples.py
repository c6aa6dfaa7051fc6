"""Examples for the routes of a kind, from the examples in its types; none where the types have none."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from arqway.service.openapi.examples import FAILED, QUEUED, SUCCEEDED
from arqway.workers.definition import JobDefinition

_NOTHING: Any = object()


def request_samples(job: JobDefinition[Any, Any]) -> Mapping[str, Any]:
    """Return an example payload under a name, or nothing."""
    payload = sample_of(TypeAdapter(job.payload_type).json_schema())
    return {} if payload is _NOTHING else {"payload": payload}


def answer_samples(job: JobDefinition[Any, Any]) -> Mapping[int, Mapping[str, Any]]:
    """Return example jobs of this kind, by status and name."""
    names = {"kind": job.kind, "queue": job.queue, "max_attempts": job.retry.max_attempts}
    result = sample_of(TypeAdapter(job.result_type).json_schema(mode="serialization"))
    ended = {**FAILED, **names, "attempt": job.retry.max_attempts}
    if result is not _NOTHING:
        ended = {**SUCCEEDED, **names, "result": result}
    return {202: {"accepted": {**QUEUED, **names}}, 200: {str(ended["state"]): ended}}


def sample_of(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> Any:
    """Return an example from a JSON schema, as a whole or property by property; else ``_NOTHING``."""
    known = schema.get("$defs", definitions or {})
    if schema.get("examples"):
        return schema["examples"][0]
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if "$ref" in schema:
        return _sample_behind(schema["$ref"].rpartition("/")[2], known)
    if schema.get("type") == "null":
        return None
    return _object_of(schema, known) if "properties" in schema else _NOTHING


def _sample_behind(name: str, known: Mapping[str, Any]) -> Any:
    """Return the sample of a definition. It is hidden while its parts are sampled, since a type may be recursive."""
    others = {other: schema for other, schema in known.items() if other != name}
    return sample_of(known[name], others) if name in known else _NOTHING


def _object_of(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    parts = {name: sample_of(part, known) for name, part in schema["properties"].items()}
    missing = {name for name, part in parts.items() if part is _NOTHING}
    if missing & set(schema.get("required", ())):
        return _NOTHING
    return {name: part for name, part in parts.items() if name not in missing}
