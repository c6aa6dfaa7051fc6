"""Markdown that every page of figures has: where they come from, targets, tables by contestant, failures."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Spread
from benchmarks.roster import ROOT
from benchmarks.targets import Results, Verdict

RESULTS = ROOT / "benchmarks" / "results"


def newest(kinds: Sequence[str], how: str) -> Path:
    """Return the newest results file of these kinds, as the end of its name has them; ``how`` tells to make one."""
    found = [path for kind in kinds for path in RESULTS.glob(f"*-{kind}.json")]
    if not found:
        raise SystemExit(f"there are no results yet: {how}")
    return max(found, key=lambda path: (json.loads(path.read_text(encoding="utf-8"))["at"], path.name))


def put(page: Path, program: str, figures: str, source: Path) -> None:
    """Put figures and the name of their file between the marks that name ``program`` on the page."""
    marked = re.compile(rf"(<!-- figures: {re.escape(program)} -->\n).*?(<!-- end of figures -->)", re.DOTALL)
    told = f"{figures}\nSource: `benchmarks/results/{source.name}`\n\n"
    text = page.read_text(encoding="utf-8")
    page.write_text(marked.sub(lambda found: found[1] + told + found[2], text), encoding="utf-8")


def origin(result: Mapping[str, Any]) -> str:
    """Say in a paragraph when, on what and how often it was measured."""
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


def targets(verdicts: Iterable[Verdict]) -> str:
    """Return the table of what was to be reached."""
    return table(
        "Targets", ["what", "Arqway", "compared with", "reached", "target", ""], [_verdict(one) for one in verdicts]
    )


def _verdict(verdict: Verdict) -> list[str]:
    target = verdict.target
    sign, met = ("≥" if target.at_least else "≤"), "met" if verdict.met else "**missed**"
    reached = cell(verdict.reached)
    compared = cell(verdict.other) if verdict.other else "-"
    bound = f"{sign} {_number(target.bound)}{target.unit}"
    return [target.what, cell(verdict.ours), compared, reached, bound, met]


def by_contestant(results: Results, names: Iterable[str], title: str, columns: Mapping[str, tuple[str, str]]) -> str:
    """Return a table of the contestants that have any of these figures; a column is a series and a figure."""
    rows = []
    for name in names:
        cells = [results.spread(series, name, figure) for series, figure in columns.values()]
        if any(cells):
            rows.append([name, *(cell(value) if value else "-" for value in cells)])
    return table(title, ["", *columns], rows)


def of_one(results: Results, name: str, title: str, figures: Mapping[str, tuple[str, str]]) -> str:
    """Return a table of one contestant's figures, a row each."""
    found = {told: results.spread(series, name, figure) for told, (series, figure) in figures.items()}
    return table(title, ["figure", "value"], [[told, cell(value)] for told, value in found.items() if value])


def failures(measurements: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of measurements that have no figures."""
    rows = [
        [str(one["run"]), one["series"], one["contestant"], " ".join(one["error"].split())[:200].replace("|", "/")]
        for one in measurements
        if "error" in one
    ]
    return table("Failed measurements", ["run", "series", "contestant", "error"], rows)


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table below its title; empty where it has no rows."""
    if not rows:
        return ""
    rule = ["---", *("--:" for _ in heads[1:])]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]
    return f"### {title}\n\n" + "\n".join(lines)


def cell(value: Spread) -> str:
    """Write a median, and the range where there is one."""
    middle, least, most = (_number(part) for part in value)
    return middle if least == most else f"{middle} ({least} to {most})"


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.2g}"
