"""``python -m benchmarks.http``: run, report."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from signal import SIGTERM, signal
from typing import Any

from benchmarks.http import listing, measure, report, streams
from benchmarks.http.load import wrk
from benchmarks.http.roster import APIS, ARQWAY, ARQWAY_KEYED, Api
from benchmarks.http.sizes import FULL, QUICK, HttpSizes
from benchmarks.roster import Contestant
from benchmarks.run import Series, take_turns, target_for
from benchmarks.tables import newest


def _ours(contestant: Contestant) -> bool:
    return contestant in (ARQWAY, ARQWAY_KEYED)


def _keyless(contestant: Contestant) -> bool:
    return contestant is ARQWAY


SERIES: tuple[Series[HttpSizes], ...] = (
    Series("post", measure.post, lambda _: True),
    Series("get", measure.get, lambda _: True),
    Series("unchanged", measure.unchanged, _ours),
    Series("batch", measure.batch, _ours),
    Series("streams", streams.streams, _keyless),
    Series("progress", streams.progress, _keyless),
    Series("listing", listing.listing, _keyless),
)
UNDER_LOAD = frozenset({"post", "get", "unchanged", "batch"})
"""Series that need wrk."""


def main() -> int:
    """Do what was asked for; 1 where a measurement failed."""
    asked = _arguments()
    signal(SIGTERM, lambda *_: sys.exit(128 + SIGTERM))  # so that servers and APIs are ended, as after Ctrl-C
    if asked.what == "report":
        report.write(asked.results or newest(report.KINDS, "make bench-http"))
        return 0
    sizes = QUICK if asked.quick else FULL
    series = [one for one in SERIES if not asked.series or one.name in asked.series]
    if any(one.name in UNDER_LOAD for one in series):
        wrk()
    result = take_turns(_apis(asked), series, replace(sizes, runs=asked.runs or sizes.runs), _target(asked))
    sys.stdout.write(report.tables(result))
    return any("error" in measurement for measurement in result["measurements"])


def _apis(asked: argparse.Namespace) -> list[Api]:
    return [one for one in APIS if not asked.only or any(name in one.name for name in asked.only)]


def _target(asked: argparse.Namespace) -> Path:
    given: Path | None = asked.results
    return given or target_for("http-quick" if asked.quick else "http")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    commands: Any = parser.add_subparsers(dest="what", required=True)
    command = commands.add_parser("run", help="measure the service beside FastAPI alone, Celery, arq and SAQ")
    command.add_argument("--quick", action="store_true", help="one small run: a look, and no proof")
    command.add_argument("--runs", type=int, help="how often each contestant has its turn")
    command.add_argument("--only", action="append", metavar="NAME", help="contestants with this in their names")
    command.add_argument("--series", action="append", choices=[series.name for series in SERIES])
    command.add_argument("--results", type=Path, metavar="FILE", help="where the figures go")
    command = commands.add_parser("report", help="write docs/benchmarks-http.md from a results file")
    command.add_argument("results", type=Path, nargs="?", metavar="FILE", help="by default the newest full run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
