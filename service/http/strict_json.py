"""Refuses JSON that parsers would interpret differently. Source: RFC 7493, I-JSON.

pydantic's parser takes the last of two equal names, reads NaN as a number and 1e999 as infinity, so it could accept
another job than the one that was meant. The check is a separate pass, in C except for its hooks.
"""

import re
from itertools import accumulate
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from typing import Any

from arqway.service.problems.errors import NotJson, UnsupportedJson

DEEPEST = 100
"""Levels of nesting. pydantic reads 200, and the envelope and the batch around a payload add some."""

_TOO_DEEP = f"The body is nested deeper than {DEEPEST} levels."
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_ALL_ELSE = bytes(set(range(256)) - _STEPS.keys())


def refuse_ambiguous(body: bytes, *, may_be_deep: bool) -> None:
    """Refuse a body that is not JSON, or is JSON with more than one interpretation.

    Raises:
        NotJson: It is not JSON.
        UnsupportedJson: An object has a duplicate name, a number exceeds a double or has more digits than Python
            reads, or it is nested deeper than ``DEEPEST``, which is only checked if ``may_be_deep``.
    """
    try:
        _READER.decode(body.decode())
    except RecursionError:
        raise UnsupportedJson(_TOO_DEEP) from None
    except (JSONDecodeError, UnicodeDecodeError):
        raise NotJson from None
    except ValueError:  # Python's own limit: see sys.get_int_max_str_digits
        raise UnsupportedJson("A number in the body has too many digits.") from None
    if may_be_deep:  # only for valid JSON: an unterminated string would take quadratic time
        brackets = _STRING.sub(b"", body).translate(None, _ALL_ELSE)
        if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > DEEPEST:
            raise UnsupportedJson(_TOO_DEEP)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise UnsupportedJson("An object in the body has the same name twice.")


def _finite(digits: str) -> None:
    if not isfinite(float(digits)):
        raise UnsupportedJson("A number in the body is beyond the range of a double.")


def _refuse_constant(_: str) -> None:
    raise NotJson("NaN and Infinity are not JSON.")


_READER = JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant)
