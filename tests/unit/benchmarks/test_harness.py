"""The harness itself, on a real server and with real workers, at the smallest size that still measures something."""

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.roster import ARQWAY, FLOOR, OTHERS, OURS, ROOT
from benchmarks.run import run
from benchmarks.sizes import Sizes

_TINY = Sizes(
    runs=1, share=0.2, warm_up=20, naps=50, trickled=5, idle_s=0.2, enqueued=100, many_waiting=2_000, rounds=2
)
_PER_DRAIN = {
    "jobs_per_s",
    "round_trips_per_job",
    "commands_per_job",
    "server_cpu_us_per_job",
    "worker_cpu_ms_per_job",
    "worker_memory_mb",
    "idle_commands_per_s",
    "idle_cpu_percent",
    "pick_up_p50_ms",
    "pick_up_p99_ms",
    "pick_up_max_ms",
    "waiting_bytes_per_job",
    "finished_bytes_per_job",
}


def test_a_run_leaves_everything_a_reader_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON has machine, versions, load before each measurement, and every figure of each series."""
    monkeypatch.delenv("ARQWAY_BENCH_REDIS_URL", raising=False)
    target = tmp_path / "result.json"
    run((ARQWAY, FLOOR), _TINY, target, only=("drain", "growth"))
    result = json.loads(target.read_text())
    named = {"commit", "cpu", "cores", "memory_gib", "python", "server", "versions", "system", "uncommitted_changes"}
    assert set(result["machine"]) == named
    assert set(result["machine"]["server"]) == {"name", "version", "persistence"}
    assert {"arqway", "arq", "redis", "uvloop"} <= set(result["machine"]["versions"][ARQWAY.name])
    measured = {(one["series"], one["contestant"]): one for one in result["measurements"]}
    assert set(measured) == {("drain", ARQWAY.name), ("drain", FLOOR.name), ("growth", ARQWAY.name)}
    assert all("error" not in one and len(one["load"]) == 3 for one in measured.values()), measured
    assert set(measured["drain", ARQWAY.name]["figures"]) == _PER_DRAIN
    growth = {f"{script}_us_{many}" for script in ("submit", "claim", "settle") for many in ("few", "many")}
    assert set(measured["growth", ARQWAY.name]["figures"]) == {*growth, "waiting_bytes_per_job"}
    assert "### Targets" in report.tables(result)


def test_contestants_are_told_apart() -> None:
    """Names are what results are found by; each contestant's module is there."""
    everyone = [*OURS, *OTHERS]
    assert len({contestant.name for contestant in everyone}) == len(everyone)
    for contestant in everyone:
        assert Path(ROOT, *contestant.module.split(".")).with_suffix(".py").exists()


def test_a_contestant_of_our_environment_is_installed() -> None:
    """Our own contestants need nothing that is not installed for the tests."""
    assert all((contestant.programs / contestant.worker[0]).exists() for contestant in OURS)
