"""Arithmetic on marks and runs. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.marks import Mark


class Spread(NamedTuple):
    """What several runs gave."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Sum up the runs of one figure. Raises ValueError where there is none."""
    if not values:
        raise ValueError("there are no runs")
    return Spread(median(values), min(values), max(values))


def rate(marks: Sequence[Mark]) -> float:
    """Return jobs a second, from the moment at which every process had begun one until the last end.

    Jobs that ended before that moment do not count. Raises ValueError where nothing can be said.
    """
    first_s: dict[int, float] = {}
    for mark in marks:
        first_s[mark.process] = min(mark.started_s, first_s.get(mark.process, mark.started_s))
    if not first_s:
        raise ValueError("there are no marks")
    all_began_s = max(first_s.values())
    counted = [mark for mark in marks if mark.started_s >= all_began_s]
    lasted_s = max(mark.ended_s for mark in marks) - all_began_s
    if lasted_s <= 0:
        raise ValueError("the marks span no time")
    return len(counted) / lasted_s


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that ``share`` (0 to 1) of the values do not exceed: the nearest rank."""
    if not values:
        raise ValueError("there are no values")
    ranked = sorted(values)
    return ranked[max(0, min(len(ranked), -int(-len(ranked) * share // 1)) - 1)]


def delays_ms(marks: Sequence[Mark]) -> list[float]:
    """Return how long each job waited from being sent to its start, for those that were told when they were sent."""
    return [(mark.started_s - mark.sent_s) * 1000 for mark in marks if mark.sent_s > 0]
