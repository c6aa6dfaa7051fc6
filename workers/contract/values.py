"""Whether a value that was written as JSON and read again is still the value that was given."""

from collections.abc import Mapping, Sequence
from typing import Any, cast


class InvalidResult(Exception):  # noqa: N818 - named as a fact, as in ``workers.contract.errors``
    """The result of a job or a step is of the wrong type, or would not read back from JSON as the same value."""


def listed(value: Any) -> Any:
    """Return a value with all its tuples, however deep in lists and dictionaries, as lists."""
    if isinstance(value, list | tuple):
        return [listed(item) for item in value]
    return {key: listed(item) for key, item in value.items()} if isinstance(value, dict) else value


def difference(given: Any, read: Any) -> str | None:
    """Return where two values differ, as a path like ``.user.keys[0]``; "" if as a whole, None if they are equal.

    ``==`` decides. Objects without an ``__eq__`` of their own are equal if their attributes are.
    """
    try:
        if given == read:
            return None
    except Exception:  # ``__eq__`` may be the author's own
        return ""
    if type(given) is not type(read):
        return ""
    if isinstance(given, Mapping):
        if set(given) != set(read):
            return ""
        parts = [(f"[{key!r}]", given[key], read[key]) for key in given]
    elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
        if len(given) != len(read):
            return ""
        parts = [(f"[{index}]", *pair) for index, pair in enumerate(zip(given, read, strict=True))]
    elif hasattr(given, "__dict__") and set(vars(given)) == set(vars(read)):
        parts = [(f".{name}", value, vars(read)[name]) for name, value in vars(given).items()]
        if not parts:
            return ""
    else:
        return ""
    found = ((name, difference(one, other)) for name, one, other in parts)
    first = next((f"{name}{inner}" for name, inner in found if inner is not None), None)
    if first is None and cast(Any, type(given)).__eq__ is object.__eq__:
        return None
    return first or ""
