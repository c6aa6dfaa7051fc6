"""What Schemathesis must know besides the schema, since JSON Schema cannot say it: how parts of a request go together."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import schemathesis

_LATER = "2999-12-31T23:59:59Z"
_NOBODY = "https://127.0.0.1:1/hook"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Let a request that is meant to be accepted make sense as a whole."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for options in _options_of(case):
        _make_sense(options)
    if case.operation.path == "/jobs:batch" and isinstance(case.body, dict):
        for job in case.body["jobs"]:  # only this kind takes any payload
            job["kind"] = "test.anything"
    if "Idempotency-Key" in case.headers:
        said = json.dumps([case.path, case.query, case.body], sort_keys=True, default=str)
        case.headers["Idempotency-Key"] = sha256(said.encode()).hexdigest()


def _options_of(case: schemathesis.Case) -> Iterator[dict[str, Any]]:
    """Give the options of each job that the request would submit."""
    yield case.query
    if case.operation.path == "/jobs:batch" and isinstance(case.body, dict):
        yield from case.body["jobs"]


def _make_sense(options: dict[str, Any]) -> None:
    """A start is one of two, no deadline comes before it, and a callback goes nowhere."""
    if options.get("delay") is not None:
        options.pop("run_at", None)
    if options.get("run_at"):
        options["run_at"] = max("2000-01-01T00:00:00Z", min(options["run_at"], "2099-01-01T00:00:00Z"))
    if options.get("deadline"):
        options["deadline"] = _LATER
    if options.get("callback_url") is not None:
        options["callback_url"] = _NOBODY
