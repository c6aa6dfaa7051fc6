"""Fixtures of the fault tests: a server and worker processes that a test may mistreat.

``ARQWAY_TEST_FAULTS=full`` runs them at full length: 200 kills during 5,000 jobs, and 30 s without Redis.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from arqway.workers.client import JobQueue, open_queue
from arqway.workers.settings import Settings
from tests.support.fault_jobs import JOBS
from tests.support.fault_records import figures
from tests.support.fault_workers import Crew, FaultyValkey
from tests.support.leaks import keys_without_owner

FULL = os.environ.get("ARQWAY_TEST_FAULTS") == "full"
Measured = Callable[[str, object], None]
StartCrew = Callable[..., Crew]


@pytest.fixture(autouse=True)
def _unmeasured_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes run at their own speed under `make coverage`, for these tests are about time."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def server() -> Iterator[FaultyValkey]:
    """A server of the test's own; afterwards no key may be left that nothing will ever remove."""
    with tempfile.TemporaryDirectory(prefix="arqway-test-") as folder:
        valkey = FaultyValkey(Path(folder))
        valkey.start()
        try:
            yield valkey
            with Redis.from_url(valkey.url) as client:
                assert keys_without_owner(client) == []
        finally:
            valkey.stop()


@pytest.fixture
def client(server: FaultyValkey) -> Iterator[Redis]:
    """A look at the server that goes past our own code."""
    with Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
async def jobs(server: FaultyValkey) -> AsyncIterator[JobQueue]:
    """A client of the server."""
    async with open_queue(Settings.model_validate({"redis_url": server.url}), JOBS) as queue:
        yield queue


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder where jobs note what they do."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def start_crew(server: FaultyValkey, tmp_path: Path) -> Iterator[StartCrew]:
    """Makes the crew of the test; it is ended before the server is."""
    crews: list[Crew] = []

    def start(redis_url: str = server.url, **variables: object) -> Crew:
        crews.append(Crew(tmp_path / f"crew-{len(crews)}", redis_url, **variables))
        return crews[-1]

    yield start
    for one in crews:
        one.end()


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Keeps a figure for the summary at the end of the run: a text, or seconds."""

    def keep(name: str, value: object) -> None:
        record_property(name, figures(value) if isinstance(value, list) else str(value))

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    for report in reports:
        for name, value in getattr(report, "user_properties", []):
            terminalreporter.write_line(f"{report.nodeid.rpartition('/')[2]}: {name}: {value}")
