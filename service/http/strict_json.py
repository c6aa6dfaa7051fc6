"""Refuses JSON that readers would not understand alike (source: RFC 7493, I-JSON), and JSON that is nested too deeply.

pydantic's reader takes the last of two equal names, NaN for a number and 1e999 for infinity, so it would accept a job
that is not the one that was meant. The check is a pass of its own, in C but for its hooks; most bodies need none.
"""

import re
from itertools import accumulate
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from typing import Any

from arqway.service.problems.errors import NotJson, UnsupportedJson

DEEPEST = 100
"""Levels of nesting. pydantic reads 200, and a payload gets more of them around it: its envelope, its batch."""

_MAY_OVERFLOW = re.compile(rb"NaN|Infinity|[0-9][eE]\+?[0-9]{3}|[0-9]{200}")  # 199 digits and e99 are below 1e308
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_ALL_ELSE = bytes(set(range(256)) - _STEPS.keys())


def check_json(body: bytes) -> None:
    """Refuse a body whose meaning is not certain; one that is not JSON at all may pass, for its reader to refuse.

    Raises:
        NotJson: It is not JSON.
        UnsupportedJson: An object has a name twice, a number is beyond a double or has more digits than Python reads,
            or it is nested deeper than ``DEEPEST``.
    """
    opened = body.count(b"[") + body.count(b"{")
    if opened <= DEEPEST and body.count(b":") < 2 and not _MAY_OVERFLOW.search(body):
        return
    _read(body)
    if opened > DEEPEST and _depth(body) > DEEPEST:
        raise _too_deep()


def _read(body: bytes) -> None:
    try:
        _READER.decode(body.decode())
    except RecursionError:
        raise _too_deep() from None
    except (JSONDecodeError, UnicodeDecodeError):
        raise NotJson from None
    except ValueError:  # Python's own limit: see sys.get_int_max_str_digits
        raise UnsupportedJson("A number in the body has too many digits.") from None


def _depth(body: bytes) -> int:
    """Return the levels of nesting. Only for JSON: in anything else, strings without end would cost time squared."""
    brackets = _STRING.sub(b"", body).translate(None, _ALL_ELSE)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _too_deep() -> UnsupportedJson:
    return UnsupportedJson(f"The body is nested deeper than {DEEPEST} levels.")


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise UnsupportedJson("An object in the body has the same name twice.")


def _finite(digits: str) -> None:
    if not isfinite(float(digits)):
        raise UnsupportedJson("A number in the body is beyond the range of a double.")


def _refuse_constant(_: str) -> None:
    raise NotJson("NaN and Infinity are not JSON.")


_READER = JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant)
