"""Corrects numeric bounds in the OpenAPI document. FastAPI writes floats: 1 becomes 1.0, and 2⁶³-1 becomes 2⁶³."""

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})


def write_whole(part: Any) -> None:
    """Turn all whole-number bounds in ``part`` of a document into integers."""
    match part:
        case dict():
            for word, value in part.items():
                if word in _BOUNDS and isinstance(value, float) and value.is_integer():
                    part[word] = int(value)
                else:
                    write_whole(value)
        case list():
            for one in part:
                write_whole(one)


def correct(schemas: dict[str, Any], types: Iterable[Any]) -> None:
    """Give ``schemas``, by name, the exact bounds of ``types``, since a float holds no more than 53 bits."""
    for one in types:
        within: Any = TypeAdapter(list[one])  # type: ignore[valid-type]  # so that the type is a definition, too
        for name, exact in within.json_schema().get("$defs", {}).items():
            _copy_bounds(exact, schemas.get(name))


def _copy_bounds(exact: Any, shown: Any) -> None:
    match exact, shown:
        case dict(), dict():
            for word, value in exact.items():
                if word in _BOUNDS and isinstance(value, int):
                    shown[word] = value
                else:
                    _copy_bounds(value, shown.get(word))
        case list(), list():
            for one, other in zip(exact, shown, strict=False):
                _copy_bounds(one, other)
