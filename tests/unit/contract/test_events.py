"""Entries of a job's stream, and lines of a tenant's feed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract.events import (
    FINISHED,
    PROGRESS,
    FeedEvent,
    JobEvent,
    batch_topic,
    order_of,
    topics_of,
)
from arqway.workers.contract.keys import is_job_id
from arqway.workers.contract.states import TERMINAL_STATES, JobState

_MOMENTS = st.integers(0, 10**14)
_NUMBERS = st.integers(0, 2**64 - 1)
_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:~-]{0,40}", fullmatch=True).filter(is_job_id)
_NAMES = st.sampled_from([*JobState, PROGRESS, FINISHED])
_DATA = st.dictionaries(st.text(), st.text() | st.integers() | st.none()).map(json.dumps) | st.just("")


@given(_MOMENTS, st.integers(0, 10**6))
def test_an_event_knows_when_it_was_written(at_ms: int, counter: int) -> None:
    """The time of an event is the first half of its stream id."""
    event = JobEvent.from_entry("a", f"{at_ms}-{counter}", {"name": "queued", "attempt": "0"})
    assert event.at_ms == at_ms


def test_an_event_without_data_has_none() -> None:
    """Events that say all by their name carry no data."""
    event = JobEvent.from_entry("a", "1-0", {"name": "running", "attempt": "3"})
    assert event == JobEvent("a", "1-0", "running", 3)
    assert event.data == {}


def test_the_data_of_an_event_is_json() -> None:
    """What the script stored as JSON is read as values; a later version's fields are passed over."""
    raw = {"name": "progress", "attempt": "2", "data": '{"current":1}', "later": "?"}
    assert JobEvent.from_entry("a", "1-0", raw).data == {"current": 1}


@given(_IDS, _NUMBERS, _NAMES, st.integers(0, 10**6), _DATA)
def test_a_line_of_a_feed_is_the_event(job_id: str, number: int, name: str, attempt: int, data: str) -> None:
    """Whatever JSON an event carries, its line and its entry are read as the same event."""
    entry_id = f"1772357400131-{number}"
    line = f"{job_id} {entry_id} {name} {attempt}" + (f" {data}" if data else "")
    entry = {"name": str(name), "attempt": str(attempt), **({"data": data} if data else {})}
    assert JobEvent.from_line(line) == JobEvent.from_entry(job_id, entry_id, entry)


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS, st.integers(0, 10**6))))
def test_events_are_ordered_by_numbers(places: list[tuple[int, int, int]]) -> None:
    """10-0 comes after 9-0, and within an entry line 10 after line 9."""
    event = JobEvent("a", "1-0", "running", 1)
    told = [FeedEvent(f"{ms}-{number}", line, event) for ms, number, line in places]
    assert [one.order for one in sorted(told, key=lambda one: one.order)] == sorted(places)
    assert [order_of(one.entry_id) for one in told] == [place[:2] for place in places]


@pytest.mark.parametrize(
    ("job_id", "topics"),
    [
        ("a1", ("", "a1", "a1.")),
        ("b2.17", ("", "b2.17", "b2.")),
        ("b2.17.r1", ("", "b2.17.r1", "b2.")),
        ("b2.17.webhook", ("", "b2.17.webhook")),
        ("a1.webhook", ("", "a1.webhook")),
    ],
)
def test_a_line_is_for_its_job_and_its_batch(job_id: str, topics: tuple[str, ...]) -> None:
    """Everybody, those who follow the job or its batch hear it; the delivery of a callback is in no batch."""
    assert topics_of(f"{job_id} 1-0 running 1") == topics


def test_the_end_of_a_batch_is_for_its_listeners() -> None:
    """The line that tells it names the batch in place of a job."""
    assert batch_topic("b2") in topics_of('b2 1-0 finished 0 {"total":2}')


@given(_NAMES, st.integers(0, 3))
def test_only_final_states_end_a_job(name: str, attempt: int) -> None:
    """An event ends its job exactly if its name is a final state; a submission is no end, and has no attempt."""
    event = JobEvent("a", "1-0", name, attempt)
    assert event.ends == (name in TERMINAL_STATES)
    assert event.submits == (attempt == 0 and name in (JobState.QUEUED, JobState.SCHEDULED))
