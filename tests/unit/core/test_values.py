"""What is stored reads back as the value that was given, or is refused with an error that names the place."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, SecretBytes, SecretStr, computed_field

from arqway import JobContext, LocalAttempt
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.contract.values import InvalidResult, difference
from tests.unit.core.samples import define

T = TypeVar("T")
NAN = math.nan


class Colour(StrEnum):
    """A choice."""

    RED = "red"


class Size(Enum):
    """A choice whose values are numbers."""

    SMALL = 1


class Box(BaseModel, Generic[T]):
    """A generic model."""

    content: T


class Everything(BaseModel):
    """A model with a field of most types that people use."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    number: int = Field(alias="n")
    share: float
    price: Decimal
    at: datetime
    day: date | None
    clock: time
    lasts: timedelta
    raw: bytes
    colour: Colour
    size: Size
    key: UUID
    boxes: list[Box[int | str]]
    either: dict[str, int | str | None]
    many: set[int] | tuple[int, str]

    @computed_field
    def twice(self) -> int:
        """Follow from the number."""
        return 2 * self.number


finite = st.floats(allow_nan=False, allow_infinity=False)
letters = st.text(st.characters(exclude_categories=["Cs"]))
everything = st.builds(
    Everything,
    n=st.integers(),
    share=finite,
    price=st.decimals(allow_nan=False, allow_infinity=False),
    at=st.datetimes(timezones=st.none() | st.just(UTC)),
    day=st.none() | st.dates(),
    clock=st.times(),
    lasts=st.timedeltas(timedelta(days=-1000), timedelta(days=1000)),
    raw=letters.map(str.encode),
    colour=st.sampled_from(Colour),
    size=st.sampled_from(Size),
    key=st.uuids(),
    boxes=st.lists(st.builds(Box[int | str], content=st.integers() | letters)),
    either=st.dictionaries(letters, st.none() | st.integers() | letters),
    many=st.sets(st.integers(), min_size=1) | st.tuples(st.integers(), letters),
)


@given(everything)
def test_what_json_can_keep_arrives_the_same(value: Everything) -> None:
    """A payload, a result and a model within it: accepted, and equal when read."""
    definition = define(Everything, Box[Everything])
    assert definition.read_payload(definition.write_payload(value)) == value
    assert definition.write_result(Box[Everything](content=value))


@dataclass(eq=False)
class Bare:
    """A dataclass that compares by identity."""

    number: float


class Login(BaseModel):
    """A model with a secret."""

    user: str = "ada"
    password: SecretStr


class Hidden(BaseModel):
    """A model with a field that is left out of its JSON."""

    shown: int
    hidden: int = Field(default=0, exclude=True)


class Private(BaseModel):
    """A model with a value that no field holds."""

    _seen: int = PrivateAttr(default=0)


class Growing(BaseModel):
    """A validator that changes its own output."""

    number: Annotated[int, AfterValidator(lambda number: number + 1)]


class Base(BaseModel):
    """A model that others extend."""

    a: int = 1


class Extended(Base):
    """A model with more than the annotation says."""

    b: int = 2


def seen() -> Private:
    """Return a model whose private attribute was set."""
    value = Private()
    value._seen = 3
    return value


LOST: list[tuple[Any, Callable[[], Any], str]] = [
    (Login, lambda: Login(password=SecretStr("p")), ".password"),
    (list[Login], lambda: [Login(password=SecretStr("")), Login(password=SecretStr("p"))], "[1].password"),
    (SecretBytes, lambda: SecretBytes(b"p"), ""),
    (dict[str, SecretStr], lambda: {"key": SecretStr("p")}, "['key']"),
    (float | None, lambda: NAN, ""),
    (list[float | None], lambda: [1.0, math.inf], "[1]"),
    (Box[float | None], lambda: Box[float | None](content=-math.inf), ".content"),
    (Any, lambda: {"a": [NAN]}, "['a'][0]"),
    (Hidden, lambda: Hidden(shown=1, hidden=2), ".hidden"),
    (Private, seen, ""),
    (Growing, lambda: Growing(number=1), ".number"),
    (Base, Extended, ""),
    (Any, lambda: date(2026, 1, 2), ""),
]


@pytest.mark.parametrize(("kind", "make", "place"), LOST, ids=[str(case[0]) for case in LOST])
async def test_what_json_would_change_is_refused(kind: Any, make: Callable[[], Any], place: str) -> None:
    """As payload, result and step alike; the error says where, and nothing is stored."""
    definition, link = define(kind, kind), LocalAttempt()

    async def step() -> Any:
        return make()

    step.__annotations__["return"] = kind
    with pytest.raises(InvalidPayload) as payload:
        definition.write_payload(make())
    with pytest.raises(InvalidResult) as result:
        definition.write_result(make())
    with pytest.raises(InvalidResult):
        await JobContext(None, link=link).step("s", step)
    assert link.steps == {}
    assert place in str(payload.value)
    assert place in str(result.value)


def test_a_dataclass_without_equality_is_compared_by_its_values() -> None:
    """Identity would refuse what arrives unchanged; a value that is lost is still found."""
    definition = define(Bare)
    assert definition.write_payload(Bare(1.5)) == b'{"number":1.5}'
    assert difference(Bare(1), Bare(2)) == ".number"


scalars = st.none() | st.booleans() | st.integers() | finite | letters


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(letters, inner)))
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    """Whatever JSON can hold."""
    assert difference(value, value) is None
