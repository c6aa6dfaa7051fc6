"""The one place that reads pickle: at an operator's request, waiting jobs of a pickling arq producer become JSON.

Nothing that a pickle names is imported or called. Each name becomes an empty class of that name, so an argument that
is not plain JSON is recognised and its job left alone. This closes the known way of running code from a pickle, but the
format is not made for untrusted data. Source: Python documentation, ``pickle``, "Restricting Globals".
"""

import io
import pickle  # docs/decisions/0027-pickle-is-read-by-one-command.md
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from pydantic_core import from_json

from arqway.workers.contract import envelope
from arqway.workers.store.connection import open_redis
from arqway.workers.store.envelopes import Envelopes, Replacement

_FIELDS = 5


class Unconvertible(NamedTuple):
    """A job that is left as it is."""

    job_id: str
    function: str
    """Empty if even that could not be read."""
    reason: str
    """What about it is not JSON: a type, never a value."""


@dataclass
class Conversion:
    """What was done or, in a dry run, would have been done."""

    converted: int = 0
    already_json: int = 0
    running: int = 0
    """Claimed by a worker, and therefore left to it."""
    unconvertible: list[Unconvertible] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether no pickled jobs are left."""
        return not self.running and not self.unconvertible


class NotConvertible(Exception):  # noqa: N818 - a finding
    """An envelope, or a value in it, is more than JSON."""

    def __init__(self, reason: str, function: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.function = function


@asynccontextmanager
async def open_envelopes(redis_url: str) -> AsyncIterator[Envelopes]:
    """Open the envelopes of a server, over connections that are closed on exit."""
    redis = open_redis(redis_url)
    try:
        yield Envelopes(redis)
    finally:
        await redis.aclose()


async def convert(envelopes: Envelopes, *, queue_key: str | None, dry_run: bool) -> Conversion:
    """Convert pickled envelopes to JSON, in one queue or in all. Safe to repeat and to interrupt.

    Raises:
        StoreUnavailable: Redis is away; what was converted so far stays converted.
    """
    done = Conversion()
    async for ids in envelopes.ids(queue_key):
        pending = ids
        while pending:
            pending = await _convert(envelopes, pending, done, dry_run=dry_run)
    return done


async def _convert(envelopes: Envelopes, ids: list[str], done: Conversion, *, dry_run: bool) -> list[str]:
    """Convert some jobs, and return the ids of those whose envelope changed in the meantime."""
    changes = []
    for job_id, raw in zip(ids, await envelopes.read(ids), strict=True):
        if raw is None:
            continue  # it has ended
        try:
            changes.append(Replacement(job_id, raw, b"" if _is_json(raw) else to_json(raw)))
        except NotConvertible as refused:
            done.unconvertible.append(Unconvertible(job_id, refused.function, refused.reason))
    done.already_json += sum(not change.new for change in changes)
    changes = [change for change in changes if change.new]
    answers = await envelopes.replace(changes, dry_run=dry_run)
    done.converted += answers.count("replaced")
    done.running += answers.count("running")
    return [change.job_id for change, answer in zip(changes, answers, strict=True) if answer == "changed"]


def _is_json(raw: bytes) -> bool:
    try:
        envelope.decode(raw)
    except ValueError:
        return False
    return True


def to_json(pickled: bytes) -> bytes:
    """Return a pickled arq envelope as JSON. Tuples become lists, as with every JSON serializer.

    Raises:
        NotConvertible: It is not a pickle of an arq job, or the function would not get the same arguments.
    """
    try:
        found = _Reader(io.BytesIO(pickled)).load()
    except Exception as error:
        raise NotConvertible("no pickle that can be read") from error
    match found:
        case {"t": _, "f": str(function), "a": tuple() | list(), "k": dict(), "et": _} if len(found) == _FIELDS:
            return _written(function, found)
    raise NotConvertible("no job of arq's")


def _written(function: str, found: dict[str, Any]) -> bytes:
    try:
        plain = _plain(found)
        encoded = envelope.encode(plain)
        if from_json(encoded) == plain:
            return encoded
    except NotConvertible as refused:
        raise NotConvertible(refused.reason, function) from None
    except (ValueError, RecursionError):  # text that is not Unicode, a very long number, a list that contains itself
        pass
    raise NotConvertible("text, a number or nesting that JSON cannot carry", function)


class _Placeholder:
    """Stands in for anything that a pickle names: accepts all that the pickle does to it, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "_Placeholder":
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Accept any arguments."""

    def __setstate__(self, _: Any) -> None:
        """Accept any state."""

    def append(self, _: Any) -> None:
        """Accept an item, as a list does."""

    def __setitem__(self, _: Any, __: Any) -> None:
        """Accept an item, as a dict does."""


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return type(global_name, (_Placeholder,), {"__module__": module_name})


def _plain(value: Any) -> Any:
    """Return a value as plain JSON types. Raises NotConvertible, naming the type that is not one."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and isfinite(value)):
        return value
    if kind in (list, tuple):
        return [_plain(item) for item in value]
    if kind is not dict:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        raise NotConvertible(f"{value} as a number" if kind is float else name)
    if strange := {type(key).__name__ for key in value if type(key) is not str}:
        raise NotConvertible(f"a dict with keys of type {', '.join(sorted(strange))}")
    return {key: _plain(item) for key, item in value.items()}
