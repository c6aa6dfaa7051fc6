"""The speeds that the engine is to reach, as ratios within one run or as bounds, and whether it did. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Spread, spread
from benchmarks.roster import ARQ_DEFAULT, ARQ_HUNDRED, ARQWAY, FLOOR, OTHERS


class Results:
    """The figures of one results file, by series, contestant and run."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        self._figures = {
            (one["series"], one["contestant"], one["run"]): one["figures"]
            for one in result["measurements"]
            if "figures" in one
        }

    def by_run(self, series: str, contestant: str, figure: str) -> dict[int, float]:
        """Return a figure of each run that has it."""
        return {
            run: figures[figure]
            for (of, name, run), figures in self._figures.items()
            if (of, name) == (series, contestant) and figure in figures
        }

    def spread(self, series: str, contestant: str, figure: str) -> Spread | None:
        """Return the median and range of a figure; None where no run has it."""
        values = list(self.by_run(series, contestant, figure).values())
        return spread(values) if values else None

    def best(self, series: str, figure: str, contestants: Iterable[str]) -> str | None:
        """Return the contestant with the highest median."""
        found = {name: value.median for name in contestants if (value := self.spread(series, name, figure))}
        return max(found, key=lambda name: found[name]) if found else None


@dataclass(frozen=True)
class Source:
    """Where a number comes from."""

    series: str
    contestant: str
    figure: str


@dataclass(frozen=True)
class Target:
    """``ours``, divided by ``other`` if there is one, has to be at least or at most ``bound``."""

    what: str
    ours: Source
    other: Source | None
    at_least: bool
    bound: float
    unit: str = " times"


@dataclass(frozen=True)
class Verdict:
    """What became of a target. The ratio is taken within each run, and summed up over the runs."""

    target: Target
    ours: Spread
    other: Spread | None
    reached: Spread
    met: bool


def judge(results: Results) -> list[Verdict]:
    """Return a verdict on every target for which the run has figures."""
    return verdicts(results, targets(results))


def verdicts(results: Results, wanted: Iterable[Target]) -> list[Verdict]:
    """Return a verdict on each of these targets for which the run has figures."""
    judged = (_judge(results, target) for target in wanted)
    return [verdict for verdict in judged if verdict is not None]


def _judge(results: Results, target: Target) -> Verdict | None:
    ours = results.by_run(target.ours.series, target.ours.contestant, target.ours.figure)
    other = target.other
    theirs = results.by_run(other.series, other.contestant, other.figure) if other else {}
    reached = ratios(ours, theirs) if other else list(ours.values())
    if not reached:
        return None
    summed = spread(reached)
    met = summed.median >= target.bound if target.at_least else summed.median <= target.bound
    return Verdict(target, spread(list(ours.values())), spread(list(theirs.values())) if theirs else None, summed, met)


def ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Return the ratio of each run that has both figures."""
    return [ours[run] / theirs[run] for run in sorted(ours.keys() & theirs.keys()) if theirs[run] > 0]


def _drained(contestant: str, figure: str = "jobs_per_s") -> Source:
    return Source("drain", contestant, figure)


def _own(series: str, figure: str) -> Source:
    return Source(series, ARQWAY.name, figure)


def targets(results: Results) -> list[Target]:
    """Return the targets; that against the best of the other libraries only where they took part."""
    ours, hundred, stock, floor = ARQWAY.name, ARQ_HUNDRED.name, ARQ_DEFAULT.name, FLOOR.name
    best = results.best("drain", "jobs_per_s", (peer.name for peer in OTHERS))
    p50, p99, rate = "pick_up_p50_ms", "pick_up_p99_ms", "jobs_per_s"
    concurrent = Source("enqueue", hundred, "concurrent_per_s")
    told = f"no-op jobs against {best}, the best other library"
    return [
        *([Target(told, _drained(ours), _drained(best), True, 5)] if best else []),
        Target("no-op jobs against arq, max_jobs=100", _drained(ours), _drained(hundred), True, 15),
        Target("jobs of 10 ms against the floor", _own("naps", rate), Source("naps", floor, rate), True, 0.85),
        Target("pick-up p50 against the floor", _drained(ours, p50), _drained(floor, p50), False, 2),
        Target("pick-up p99 against the floor", _drained(ours, p99), _drained(floor, p99), False, 3),
        Target("pick-up p50 against arq as it comes", _drained(ours, p50), _drained(stock, p50), False, 0.02),
        Target("pick-up p99 against arq as it comes", _drained(ours, p99), _drained(stock, p99), False, 0.02),
        Target("round trips for a job", _drained(ours, "round_trips_per_job"), None, False, 0.1, ""),
        Target("idle: Redis commands a second", _drained(ours, "idle_commands_per_s"), None, False, 5, ""),
        Target("idle: CPU", _drained(ours, "idle_cpu_percent"), None, False, 0.5, " %"),
        Target("submit, 50 calls at a time, against arq", _own("enqueue", "concurrent_per_s"), concurrent, True, 2),
        Target("submit many against arq, 50 calls at a time", _own("enqueue", "bulk_per_s"), concurrent, True, 10),
        Target("claim, many jobs waiting against few", *_growth("claim"), False, 1.3),
        Target("submit, many jobs waiting against few", *_growth("submit"), False, 1.3),
        Target("two workers against one, no-op jobs", _own("pair", rate), _drained(ours), True, 1.7),
        Target(
            "two workers against one, jobs that compute 1 ms",
            _own("pair", "compute_two_per_s"),
            _own("pair", "compute_one_per_s"),
            True,
            1.7,
        ),
    ]


def _growth(script: str) -> tuple[Source, Source]:
    return _own("growth", f"{script}_us_many"), _own("growth", f"{script}_us_few")
