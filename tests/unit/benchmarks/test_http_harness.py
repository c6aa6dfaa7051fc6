"""The harness over HTTP, on a real server and real APIs, at the smallest size that still measures something."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.http.__main__ import SERIES, UNDER_LOAD
from benchmarks.http.listing import DEEP, FILTERS
from benchmarks.http.load import wrk
from benchmarks.http.roster import ARQWAY, ARQWAY_KEYED, BARE, Api
from benchmarks.http.sizes import HttpSizes
from benchmarks.run import take_turns

_TINY = HttpSizes(
    runs=1,
    load_s=1,
    batch_jobs=50,
    streams=20,
    idle_s=0.1,
    subscribers=10,
    reports=4,
    report_every_s=0.1,
    few_jobs=100,
    many_jobs=2_000,
    lists=10,
)
_UNDER_LOAD = {
    "per_s",
    "p50_ms",
    "p99_ms",
    "api_cpu_us",
    "server_cpu_us",
    "round_trips",
    "commands",
    "api_memory_mb",
}


def measured(tmp_path: Path, apis: tuple[Api, ...], *names: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Run these series, and return their figures by series and contestant."""
    target = tmp_path / "result.json"
    take_turns(apis, [one for one in SERIES if one.name in names], _TINY, target)
    result = json.loads(target.read_text())
    assert [one.get("error") for one in result["measurements"] if "error" in one] == []
    return {(one["series"], one["contestant"]): one["figures"] for one in result["measurements"]}


@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("wrk") is None, reason="the load comes from wrk")
def test_every_request_is_put_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each series has its figures; what each costs the server is counted, and FastAPI alone costs it nothing."""
    monkeypatch.delenv("ARQWAY_BENCH_REDIS_URL", raising=False)
    found = measured(tmp_path, (BARE, ARQWAY_KEYED), *UNDER_LOAD)
    ours = {(series, ARQWAY_KEYED.name) for series in UNDER_LOAD}
    assert set(found) == {("post", BARE.name), ("get", BARE.name), *ours}
    assert all(set(figures) - {"jobs_per_s"} == _UNDER_LOAD for figures in found.values())
    assert found["post", BARE.name]["commands"] < 0.1
    assert found["post", ARQWAY_KEYED.name]["commands"] > 1
    batch = found["batch", ARQWAY_KEYED.name]
    assert batch["jobs_per_s"] == pytest.approx(batch["per_s"] * _TINY.batch_jobs)


@pytest.mark.timeout(180)
def test_streams_and_lists_have_their_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stream is opened, every report of the job reaches every listener, every filter is timed at both sizes."""
    monkeypatch.delenv("ARQWAY_BENCH_REDIS_URL", raising=False)
    found = measured(tmp_path, (ARQWAY,), "streams", "progress", "listing")
    streams, progress, listing = (found[series, ARQWAY.name] for series in ("streams", "progress", "listing"))
    assert streams["streams"] == _TINY.streams
    assert streams["redis_connections"] >= 1
    assert (progress["reports"], progress["received_share"]) == (_TINY.reports, 1)
    assert 0 < progress["p50_ms"] <= progress["p99_ms"] <= progress["max_ms"]
    kinds = [
        f"{name}_{share}_{jobs}_ms" for name in (*FILTERS, DEEP) for share in ("p50", "p99") for jobs in ("few", "many")
    ]
    assert set(listing) == {*kinds, "seed_few_s", "seed_many_s"}


def test_a_missing_wrk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The run ends before it begins, and says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        wrk()
