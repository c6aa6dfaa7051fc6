"""Parsers for command-line arguments. Each one raises ArgumentTypeError for invalid input."""

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime

_DURATION = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)([smhd]?)")
_TARGET = re.compile(r"\w+(\.\w+)*:\w+")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def a_json(text: str) -> str:
    """Validate JSON, and return the text unchanged."""
    try:
        json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"not JSON: {error}") from None
    return text


def a_number(most: int) -> Callable[[str], int]:
    """Return a parser for numbers from 1 to ``most``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= most:
            raise ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
        return int(text)

    return read


def a_duration_s(text: str) -> float:
    """Parse a duration like ``15m``, or a bare number of seconds, to seconds."""
    read = _DURATION.fullmatch(text)
    if read is None:
        raise ArgumentTypeError(f"{text!r} is not a time like 90s, 15m, 12h or 2d")
    return float(read[1]) * _UNITS_S[read[2] or "s"]


def a_life_s(text: str) -> int:
    """Parse a positive duration like ``90d`` to seconds. A unit is required: a bare number might be meant as days."""
    if text[-1:] not in _UNITS_S or "." in text or not _DURATION.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a time like 90d, 12h, 30m or 45s")
    seconds = int(a_duration_s(text))
    if seconds == 0:
        raise ArgumentTypeError("a key cannot expire at once")
    return seconds


def a_moment(text: str) -> datetime:
    """Parse an ISO 8601 time with a time zone; without one, it would mean something else on another machine."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} is not a moment with a time zone, like 2026-03-01T09:30:00Z")
    return moment


def a_target(text: str) -> str:
    """Validate the name of a registry, or of an object that has one: ``package.module:NAME``."""
    if not _TARGET.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not package.module:NAME")
    return text


def an_http_url(text: str) -> str:
    """Validate an HTTP URL, and return it without a trailing slash."""
    if not text.startswith(("http://", "https://")):
        raise ArgumentTypeError(f"{text!r} does not start with http:// or https://")
    return text.rstrip("/")
