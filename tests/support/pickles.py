"""What a stock arq producer pickles: arguments that JSON can carry, and others."""

import pickle
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID


@dataclass
class Order:
    """An argument of a user's own type."""

    number: int


class Colour(StrEnum):
    """Text to Python, and not to pickle."""

    RED = "red"


PLAIN: list[Any] = [1, -2.5, "text ☃", None, True, [1, [2, {"a": None}]], {"a": {"b": [1]}}, 2**70, "", [], {}]
MORE_THAN_JSON: dict[str, Any] = {
    "datetime.datetime": datetime(2026, 3, 1, tzinfo=UTC),
    "datetime.timedelta": timedelta(1),
    "set": {1, 2},
    "frozenset": frozenset("a"),
    "bytes": b"a",
    "decimal.Decimal": Decimal("1.5"),
    "uuid.UUID": UUID(int=7),
    f"{__name__}.Order": Order(7),
    f"{__name__}.Colour": Colour.RED,
    "collections.Counter": Counter("a"),
    "nan as a number": float("nan"),
    "inf as a number": float("inf"),
    "a dict with keys of type int": {1: "a"},
    "text, a number or nesting that JSON cannot carry": "\ud800",
}


def pickled(*args: Any, **kwargs: Any) -> bytes:
    """Return the envelope that arq would write. Source: arq 0.28, ``jobs.py`` ``serialize_job``."""
    return pickle.dumps({"t": None, "f": "add", "a": args, "k": kwargs, "et": 1})
