"""Targets: ratios are taken within a run, and the verdict is about their median."""

from typing import Any

from benchmarks.report import tables
from benchmarks.roster import ARQ_HUNDRED, ARQWAY, FLOOR, OTHERS
from benchmarks.targets import Results, judge, ratios


def result_of(*figures: tuple[int, str, str, dict[str, float]]) -> dict[str, Any]:
    """A results file with these measurements: run, series, contestant, figures."""
    return {
        "at": "2026-01-02T03:04:05+00:00",
        "machine": {
            "commit": "0123456789",
            "uncommitted_changes": False,
            "cpu": "a processor",
            "cores": 2,
            "python": "3.11.7",
            "server": {"name": "Valkey", "version": "9", "persistence": "none"},
        },
        "sizes": {"runs": 3},
        "measurements": [
            {"run": run, "series": series, "contestant": contestant, "load": [0.5, 0.5, 0.5], "figures": values}
            for run, series, contestant, values in figures
        ],
    }


def drains(contestant: str, *rates: float) -> list[tuple[int, str, str, dict[str, float]]]:
    """Drains of one contestant, a run each."""
    return [(run, "drain", contestant, {"jobs_per_s": rate}) for run, rate in enumerate(rates, start=1)]


def test_a_ratio_needs_both_sides_of_one_run() -> None:
    """A run in which one side is missing, or did nothing, gives no ratio."""
    assert ratios({1: 10, 2: 20, 4: 5}, {1: 5, 3: 1, 4: 0}) == [2]


def test_a_slow_machine_slows_both_sides() -> None:
    """Ratios are taken run by run, so a run at half speed does not change them."""
    result = result_of(*drains(ARQWAY.name, 300, 150, 300), *drains(ARQ_HUNDRED.name, 20, 10, 20))
    (verdict,) = [verdict for verdict in judge(Results(result)) if ARQ_HUNDRED.name in verdict.target.what]
    assert verdict.reached == (15, 15, 15)
    assert verdict.met


def test_the_best_of_the_others_is_the_measure() -> None:
    """Of the other libraries the one with the highest median counts, and its name is told."""
    slow, fast = OTHERS[0].name, OTHERS[1].name
    result = result_of(*drains(ARQWAY.name, 400, 500), *drains(slow, 10, 10), *drains(fast, 100, 100))
    verdict = judge(Results(result))[0]
    assert fast in verdict.target.what
    assert (verdict.reached.median, verdict.met) == (4.5, False)


def test_an_upper_bound_is_kept_from_above() -> None:
    """Where less is better, a median at the bound is good, and one above it is not."""
    at, above = ({"round_trips_per_job": trips} for trips in (0.1, 0.2))
    assert [judge(Results(result_of((1, "drain", ARQWAY.name, found))))[0].met for found in (at, above)] == [
        True,
        False,
    ]


def test_the_tables_show_what_there_is() -> None:
    """Contestants without figures have no row, missing cells are dashes, and a missed target is plain to see."""
    result = result_of(*drains(ARQWAY.name, 1000, 1100, 1200), *drains(ARQ_HUNDRED.name, 100, 100, 100))
    shown = tables(result)
    assert "| Arqway | 1,100 (1,000 to 1,200) | - |" in shown
    assert "**missed**" in shown
    assert FLOOR.name not in shown
    assert "3 runs in turn" in shown
