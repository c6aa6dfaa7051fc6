"""Which JSON is refused for what readers would make of it."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from arqway.service.http.routing import check_json
from arqway.service.http.strict_json import DEEPEST
from arqway.service.problems.errors import NotJson, UnsupportedJson

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def nested(levels: int, *, inside: bytes = b"") -> bytes:
    """Return arrays and objects in turn, so deep."""
    opened, closed = b"", b""
    for level in range(levels):
        opened, closed = (opened + b"[", b"]" + closed) if level % 2 else (opened + b'{"a":', b"}" + closed)
    return opened + (inside or b"0") + closed


@given(PLAIN)
def test_json_that_means_one_thing_passes(value: Any) -> None:
    """Whatever Python writes as JSON and is not nested too deeply is accepted, with or without spaces."""
    check_json(json.dumps(value).encode())
    check_json(json.dumps(value, ensure_ascii=False, indent=1).encode())


@given(st.dictionaries(st.text(), st.integers(), min_size=1), st.data())
def test_a_name_that_comes_twice_is_found(fields: dict[str, int], data: st.DataObject) -> None:
    """However the name is spelled, wherever its second place is and however deep the object."""
    again = data.draw(st.sampled_from(sorted(fields)))
    pairs = [*fields.items(), (again, 1)]
    members = data.draw(st.permutations(pairs))
    spelled = [json.dumps(name, ensure_ascii=data.draw(st.booleans())) + f":{number}" for name, number in members]
    body = "[{" + ",".join(spelled) + "}]"
    with pytest.raises(UnsupportedJson, match="same name twice"):
        check_json(body.encode())


@given(st.text())
def test_the_same_name_in_two_objects_is_no_double(name: str) -> None:
    """Only within one object must names differ."""
    check_json(json.dumps([{name: {name: 1}}, {name: 2}]).encode())


@given(st.integers(0, 9**9), st.integers(-400, 5000), st.sampled_from(["e", "E", "e+", "E+", "e0"]))
def test_a_number_beyond_a_double_is_found(digits: int, exponent: int, sign: str) -> None:
    """A number is refused if, and only if, a double cannot hold it."""
    number = f"{digits}{sign if exponent >= 0 else 'e'}{exponent}".replace("e0-", "e-").replace("+-", "-")
    if float(number) == float("inf"):
        with pytest.raises(UnsupportedJson, match="beyond the range"):
            check_json(number.encode())
    else:
        check_json(number.encode())


@pytest.mark.parametrize("number", [b"1" * 250 + b"e99", b"9" * 310 + b".0", b"0.1e310", b"-1.8e308"])
def test_an_overflow_is_found_however_it_is_written(number: bytes) -> None:
    """By digits, by the exponent, or by both."""
    with pytest.raises(UnsupportedJson, match="beyond the range"):
        check_json(b"[" + number + b"]")


@pytest.mark.parametrize("digits", [b"9" * 199 + b"e99", b"1" + b"0" * 308, b"-1e-999999", b"9" * 4_300, b"1.7e308"])
def test_a_large_number_is_no_error(digits: bytes) -> None:
    """What Python reads exactly, or as a double, passes."""
    check_json(b"[" + digits + b"]")


@pytest.mark.parametrize("digits", [b"9" * 4_301, b"-" + b"1" * 5_000, b"1" * 100_000])
def test_more_digits_than_python_reads_are_refused(digits: bytes) -> None:
    """The limit is Python's own, so that every job can read its payload."""
    with pytest.raises(UnsupportedJson, match="too many digits"):
        check_json(digits)


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_constants_of_javascript_are_not_json(constant: bytes) -> None:
    """They are refused as values, and pass as text."""
    check_json(b'"' + constant + b'"')
    with pytest.raises(NotJson):
        check_json(b"[" + constant + b"]")


@pytest.mark.parametrize("inside", [b"", b'"[[[[{{{{\\"["', b'["]}", "\\\\"]'[1:-1]])
def test_nesting_is_bounded_exactly(inside: bytes) -> None:
    """The deepest allowed passes, one more is refused; brackets within texts do not count."""
    shallow = nested(DEEPEST - 1, inside=b"[" + inside + b"]")
    check_json(shallow + b" " * 1_000)
    with pytest.raises(UnsupportedJson, match="deeper than 100"):
        check_json(b"[" + shallow + b"]")


def test_what_passes_can_be_read_inside_an_envelope() -> None:
    """The deepest payload is within pydantic's own limit, also inside an envelope and a batch."""
    from_json(b'{"t":null,"a":[{"jobs":[{"payload":' + nested(DEEPEST) + b"}]}]}")


@pytest.mark.parametrize("broken", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500])
def test_bottomless_nesting_is_too_deep(broken: bytes) -> None:
    """It is not followed to its end, whether there is one or not."""
    with pytest.raises(UnsupportedJson, match="deeper"):
        check_json(broken)


@pytest.mark.parametrize("broken", [b"", b" ", b"\x00", b'"\x00"', b'"\xff\xfe"', b"\xef\xbb\xbf{}", b'{"a":1', b"1 2"])
def test_what_is_no_json_is_never_another_error(broken: bytes) -> None:
    """It passes, for its reader to refuse, or it is told that it is no JSON."""
    for body in (broken, b'[{"a":1,"b":2},' + broken, broken + b"[" * (DEEPEST + 1) + b"1" * 300):
        with suppress(NotJson, UnsupportedJson):
            check_json(body)


@pytest.mark.parametrize(
    "part",
    [b"[],", b'\\"', b'[\\"', b'"', b'"\\', b'{"a":1,"b":2},', b"[", b"9", b"1e5,", b'"[",', b":", b"\\"],
)
def test_a_body_is_checked_in_the_time_that_reading_it_takes(part: bytes) -> None:
    """However a body is made, the time for it grows with its length and not with its square."""

    def seconds(size: int) -> float:
        body = b"[" + part * (size // len(part)) + b"1]"
        began_s = time.process_time()
        with suppress(NotJson, UnsupportedJson):
            check_json(body)
        return time.process_time() - began_s

    assert seconds(2**18) < 1  # the square of its length would be many seconds
