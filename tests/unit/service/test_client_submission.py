"""What the client sends of a job to submit."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.service.client.errors import Invalid
from arqway.service.client.options import ListOptions, NewJob, RawJson, key_header, payload_json
from arqway.service.shapes.jobs import ListQuery
from arqway.service.shapes.submission import BatchJob, QueryOptions
from arqway.workers.definition import JobOptions
from tests.support.http_jobs import Customer, make_report

MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - they get theirs
WORDS = st.from_regex(r"[a-z0-9][a-z0-9_.:/@+~-]{0,40}", fullmatch=True)
STARTS = st.fixed_dictionaries({}, optional={"delay": st.none() | st.timedeltas(timedelta(0), timedelta(days=30_000))})
LATER = st.fixed_dictionaries({"run_at": MOMENTS})
REST = st.fixed_dictionaries(
    {},
    optional={
        "queue": st.none() | st.text(),
        "tags": st.none() | st.lists(WORDS, max_size=8),
        "unique_key": st.none() | WORDS,
        "deadline": st.none() | MOMENTS,
        "callback_url": st.none() | st.text(),
    },
)


@given(start=STARTS | LATER, rest=REST)
def test_the_service_reads_the_options_that_were_given(start: dict[str, Any], rest: dict[str, Any]) -> None:
    """As query parameters and in a batch alike; one that is None is as one that is not there."""
    given_options = {**start, **rest}
    item = NewJob("test.sum", [1], JobOptions(**given_options))  # type: ignore[typeddict-item]
    query: dict[str, Any] = {}
    for name, value in item.query():
        query = {**query, name: [*query.get("tag", []), value] if name == "tag" else value}
    alone, in_batch = QueryOptions.model_validate(query), BatchJob.model_validate_json(item.as_json())

    assert alone.tag == in_batch.tags == list(given_options.get("tags") or [])
    for name in ("run_at", "queue", "unique_key", "deadline", "callback_url"):
        assert getattr(alone, name) == getattr(in_batch, name) == given_options.get(name)
    delay = given_options.get("delay")
    assert alone.delay == in_batch.delay == (None if delay is None else delay.total_seconds())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_payload_of_a_kind_is_plain_json(payload: Any) -> None:
    """It arrives as it is, alone and in a batch."""
    assert json.loads(payload_json(None, payload)) == payload
    assert BatchJob.model_validate_json(NewJob("a.b", payload).as_json()).payload == payload


def test_json_is_sent_as_it_is() -> None:
    """What a caller has as JSON already is not read and written again."""
    assert payload_json(None, RawJson(b'{"a": 1e400, "a": 2}')) == b'{"a": 1e400, "a": 2}'


def test_every_option_and_every_part_of_a_filter_is_the_services() -> None:
    """Those that the client declares for keyword arguments, and those that the service reads, have the same names."""
    assert set(JobOptions.__annotations__) == set(BatchJob.model_fields) - {"kind", "payload"}
    assert set(ListOptions.__annotations__) == set(ListQuery.model_fields) - {"limit", "cursor"}


def test_a_payload_of_a_definition_is_checked_before_it_is_sent() -> None:
    """The error is the one that the service would give."""
    assert payload_json(make_report, Customer(user_id=7)) == b'{"user_id":7}'
    with pytest.raises(Invalid) as refused:
        payload_json(make_report, Customer.model_construct(user_id=-1))
    assert (refused.value.status, refused.value.code) == (422, "invalid_payload")
    assert [error["loc"] for error in refused.value.errors] == [["body", "user_id"]]


def test_what_cannot_be_json_is_refused() -> None:
    """Before it is sent."""
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        payload_json(None, object())


def test_each_submission_has_a_key_of_its_own() -> None:
    """Random, unless it is given."""
    assert key_header(None) != key_header(None)
    assert key_header("order 7") == {"Idempotency-Key": '"order 7"'}
    assert key_header('a"b\\c') == {"Idempotency-Key": r'"a\"b\\c"'}


@pytest.mark.parametrize("key", ["", "x" * 256, "größe", "a\nb", "a\0b", "\x7f"])
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    """Before it is sent."""
    with pytest.raises(Invalid, match="1 to 255 visible characters"):
        key_header(key)
