"""Where the API refuses to start: open to others without keys, or locked with no key that opens it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT

import httpx
import pytest

from arqway.service.cli import main
from arqway.workers.settings import Settings
from tests.support.api_keys import bearer, make_key, revoke
from tests.support.processes import arqway
from tests.support.waiting import wait_until

NOWHERE = "redis://127.0.0.1:1"
EVERYWHERE = ["0.0.0.0", "::", "some.host.invalid"]  # noqa: S104 - it is refused
ROOT = Path(__file__).parents[3]


@contextmanager
def service(**variables: str) -> "Iterator[subprocess.Popen[str]]":
    """Run ``python -m arqway.service`` on any free port, with these variables besides the test's own."""
    fixed = {"ARQWAY_JOBS": "tests.support.http_jobs:JOBS", "ARQWAY_LOG_FORMAT": "json", "ARQWAY_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "arqway.service"],
        env={**os.environ, **fixed, **variables},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def refusal(process: "subprocess.Popen[str]") -> str:
    """Return the one line with which the service refuses to start."""
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2, errors
    assert len(errors.splitlines()) == 1, errors
    return errors


def address(process: "subprocess.Popen[str]") -> str:
    """Return where the service listens, as it says once it does."""
    assert process.stderr is not None
    line = next(line for line in process.stderr if "The service listens on" in line)
    port = line.rpartition(":")[2].strip('"}\n')
    return f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("host", EVERYWHERE)
def test_others_are_not_let_in_without_keys(host: str) -> None:
    """The one line says which setting is missing, and how to get a key; so it does where off was asked for."""
    for auth in ({}, {"ARQWAY_AUTH": "off"}):
        with service(REDIS_URL=NOWHERE, ARQWAY_HOST=host, **auth) as process:
            told = refusal(process)
        assert f"ARQWAY_HOST={host}" in told
        assert "ARQWAY_AUTH=keys" in told
        assert "arqway keys create" in told


@pytest.mark.parametrize("command", ["api", "up"])
@pytest.mark.parametrize("host", EVERYWHERE[:2])
def test_the_command_line_refuses_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, host: str
) -> None:
    """Before it has started anything."""
    monkeypatch.setenv("ARQWAY_HOST", host)
    monkeypatch.setenv("ARQWAY_PORT", "0")
    assert main([command]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"arqway: ARQWAY_HOST={host} ")
    assert error.count("\n") == 1
    assert not (tmp_path / "home").exists()


async def test_a_door_without_a_key_is_not_put_up(settings: Settings, redis_url: str) -> None:
    """With keys but none that can be used the service does not listen to others; a revoked one counts for nothing."""
    await revoke(settings, await make_key(settings))
    with service(REDIS_URL=redis_url, ARQWAY_HOST="0.0.0.0", ARQWAY_AUTH="keys") as process:  # noqa: S104
        assert "arqway keys create --name NAME" in refusal(process)


@pytest.mark.parametrize("command", ["api", "up"])
@pytest.mark.parametrize("embedded", [True, False])
async def test_the_command_line_puts_up_no_such_door_either(
    tmp_path: Path, redis_url: str, command: str, embedded: bool
) -> None:
    """It ends at once with exit code 2 and the line, and does not start the API again and again."""
    server = {} if embedded else {"REDIS_URL": redis_url}
    changes = {"ARQWAY_HOST": "0.0.0.0", "ARQWAY_PORT": "0", "ARQWAY_AUTH": "keys", **server}  # noqa: S104
    with arqway(tmp_path, command, changes=changes) as process:
        assert await process.ends() == 2
    assert process.output.count("arqway keys create --name NAME") == 1


async def test_with_a_key_others_are_let_in(settings: Settings, redis_url: str) -> None:
    """The service listens, its probes answer, and jobs are told to whoever has the key."""
    token = await make_key(settings)
    with service(REDIS_URL=redis_url, ARQWAY_HOST="0.0.0.0", ARQWAY_AUTH="keys") as process:  # noqa: S104
        url = address(process)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/jobs/nobody")).status_code == 401
            assert (await client.get("/jobs/nobody", headers=bearer(token))).status_code == 404
            foreign = {**bearer(token), "host": "api.example.com"}
            assert (await client.get("/jobs/nobody", headers=foreign)).status_code == 404


async def test_without_redis_a_locked_door_is_put_up() -> None:
    """Keys are asked for again with each request: until Redis answers nobody is let in, and nobody told off."""
    with service(REDIS_URL=NOWHERE, ARQWAY_HOST="0.0.0.0", ARQWAY_AUTH="keys") as process:  # noqa: S104
        url = address(process)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/jobs/nobody")).status_code == 401
            token = f"arqway_{'0' * 12}_{'0' * 64}"
            assert (await client.get("/jobs/nobody", headers=bearer(token))).status_code == 503


async def test_a_key_made_later_opens_a_local_door(settings: Settings, redis_url: str) -> None:
    """On the loopback the service starts without any key, says so once, and lets a new key in at once."""
    with service(REDIS_URL=redis_url, ARQWAY_AUTH="keys") as process:
        assert process.stderr is not None
        assert "There is no API key that can be used" in process.stderr.readline()
        url = address(process)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/jobs/nobody")).status_code == 401
            token = await make_key(settings)
            assert (await client.get("/jobs/nobody", headers=bearer(token))).status_code == 404


async def test_a_locked_stack_serves_whoever_has_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`arqway keys create` before `arqway up` with keys: the same home has both, and the commands send the key."""
    monkeypatch.setenv("ARQWAY_AUTH", "keys")
    monkeypatch.setenv("ARQWAY_PORT", "0")
    with arqway(tmp_path, "keys", "create", "--name", "n", name="create") as create:
        assert await create.ends() == 0
    monkeypatch.setenv("ARQWAY_API_KEY", create.output.strip())
    with arqway(tmp_path, "up") as up:
        await up.says("Ctrl-C stops everything.")
        assert up.get("/jobs/nobody").status_code == 401
        call = ("submit", "report.generate", '{"user_id": 14048}', "--url", up.url())
        with arqway(tmp_path, *call, name="submit") as submit:
            assert await submit.ends() == 0
        with arqway(tmp_path, "watch", submit.output.strip(), "--url", up.url(), name="watch") as watch:
            assert await watch.ends() == 0, watch.output
        with arqway(tmp_path, "keys", "revoke", create.output.split("_")[1], name="revoke") as revoked:
            assert await revoked.ends() == 0

        def refused() -> bool:
            return httpx.get(f"{up.url()}/jobs/nobody", headers=bearer(create.output.strip())).status_code == 401

        await wait_until(refused, "the key is revoked in the running service", timeout_s=10)
        up.signal(SIGINT)
        assert await up.ends() == 0
