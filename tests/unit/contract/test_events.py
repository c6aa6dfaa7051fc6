"""Entries of a job's stream."""

from hypothesis import given
from hypothesis import strategies as st

from workers.contract.events import JobEvent

_MOMENTS = st.integers(0, 10**14)


@given(_MOMENTS, st.integers(0, 10**6))
def test_an_event_knows_when_it_was_written(at_ms: int, counter: int) -> None:
    """The time of an event is the first half of its stream id."""
    assert JobEvent.from_entry(f"{at_ms}-{counter}", {"name": "queued", "attempt": "0"}).at_ms == at_ms


def test_an_event_without_data_has_none() -> None:
    """Events that say all by their name carry no data."""
    assert JobEvent.from_entry("1-0", {"name": "running", "attempt": "3"}) == JobEvent("1-0", "running", 3, {})


def test_the_data_of_an_event_is_json() -> None:
    """What the script stored as JSON is read as values; a later version's fields are passed over."""
    raw = {"name": "progress", "attempt": "2", "data": '{"current":1}', "later": "?"}
    assert JobEvent.from_entry("1-0", raw).data == {"current": 1}
