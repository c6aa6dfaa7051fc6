"""Open event streams: what many of them cost one API process, and how fast progress reaches all that listen."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from benchmarks import processes
from benchmarks.http import seed
from benchmarks.http.apps.arqway import Course
from benchmarks.http.measure import api_of
from benchmarks.http.site import Site
from benchmarks.http.sizes import HttpSizes
from benchmarks.measure import Figures
from benchmarks.roster import ROOT
from benchmarks.stage import Stage, Stalled

_END_WITHIN_S = 30.0


class Listeners:
    """A process that holds streams open."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log

    def opened(self, streams: int) -> float:
        """Return, once all streams are open, how many seconds that took. Raises Stalled for one that is not."""
        told = self._told()
        if told["open"] != streams:
            raise Stalled(f"{told['open']} of {streams} streams were opened; another got {told['refused']}")
        return float(told["seconds"])

    def ended(self) -> dict[str, Any]:
        """Return, once all streams have ended, what was heard on them."""
        return self._told()

    def stop(self) -> dict[str, Any]:
        """Return what was heard, and let the streams be closed."""
        self._close_input()
        return self._told()

    def end(self) -> None:
        """Wait until it has ended."""
        self._close_input()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_WITHIN_S)

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise Stalled(f"the listeners have ended; {self._log.read_text(errors='replace')[-500:]}")
        told: dict[str, Any] = json.loads(line)
        return told

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


@contextmanager
def listening(stage: Stage, site: Site, paths: Sequence[str]) -> Iterator[Listeners]:
    """Open these streams from a process of its own, and hold them inside the block."""
    file = stage.folder / "paths"
    file.write_text("\n".join(paths), encoding="utf-8")
    named = [word for name, value in site.headers.items() for word in ("--header", f"{name}: {value}")]
    command = [sys.executable, "-m", "benchmarks.http.listeners", str(site.port), str(file), *named]
    log = stage.folder / "listeners.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    listeners = Listeners(process, log)
    try:
        yield listeners
    finally:
        listeners.end()
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        process.stdout.close()


def streams(stage: Stage, sizes: HttpSizes, run: int) -> Figures:
    """Open many streams, each of another job, and look at what they hold while nothing happens."""
    ids = seed.submit(stage.server.url, "noop", sizes.streams)
    with api_of(stage) as site:
        site.expect(200, "GET", f"/jobs/{ids[0]}")
        empty_mb = processes.memory_mb(site.process)
        with listening(stage, site, [f"/jobs/{job_id}/events" for job_id in ids]) as listeners:
            opened_in_s = listeners.opened(sizes.streams)
            figures = _held(stage, site, sizes.idle_s)
            if ended := listeners.stop()["ended"]:
                raise Stalled(f"{ended} of {sizes.streams} streams ended by themselves")
    return {
        **figures,
        "streams": sizes.streams,
        "opened_per_s": sizes.streams / opened_in_s,
        "kb_per_stream": (figures["api_memory_mb"] - empty_mb) * 1000 / sizes.streams,
    }


def _held(stage: Stage, site: Site, idle_s: float) -> Figures:
    """Return what the API process holds and uses; the connections are those of the server less the harness's own."""
    cpu_s, began_s = processes.cpu_s(site.process), time.monotonic()
    time.sleep(idle_s)
    used_s, lasted_s = processes.cpu_s(site.process) - cpu_s, time.monotonic() - began_s
    own = stage.server.redis.client_id()
    clients = cast("list[dict[str, str]]", stage.server.redis.client_list())
    return {
        "redis_connections": sum(client["id"] != str(own) for client in clients),
        "api_memory_mb": processes.memory_mb(site.process),
        "idle_cpu_percent": used_s / lasted_s * 100,
    }


def progress(stage: Stage, sizes: HttpSizes, run: int) -> Figures:
    """Let many clients listen to one job, and time each report from the job to each of them."""
    course = Course(reports=sizes.reports, every_s=sizes.report_every_s)
    (job_id,) = seed.submit(stage.server.url, "reporting", 1, payload=course)
    with api_of(stage) as site, listening(stage, site, [f"/jobs/{job_id}/events"] * sizes.subscribers) as listeners:
        listeners.opened(sizes.subscribers)
        cpu_s = processes.cpu_s(site.process)
        with stage.workers():
            ended = listeners.ended()
        used_s = processes.cpu_s(site.process) - cpu_s
    if ended["ended"] != sizes.subscribers or not ended["receipts"]:
        raise Stalled(f"{ended} of {sizes.subscribers} streams; {stage.last_words('api')}")
    return {
        "p50_ms": ended["p50_ms"],
        "p99_ms": ended["p99_ms"],
        "max_ms": ended["max_ms"],
        "subscribers": sizes.subscribers,
        "reports": ended["reports"],
        "received_share": ended["receipts"] / (sizes.subscribers * sizes.reports),
        "api_cpu_us_per_receipt": used_s / ended["receipts"] * 1e6,
    }
