"""A result is what the job's annotation says, written as JSON."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from arqway.workers.contract.values import InvalidResult
from tests.unit.core.samples import TEXT, Order, define


@dataclass
class Point:
    """No order."""

    x: float


@pytest.mark.parametrize(
    ("result_type", "result"),
    [(Any, {"a": [1, None]}), (None, None), (int | None, None), (list[Order], []), (dict[str, float], {"a": 0.5})],
    ids=str,
)
def test_a_result_is_written_as_json(result_type: Any, result: object) -> None:
    """The result type writes the result."""
    assert json.loads(define(int, result_type).write_result(result)) == result


def _circle() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


def _deep() -> list[object]:
    deep: list[object] = []
    for _ in range(50_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("result_type", "make"),
    [
        (int, lambda: "text"),
        (Order, lambda: Point(1)),
        (Order, lambda: TEXT),
        (Order, lambda: None),
        (int, lambda: None),
        (Any, object),
        (Any, _circle),
        (Any, _deep),
        (str, lambda: "\ud800"),
    ],
)
def test_a_result_that_does_not_fit_is_an_invalid_result(result_type: Any, make: Callable[[], object]) -> None:
    """What the result type cannot write as JSON is refused, and nothing else is raised."""
    with pytest.raises(InvalidResult):
        define(int, result_type).write_result(make())
