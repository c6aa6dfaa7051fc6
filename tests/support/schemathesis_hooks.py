"""What Schemathesis must know and JSON Schema cannot say: how the parts of a request go together."""

import json
from hashlib import sha256
from typing import Any

import schemathesis

_LATER = "2999-12-31T23:59:59Z"
_NOBODY = "https://127.0.0.1:1/hook"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Let a request that is meant to be accepted make sense as a whole; and let no request stop all jobs."""
    if case.path_parameters.get("name") == "default":
        case.path_parameters["name"] = "reports"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    said = json.dumps([case.path, case.query, case.body], default=str)
    digest = sha256(said.encode()).hexdigest()
    _mend_headers(case, digest)
    _make_sense(case.query, digest)
    body: Any = _with_whole_numbers(case.body)
    if case.operation.path == "/jobs:batch" and isinstance(body, dict):
        for number, item in enumerate(body["jobs"]):
            _make_sense(item, f"{digest}-{number}")
            item["kind"] = "test.anything"  # takes any payload, in its one queue
            item.pop("queue", None)
    if repr(body) != repr(case.body):  # what is assigned is validated anew, so nothing for nothing
        case.body = body


def _mend_headers(case: schemathesis.Case[Any], digest: str) -> None:
    """A key is for one content; a made-up If-Match does nothing; who waits for a job of later on waits in vain."""
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = digest
    if "If-Match" in case.headers and digest < "8":  # one of two
        case.headers["If-Match"] = "*"
    if {"delay", "run_at"} & case.query.keys():
        case.headers.pop("Prefer", None)


def _make_sense(options: dict[str, Any], name: str) -> None:
    """One start at most, no deadline before it, nobody else's unique key, and a callback that goes nowhere."""
    if options.get("delay") is not None or options.get("deadline") is not None:
        options.pop("run_at", None)
    for option, value in (("deadline", _LATER), ("callback_url", _NOBODY), ("unique_key", name)):
        if options.get(option) is not None:
            options[option] = value


def _with_whole_numbers(value: Any) -> Any:
    """Write 1.0 as 1: to JSON Schema both are integers, to a payload that is strict only the latter is."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_with_whole_numbers(one) for one in value]
        case dict():
            return {name: _with_whole_numbers(one) for name, one in value.items()}
    return value
