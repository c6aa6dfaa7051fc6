"""Fixtures of all tests. Each xdist worker has a server of its own, so a test may empty it."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from redis import Redis

from arqway.workers.client import JobQueue, open_queue
from arqway.workers.engine.worker import JobWorker
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings
from tests.support import redis_server
from tests.support.leaks import keys_without_owner
from tests.support.worker import running_worker

RunWorker = Callable[..., AbstractAsyncContextManager[JobWorker]]
_OUR_VARIABLES = ("ARQWAY_", "REDIS_URL")
_FOR_TESTS = ("ARQWAY_TEST_", "ARQWAY_REQUIRE")

pytest_plugins = [
    "tests.support.http",
    "tests.support.http_client",
    "tests.support.arq_shop",
    "tests.support.arq_workers",
    "tests.support.feeds",
    "tests.support.by_hand",
    "tests.support.executor_bench",
]

# How long an example takes is the machine's doing, all the more while coverage is measured.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")


def pytest_report_header() -> str:
    """Say where Redis comes from."""
    return f"redis: {redis_server.source()}"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the person who runs it, nor writes into the checkout."""
    for name in list(os.environ):
        if name.startswith(_OUR_VARIABLES) and not name.startswith(_FOR_TESTS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARQWAY_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A command that a test runs in this process logs to that test's own streams, and to no later one's."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [one for one in root.handlers if type(one) is logging.StreamHandler]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    """A server for this test process alone."""
    with redis_server.running_server() as url:
        redis_server.wait_for_server(url)
        yield url


@pytest.fixture
def redis_url(redis_server_url: str) -> Iterator[str]:
    """An empty server; afterwards no key may be left that nothing will ever remove."""
    with Redis.from_url(redis_server_url) as client:
        client.flushall()
        yield redis_server_url
        assert keys_without_owner(client) == []


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings with the shortest times that still mean something."""
    return Settings.model_validate(
        {"redis_url": redis_url, "home": tmp_path, "lease_s": 1, "poll_s": 0.05, "drain_s": 0, "cancel_grace_s": 0.3}
    )


@pytest.fixture
def run_worker(settings: Settings) -> RunWorker:
    """A worker in this process, as `async with`."""

    def run(registry: Registry, **changes: object) -> AbstractAsyncContextManager[JobWorker]:
        return running_worker(registry, settings.model_copy(update=changes))

    return run


OpenQueue = Callable[[Registry], AbstractAsyncContextManager[JobQueue]]


@pytest.fixture
def open_jobs(settings: Settings) -> OpenQueue:
    """A client of the worker's jobs, as `async with`."""
    return lambda registry: open_queue(settings, registry)


@pytest.fixture
def docker() -> None:
    """A Docker engine: without one the test skips, or fails where ARQWAY_REQUIRE names docker."""
    if redis_server.docker_answers():
        return
    if "docker" in os.environ.get("ARQWAY_REQUIRE", "").split(","):
        pytest.fail("ARQWAY_REQUIRE names docker, and no engine answers")
    pytest.skip("no Docker engine answers")
