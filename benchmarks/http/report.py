"""From a results file to Markdown tables, and into ``docs/benchmarks-http.md``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.http.roster import APIS, ARQWAY, ARQWAY_KEYED
from benchmarks.http.targets import NAMES, targets
from benchmarks.roster import ROOT
from benchmarks.tables import by_contestant, cell, failures, of_one, origin, put, table
from benchmarks.tables import targets as table_of_targets
from benchmarks.targets import Results, verdicts

PAGE = ROOT / "docs" / "benchmarks-http.md"
KINDS = ("http",)

_NAMES = [api.name for api in APIS]
_OURS = [ARQWAY.name, ARQWAY_KEYED.name]


def write(source: Path) -> None:
    """Put the tables of a results file into the page."""
    put(PAGE, "python -m benchmarks.http report", tables(json.loads(source.read_text(encoding="utf-8"))), source)


def tables(result: Mapping[str, Any]) -> str:
    """Return all tables of a run, as Markdown."""
    results = Results(result)
    parts = [
        origin(result),
        table_of_targets(verdicts(results, targets())),
        by_contestant(results, _NAMES, "POST: a job is submitted", _load("post")),
        by_contestant(results, _NAMES, "GET: a job that waits is read", _load("get")),
        by_contestant(results, _OURS, "GET with If-None-Match: 304", _load("unchanged")),
        by_contestant(results, _OURS, "POST /jobs:batch", {"jobs/s": ("batch", "jobs_per_s"), **_load("batch")}),
        _streams(results),
        _lists(results),
        failures(result["measurements"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _load(series: str) -> dict[str, tuple[str, str]]:
    columns = {
        "requests/s": "per_s",
        "p50 ms": "p50_ms",
        "p99 ms": "p99_ms",
        "API CPU µs/request": "api_cpu_us",
        "server CPU µs/request": "server_cpu_us",
        "round trips/request": "round_trips",
        "commands/request": "commands",
        "API MB": "api_memory_mb",
    }
    return {told: (series, figure) for told, figure in columns.items()}


def _streams(results: Results) -> str:
    figures = {
        "open streams": ("streams", "streams"),
        "their Redis connections": ("streams", "redis_connections"),
        "opened a second": ("streams", "opened_per_s"),
        "kB of the API process for a stream": ("streams", "kb_per_stream"),
        "CPU of the API process while nothing happens, %": ("streams", "idle_cpu_percent"),
        "listeners to one job": ("progress", "subscribers"),
        "reports that they received": ("progress", "reports"),
        "receipts, of all that there could be": ("progress", "received_share"),
        "from the job to a listener, p50 ms": ("progress", "p50_ms"),
        "p99 ms": ("progress", "p99_ms"),
        "most ms": ("progress", "max_ms"),
        "API CPU µs for a receipt": ("progress", "api_cpu_us_per_receipt"),
    }
    return of_one(results, ARQWAY.name, "Event streams", figures)


def _lists(results: Results) -> str:
    rows = []
    for name, told in NAMES.items():
        figures = [f"{name}_{share}_{jobs}_ms" for jobs in ("few", "many") for share in ("p50", "p99")]
        cells = [results.spread("listing", ARQWAY.name, figure) for figure in figures]
        if any(cells):
            rows.append([told, *(cell(value) if value else "-" for value in cells)])
    heads = ["a page of 50", "few jobs, p50 ms", "p99 ms", "many jobs, p50 ms", "p99 ms"]
    return table("GET /jobs", heads, rows)
