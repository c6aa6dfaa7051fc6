"""From a results file to Markdown tables, and into ``docs/benchmarks.md`` with its picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.roster import ARQWAY, OTHERS, OURS, ROOT
from benchmarks.tables import by_contestant, failures, of_one, origin, put, targets
from benchmarks.targets import Results, judge

PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "benchmarks.svg"
KINDS = ("run", "peers")

_NAMES = [contestant.name for contestant in (*OURS, *OTHERS)]


def write(source: Path) -> None:
    """Put the tables of a results file into the page, and draw the picture."""
    from benchmarks import picture

    result = json.loads(source.read_text(encoding="utf-8"))
    put(PAGE, "python -m benchmarks report", tables(result), source)
    picture.draw(Results(result), _NAMES, PICTURE)


def tables(result: Mapping[str, Any]) -> str:
    """Return all tables of a run, as Markdown."""
    results = Results(result)
    parts = [
        origin(result),
        targets(judge(results)),
        _drains(results),
        _pick_ups(results),
        _enqueues(results),
        _own(results),
    ]
    parts.append(failures(result["measurements"]))
    return "\n\n".join(part for part in parts if part) + "\n"


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
    return by_contestant(results, _NAMES, "Draining a queue with one worker process", columns)


def _pick_ups(results: Results) -> str:
    columns = {
        "p50 ms": ("drain", "pick_up_p50_ms"),
        "p99 ms": ("drain", "pick_up_p99_ms"),
        "most ms": ("drain", "pick_up_max_ms"),
        "idle commands/s": ("drain", "idle_commands_per_s"),
        "idle CPU %": ("drain", "idle_cpu_percent"),
    }
    return by_contestant(results, _NAMES, "Picking up a job, worker idle", columns)


def _enqueues(results: Results) -> str:
    columns = {
        "one by one /s": ("enqueue", "sequential_per_s"),
        "50 at a time /s": ("enqueue", "concurrent_per_s"),
        "many at once /s": ("enqueue", "bulk_per_s"),
        "bytes/waiting job": ("drain", "waiting_bytes_per_job"),
        "bytes/finished job": ("drain", "finished_bytes_per_job"),
    }
    return by_contestant(results, _NAMES, "Submitting from one process, and what a job takes in the server", columns)


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
    return of_one(results, ARQWAY.name, "Arqway alone", sources)
