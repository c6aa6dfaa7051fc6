"""``python -m arqway.service`` as a process of its own, and what it holds."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


class ServiceProcess:
    """A running service, its log in a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    @property
    def url(self) -> str:
        """Where it listens; empty until it says so."""
        return self.log.partition("listens on ")[2].partition('"')[0]

    @property
    def memory_bytes(self) -> int:
        """What it has in memory, from /proc or, where there is none, from `ps`."""
        status = Path(f"/proc/{self._process.pid}/statm")
        if status.exists():
            return int(status.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        told = subprocess.run(["ps", "-o", "rss=", "-p", str(self._process.pid)], capture_output=True, check=True)  # noqa: S607
        return int(told.stdout) * 1024

    @property
    def open_files(self) -> int:
        """How many files and sockets it has open; 0 where the system does not tell."""
        folder = Path(f"/proc/{self._process.pid}/fd")
        return len(list(folder.iterdir())) if folder.exists() else 0


@asynccontextmanager
async def service_process(folder: Path, redis_url: str, **variables: object) -> AsyncIterator[ServiceProcess]:
    """Run the service on the jobs of ``tests.support.http_jobs``, with these settings, until the block ends.

    It must then end by itself when it is told to, without a traceback in all its log.
    """
    log = folder / "service.log"
    own = {f"ARQWAY_{name.upper()}": str(value) for name, value in variables.items()}
    fixed = {"REDIS_URL": redis_url, "ARQWAY_JOBS": "tests.support.http_jobs:JOBS", "ARQWAY_LOG_FORMAT": "json"}
    process = _start(log, {**fixed, "ARQWAY_PORT": "0", **own})
    service = ServiceProcess(process, log)
    try:
        await wait_until(lambda: service.url or process.poll() is not None, "the service listens", timeout_s=30)
        assert service.url, service.log
        yield service
        process.terminate()
        await wait_until(lambda: process.poll() is not None, f"the service ends: {service.log}", timeout_s=20)
        assert "Traceback" not in service.log, service.log
    finally:
        process.kill()
        process.wait()


def _start(log: Path, variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    command, environment = [sys.executable, "-m", "arqway.service"], {**os.environ, **variables}
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
