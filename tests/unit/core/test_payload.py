"""A payload is checked when it is submitted, and again when the job gets it."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import pytest
from arq.jobs import serialize_job
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, Strict, computed_field, field_validator

from arqway.workers.contract import envelope
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.definition import JobDefinition
from tests.unit.core.samples import HOLLOW, NULL, TEXT, Order, count, define


def through_the_envelope(definition: JobDefinition[Any, Any], payload: object) -> object:
    """Return the payload as the job gets it when a client submits ``payload``."""
    return definition.read_envelope(definition.write_envelope(definition.write_payload(payload), 1))


@given(st.builds(Order, number=st.integers(-(10**30), 10**30), note=st.none() | st.text()))
def test_a_payload_arrives_as_it_was_submitted(order: Order) -> None:
    """A model comes back equal, whatever its values."""
    assert through_the_envelope(count, order) == order


class Aliased(BaseModel):
    """A model whose JSON has other names."""

    user_id: int = Field(alias="userId")


class Computed(BaseModel):
    """A model with a field that is not to be given."""

    model_config = ConfigDict(extra="forbid")
    number: int

    @computed_field
    def twice(self) -> int:
        """Follow from the number."""
        return 2 * self.number


@dataclass
class Point:
    """A payload that is no model."""

    x: float


@pytest.mark.parametrize(
    ("payload_type", "payload"),
    [
        (Aliased, Aliased(userId=1)),
        (Computed, Computed(number=1)),
        (Point, Point(1.5)),
        (Annotated[int, Strict()], 3),
        (int | str, "3"),
        (timedelta, timedelta(seconds=1.5)),
        (set[int], {1, 2}),
        (bytes, b"abc"),
        (None, None),
    ],
    ids=str,
)
def test_any_type_that_pydantic_knows_may_be_a_payload(payload_type: Any, payload: object) -> None:
    """What the payload type takes at submit, it takes again from the envelope."""
    found = through_the_envelope(define(payload_type), payload)
    assert (found, type(found)) == (payload, type(payload))


@pytest.mark.parametrize("wrong", [{"number": "one"}, {}, None, 7, Point(1), HOLLOW, NULL, TEXT])
def test_a_wrong_payload_is_refused_before_it_is_stored(wrong: Any) -> None:
    """What does not fit is never written, so no envelope of ours is unreadable."""
    with pytest.raises(InvalidPayload):
        count.write_payload(wrong)


@pytest.mark.parametrize("wrong", ["\ud800", "a\udfff"])
def test_text_that_is_no_unicode_is_refused(wrong: str) -> None:
    """Half a surrogate pair cannot be JSON, and is refused before it is stored."""
    with pytest.raises(InvalidPayload):
        define(str).write_payload(wrong)


class Strictly(BaseModel):
    """A model that does not take text for numbers."""

    model_config = ConfigDict(strict=True)
    number: int
    at: timedelta


def test_strict_types_stay_strict_and_are_read_as_json() -> None:
    """In a strict model ``"1"`` is no int, yet a duration, which JSON holds as text, is read."""
    strict, right = define(Strictly), Strictly(number=1, at=timedelta(seconds=1))
    assert through_the_envelope(strict, right) == right
    with pytest.raises(InvalidPayload):
        strict.read_payload(b'{"number":"1","at":"PT1S"}')


@pytest.mark.parametrize("raw", [b"", b"{", b"nope", b'{"number":"x"}', b"\xff", b"[" * 100_000])
def test_wrong_json_is_an_invalid_payload(raw: bytes) -> None:
    """Whatever a client sends, reading it gives a payload or InvalidPayload."""
    with pytest.raises(InvalidPayload):
        count.read_payload(raw)


def test_an_error_about_a_payload_names_the_place_and_not_the_value() -> None:
    """The list of what is wrong tells where, and never holds what the client sent."""
    with pytest.raises(InvalidPayload) as caught:
        count.read_payload(b'{"number":"secret"}')
    assert [error["loc"] for error in caught.value.errors] == [("number",)]
    assert "secret" not in f"{caught.value} {caught.value.errors}"


class Picky(BaseModel):
    """A model with a check of its author's own."""

    number: int

    @field_validator("number")
    @classmethod
    def _check(cls, number: int) -> int:
        return {1: 1}[number] if number < 9 else _refuse(number)


def _refuse(number: int) -> int:
    raise ValueError(f"{number} is too much")


def test_an_error_about_a_payload_can_be_sent_to_a_client() -> None:
    """The list of what is wrong is JSON, also when the author's own check has refused."""
    with pytest.raises(InvalidPayload) as caught:
        define(Picky).read_payload(b'{"number":9}')
    assert "too much" in json.dumps(caught.value.errors)


def test_a_check_that_breaks_refuses_the_payload() -> None:
    """A validator that raises what pydantic does not expect is a payload that does not fit, not a broken worker."""
    with pytest.raises(InvalidPayload):
        define(Picky).read_payload(b'{"number":2}')


def test_a_stock_producer_may_name_the_fields() -> None:
    """The keyword arguments of arq are the payload's fields, its first positional argument is the payload."""
    for args, named in [((), {"number": 4}), (({"number": 4},), {})]:
        raw = serialize_job("order.count", args, named, None, 1, serializer=envelope.encode)
        assert count.read_envelope(raw) == Order(number=4)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80\x04}.",
        b"[]",
        b"7",
        b'"text"',
        b"null",
        b"{}",
        b'{"a":[]}',
        b'{"a":{"b":1},"k":{}}',
        b'{"a":1,"k":{}}',
    ],
)
def test_what_is_no_envelope_is_refused(raw: bytes) -> None:
    """A pickle, other JSON, or an envelope without its parts is an InvalidPayload."""
    with pytest.raises(InvalidPayload):
        define(Any).read_envelope(raw)


@given(st.binary(max_size=50) | st.text(max_size=50).map(str.encode))
def test_any_other_bytes_are_an_invalid_payload(raw: bytes) -> None:
    """No envelope, however odd, raises anything else."""
    with pytest.raises(InvalidPayload):
        count.read_envelope(raw)


def test_an_envelope_is_one_that_arq_reads() -> None:
    """Our envelope has the fields of arq's, with the payload as its only argument."""
    assert envelope.decode(count.write_envelope(b'{"number":1}', 123)) == {
        "t": None,
        "f": "order.count",
        "a": [{"number": 1}],
        "k": {},
        "et": 123,
    }
