"""From a results file to Markdown tables, and into ``docs/benchmarks.md`` with its picture."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import Spread
from benchmarks.roster import ARQWAY, OTHERS, OURS, ROOT
from benchmarks.targets import Results, Verdict, judge

PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "benchmarks.svg"
RESULTS = ROOT / "benchmarks" / "results"

_GENERATED = re.compile(r"(<!-- figures: python -m benchmarks report -->\n).*?(<!-- end of figures -->)", re.DOTALL)
_NAMES = [contestant.name for contestant in (*OURS, *OTHERS)]


def newest() -> Path:
    """Return the newest results of a full run."""
    found = [path for path in RESULTS.glob("*.json") if not path.stem.endswith("quick")]
    if not found:
        raise SystemExit("there are no results yet: make bench")
    return max(found, key=lambda path: (json.loads(path.read_text(encoding="utf-8"))["at"], path.name))


def write(source: Path) -> None:
    """Put the tables of a results file into the page, and draw the picture."""
    from benchmarks import picture

    result = json.loads(source.read_text(encoding="utf-8"))
    tables_and_source = f"{tables(result)}\nSource: `benchmarks/results/{source.name}`\n\n"
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_GENERATED.sub(lambda found: found[1] + tables_and_source + found[2], page), encoding="utf-8")
    picture.draw(Results(result), _NAMES, PICTURE)


def tables(result: Mapping[str, Any]) -> str:
    """Return all tables of a run, as Markdown."""
    results = Results(result)
    parts = [
        _origin(result),
        _targets(results),
        _drains(results),
        _pick_ups(results),
        _enqueues(results),
        _own(results),
    ]
    parts.append(_failures(result["measurements"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _origin(result: Mapping[str, Any]) -> str:
    machine, measurements = result["machine"], result["measurements"]
    loads = [one["load"][0] for one in measurements]
    server = machine["server"]
    busy = f"load before a measurement {min(loads):.1f} to {max(loads):.1f}" if loads else "nothing measured"
    runs = len({one["run"] for one in measurements})
    dirty = " with changes" if machine["uncommitted_changes"] else ""
    return (
        f"{result['at'][:10]}, commit {machine['commit'][:7]}{dirty}, {machine['cpu']}, {machine['cores']} cores, "
        f"Python {machine['python']}, {server['name']} {server['version']} (persistence: {server['persistence']}), "
        f"{runs} {'runs in turn' if runs > 1 else 'run'}, {busy}. Cells are the median (least to most) of the runs."
    )


def _targets(results: Results) -> str:
    verdicts = judge(results)
    rows = [_verdict(verdict) for verdict in verdicts]
    return _table("Targets", ["what", "Arqway", "compared with", "reached", "target", ""], rows)


def _verdict(verdict: Verdict) -> list[str]:
    target = verdict.target
    sign, met = ("≥" if target.at_least else "≤"), "met" if verdict.met else "**missed**"
    reached = _cell(verdict.reached)
    compared = _cell(verdict.other) if verdict.other else "-"
    bound = f"{sign} {_number(target.bound)}{target.unit}"
    return [target.what, _cell(verdict.ours), compared, reached, bound, met]


def _drains(results: Results) -> str:
    columns = {
        "no-op jobs/s": ("drain", "jobs_per_s"),
        "10 ms jobs/s": ("naps", "jobs_per_s"),
        "round trips/job": ("drain", "round_trips_per_job"),
        "commands/job": ("drain", "commands_per_job"),
        "server CPU µs/job": ("drain", "server_cpu_us_per_job"),
        "worker CPU ms/job": ("drain", "worker_cpu_ms_per_job"),
        "worker MB": ("drain", "worker_memory_mb"),
    }
    return _by_contestant(results, "Draining a queue with one worker process", columns)


def _pick_ups(results: Results) -> str:
    columns = {
        "p50 ms": ("drain", "pick_up_p50_ms"),
        "p99 ms": ("drain", "pick_up_p99_ms"),
        "most ms": ("drain", "pick_up_max_ms"),
        "idle commands/s": ("drain", "idle_commands_per_s"),
        "idle CPU %": ("drain", "idle_cpu_percent"),
    }
    return _by_contestant(results, "Picking up a job, worker idle", columns)


def _enqueues(results: Results) -> str:
    columns = {
        "one by one /s": ("enqueue", "sequential_per_s"),
        "50 at a time /s": ("enqueue", "concurrent_per_s"),
        "many at once /s": ("enqueue", "bulk_per_s"),
        "bytes/waiting job": ("drain", "waiting_bytes_per_job"),
        "bytes/finished job": ("drain", "finished_bytes_per_job"),
    }
    return _by_contestant(results, "Submitting from one process, and what a job takes in the server", columns)


def _own(results: Results) -> str:
    sources = {
        "no-op jobs/s, one worker": ("drain", "jobs_per_s"),
        "no-op jobs/s, two workers": ("pair", "jobs_per_s"),
        "no-op jobs/s, one worker, server with appendonly everysec": ("appending", "jobs_per_s"),
        "jobs/s that compute 1 ms, one worker": ("pair", "compute_one_per_s"),
        "jobs/s that compute 1 ms, two workers": ("pair", "compute_two_per_s"),
        "submit, server µs/job, few waiting": ("growth", "submit_us_few"),
        "submit, server µs/job, many waiting": ("growth", "submit_us_many"),
        "claim, server µs/job, few waiting": ("growth", "claim_us_few"),
        "claim, server µs/job, many waiting": ("growth", "claim_us_many"),
        "settle, server µs/job, few waiting": ("growth", "settle_us_few"),
        "settle, server µs/job, many waiting": ("growth", "settle_us_many"),
    }
    found = {name: results.spread(series, ARQWAY.name, figure) for name, (series, figure) in sources.items()}
    return _table("Arqway alone", ["figure", "value"], [[name, _cell(value)] for name, value in found.items() if value])


def _failures(measurements: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [str(one["run"]), one["series"], one["contestant"], " ".join(one["error"].split())[:200].replace("|", "/")]
        for one in measurements
        if "error" in one
    ]
    return _table("Failed measurements", ["run", "series", "contestant", "error"], rows)


def _by_contestant(results: Results, title: str, columns: Mapping[str, tuple[str, str]]) -> str:
    rows = []
    for name in _NAMES:
        cells = [results.spread(series, name, figure) for series, figure in columns.values()]
        if any(cells):
            rows.append([name, *(_cell(cell) if cell else "-" for cell in cells)])
    return _table(title, ["", *columns], rows)


def _table(title: str, heads: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    rule = ["---", *("--:" for _ in heads[1:])]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]
    return f"### {title}\n\n" + "\n".join(lines)


def _cell(value: Spread) -> str:
    middle, least, most = (_number(part) for part in value)
    return middle if least == most else f"{middle} ({least} to {most})"


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.2g}"
