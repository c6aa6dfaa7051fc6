"""``python -m benchmarks``: run, peers, report, profile."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from signal import SIGTERM, signal
from typing import Any

from benchmarks import profile, report
from benchmarks.roster import OTHERS, OURS, Contestant
from benchmarks.run import SERIES, run, target_for
from benchmarks.sizes import FULL, QUICK
from benchmarks.tables import newest


def main() -> int:
    """Do what was asked for; 1 where a measurement failed."""
    asked = _arguments()
    signal(SIGTERM, lambda *_: sys.exit(128 + SIGTERM))  # so that servers and workers are ended, as after Ctrl-C
    match asked.what:
        case "report":
            report.write(asked.results or newest(report.KINDS, "make bench"))
            return 0
        case "profile":
            sys.stdout.write(profile.profile(asked.jobs))
            return 0
    sizes = QUICK if asked.quick else FULL
    sizes = replace(sizes, runs=asked.runs or sizes.runs)
    result = run(_contestants(asked), sizes, _target(asked), only=asked.series or ())
    sys.stdout.write(report.tables(result))
    return any("error" in measurement for measurement in result["measurements"])


def _contestants(asked: argparse.Namespace) -> list[Contestant]:
    everyone = [*OURS, *(OTHERS if asked.what == "peers" else ())]
    return [one for one in everyone if not asked.only or any(name in one.name for name in asked.only)]


def _target(asked: argparse.Namespace) -> Path:
    given: Path | None = asked.results
    return given or target_for(f"{asked.what}-quick" if asked.quick else asked.what)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands: Any = parser.add_subparsers(dest="what", required=True)
    for name, told in (
        ("run", "measure our engine, stock arq and the floor"),
        ("peers", "measure them and other libraries, each in an environment of its own"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("--quick", action="store_true", help="one small run: a look, and no proof")
        command.add_argument("--runs", type=int, help="how often each contestant has its turn")
        command.add_argument("--only", action="append", metavar="NAME", help="contestants with this in their names")
        command.add_argument("--series", action="append", choices=[series.name for series in SERIES])
        command.add_argument("--results", type=Path, metavar="FILE", help="where the figures go")
    command = commands.add_parser("report", help="write docs/benchmarks.md and its picture from a results file")
    command.add_argument("results", type=Path, nargs="?", metavar="FILE", help="by default the newest full run")
    command = commands.add_parser("profile", help="show where our engine's time goes")
    command.add_argument("--jobs", type=int, default=100_000)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
