"""One run of everything, A B C … A B C …, kept as JSON after each measurement."""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from redis.exceptions import RedisError

from benchmarks import machine, measure, measure_growth
from benchmarks.measure import Figures
from benchmarks.roster import ARQWAY, PEERS, Contestant
from benchmarks.server import Server, running_server
from benchmarks.sizes import Sizes, Turns
from benchmarks.stage import Stage, Stalled
from benchmarks.tables import RESULTS

SizesT = TypeVar("SizesT", bound=Turns)

_INSTALL_WITHIN_S = 600.0
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/]+/)+")
"""Where this machine keeps its files is nobody's business."""
_FAILURES = (Stalled, subprocess.TimeoutExpired, RedisError, OSError, ValueError)


@dataclass(frozen=True)
class Series(Generic[SizesT]):
    """One kind of measurement and who takes part in it."""

    name: str
    measure: Callable[[Stage, SizesT, int], Figures]
    takes_part: Callable[[Contestant], bool]


SERIES = (
    Series("drain", measure.drain, lambda _: True),
    Series("naps", measure.naps, lambda contestant: contestant.naps),
    Series("enqueue", measure.enqueue, lambda contestant: contestant.enqueues),
    Series("pair", measure.pair, lambda contestant: contestant is ARQWAY),
    Series("appending", measure.appending, lambda contestant: contestant is ARQWAY),
    Series("growth", measure_growth.growth, lambda contestant: contestant is ARQWAY),
)


def install(contestants: Sequence[Contestant]) -> None:
    """Make the virtual environments that are missing. Every library gets its own: their ranges do not fit together."""
    for contestant in contestants:
        if contestant.packages and not (contestant.programs / "python").exists():
            _tell(f"installing {' '.join(contestant.packages)}")
            PEERS.mkdir(parents=True, exist_ok=True)
            folder = contestant.programs.parent
            pip = [str(contestant.programs / "python"), "-m", "pip", "install", "--quiet", *contestant.packages]
            for command in ([sys.executable, "-m", "venv", str(folder)], pip):
                subprocess.run(command, check=True, timeout=_INSTALL_WITHIN_S)


def run(contestants: Sequence[Contestant], sizes: Sizes, target: Path, *, only: Sequence[str] = ()) -> dict[str, Any]:
    """Measure all contestants in all series, or in those named by ``only``; return what was written to ``target``."""
    return take_turns(contestants, [one for one in SERIES if not only or one.name in only], sizes, target)


def take_turns(
    contestants: Sequence[Contestant], several: Sequence[Series[SizesT]], sizes: SizesT, target: Path
) -> dict[str, Any]:
    """Measure all contestants in these series, A B C … A B C …; return what was written to ``target``."""
    install(contestants)
    with running_server() as server, tempfile.TemporaryDirectory(prefix="arqway-bench-") as folder:
        result: dict[str, Any] = {
            "at": _now(),
            "machine": machine.describe(server, contestants),
            "sizes": asdict(sizes),
            "measurements": [],
        }
        for number in range(1, sizes.runs + 1):
            for series in several:
                for contestant in filter(series.takes_part, contestants):
                    measurement = _measure(series, contestant, server, sizes, number, Path(folder))
                    result["measurements"].append(measurement)
                    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        return result


def target_for(kind: str) -> Path:
    """Return where a run's figures go: named by day, commit and kind."""
    commit = machine.commit()[:7] or "unknown"
    return RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{commit}-{kind}.json"


def _measure(
    series: Series[SizesT], contestant: Contestant, server: Server, sizes: SizesT, number: int, folder: Path
) -> dict[str, Any]:
    measurement: dict[str, Any] = {
        "run": number,
        "series": series.name,
        "contestant": contestant.name,
        "at": _now(),
        "load": machine.load(),
    }
    began_s = time.monotonic()
    try:
        measurement["figures"] = series.measure(Stage(contestant, server, folder), sizes, number)
    except _FAILURES as error:
        measurement["error"] = _FOLDERS.sub("", f"{type(error).__name__}: {error}")[:1000]
    measurement["took_s"] = round(time.monotonic() - began_s, 1)
    _tell(_line(measurement))
    return measurement


def _line(measurement: dict[str, Any]) -> str:
    figures = measurement.get("figures", {})
    shown = " ".join(
        f"{name}={value:,.3g}" if value < 1000 else f"{name}={value:,.0f}" for name, value in figures.items()
    )
    head = f"run {measurement['run']}  {measurement['series']:<9} {measurement['contestant']:<26}"
    return f"{head} {measurement['took_s']:>5} s  load {measurement['load'][0]}  {measurement.get('error') or shown}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
