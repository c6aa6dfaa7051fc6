"""`arqway doctor` against real servers, good and bad."""

from pathlib import Path

import pytest
from redis import Redis

from arqway.service.cli import main
from arqway.workers.processes.embedded import EmbeddedServer
from tests.support.redis_server import valkey

Captured = pytest.CaptureFixture[str]


def diagnosis(capsys: Captured) -> dict[str, str]:
    """Return what the doctor printed, by the name of the check."""
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[1]: line for line in lines}


def test_a_fresh_machine_is_well(capsys: Captured) -> None:
    """Without any setting everything is all right, a line a check, and exit code 0."""
    assert main(["doctor"]) == 0

    found = diagnosis(capsys)
    assert list(found) == ["settings", "home", "jobs", "server", "version", "eviction", "persistence"]
    assert all(line.startswith("ok ") for line in found.values())


def test_the_server_of_a_running_stack_is_examined_and_left_alone(capsys: Captured, tmp_path: Path) -> None:
    """The doctor may be asked while `arqway up` owns the home."""
    with EmbeddedServer(tmp_path / "home") as server:
        assert main(["doctor"]) == 0
        assert server.is_running()


def test_a_server_that_would_lose_jobs_is_found_out(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eviction and a missing append-only file are told each in a line that says what to set; exit code 1."""
    with valkey() as server, Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        monkeypatch.setenv("REDIS_URL", server.url)

        assert main(["doctor"]) == 1

    found = diagnosis(capsys)
    assert found["eviction"].startswith("WRONG")
    assert "noeviction" in found["eviction"]
    assert found["persistence"].startswith("WRONG")
    assert "appendonly" in found["persistence"]


def test_every_trouble_is_told_at_once(capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An unwritable home, a registry that is not there and a server that does not answer: three lines, exit code 1."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ARQWAY_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("ARQWAY_JOBS", "no_such_package:JOBS")
    monkeypatch.setenv("REDIS_URL", "redis://:secret@127.0.0.1:1")

    assert main(["doctor"]) == 1

    found = diagnosis(capsys)
    assert [name for name, line in found.items() if line.startswith("WRONG")] == ["home", "jobs", "server"]
    assert "no_such_package" in found["jobs"]
    assert "secret" not in str(found)


def test_a_bad_setting_is_the_only_line(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the settings cannot be read there is nothing else to check."""
    monkeypatch.setenv("ARQWAY_LEASE_S", "0")

    assert main(["doctor"]) == 1

    assert list(diagnosis(capsys)) == ["settings"]
