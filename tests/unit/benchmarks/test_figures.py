"""The arithmetic of the benchmarks: marks to rates and delays, runs to medians."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Spread, delays_ms, percentile, rate, spread
from benchmarks.marks import MARK_BYTES, Mark, unpack

values = st.lists(st.floats(0, 1e6), min_size=1)


def test_a_rate_is_jobs_over_the_time_from_first_start_to_last_end() -> None:
    """Ten jobs of a tenth of a second each, one after the other, are ten jobs a second."""
    marks = [Mark(0, 5 + n / 10, 5 + (n + 1) / 10, 1) for n in range(10)]
    assert rate(marks) == pytest.approx(10)
    assert rate(marks[::-1]) == pytest.approx(10)


def test_a_rate_of_two_processes_begins_with_the_later_one() -> None:
    """What the first process did before the second had begun does not count."""
    alone = [Mark(0, n / 10, (n + 1) / 10, 1) for n in range(10)]
    both = [Mark(0, 1 + n / 10, 1 + (n + 1) / 10, process) for n in range(10) for process in (1, 2)]
    assert rate([*alone, *both]) == pytest.approx(20)


@pytest.mark.parametrize("marks", [[], [Mark(0, 1, 1, 1)]], ids=["none", "no time"])
def test_a_rate_needs_time(marks: list[Mark]) -> None:
    """Where no time passed there is no rate, and no division by zero."""
    with pytest.raises(ValueError, match="marks"):
        rate(marks)


def test_a_percentile_is_one_of_the_values() -> None:
    """The nearest rank: half of two values is the lower one, and 99 of 100 do not exceed the 99th."""
    hundred = [float(n) for n in range(100, 0, -1)]
    assert (percentile([2, 1], 0.5), percentile(hundred, 0.5), percentile(hundred, 0.99)) == (1, 50, 99)
    assert (percentile([7], 0), percentile([7], 1)) == (7, 7)


@given(values, st.floats(0, 1))
def test_enough_values_are_at_most_the_percentile(given_values: list[float], share: float) -> None:
    """At least the asked share of the values does not exceed it."""
    found = percentile(given_values, share)
    assert found in given_values
    assert sum(value <= found for value in given_values) >= share * len(given_values)


@given(values)
def test_a_median_lies_between_the_extremes(given_values: list[float]) -> None:
    """A spread is ordered, and its ends are values."""
    found = spread(given_values)
    assert found.least <= found.median <= found.most
    assert {found.least, found.most} <= set(given_values)


def test_a_spread_needs_a_run() -> None:
    """No runs, no figure."""
    assert spread([3, 1, 2]) == Spread(2, 1, 3)
    with pytest.raises(ValueError, match="no runs"):
        spread([])


def test_only_jobs_that_know_when_they_were_sent_have_a_delay() -> None:
    """A job of a drain was told 0."""
    assert delays_ms([Mark(0, 1, 2, 1), Mark(1, 1.002, 2, 1)]) == [pytest.approx(2)]


@given(st.binary(max_size=5 * MARK_BYTES))
def test_a_torn_mark_is_not_read(raw: bytes) -> None:
    """Only whole marks are read, however much of the file is there."""
    assert len(unpack(raw)) == len(raw) // MARK_BYTES
