"""`arqway keys` and `arqway audit`, and the client commands with a key."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from arqway.service.app import create_app
from arqway.service.cli import main
from arqway.workers.client.access import open_access
from arqway.workers.contract.api_key import ApiKey, Rate, Scope, Token, proves
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.settings import Settings
from arqway.workers.store.access import AuditEntry
from tests.support.api_keys import make_key
from tests.support.http import served, service_settings
from tests.support.http_jobs import JOBS

Captured = pytest.CaptureFixture[str]
Run = Callable[..., str]


@pytest.fixture
def run(capsys: Captured, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Run:
    """``run(*arguments)`` is what the command printed on stdout; it must succeed."""
    monkeypatch.setenv("REDIS_URL", redis_url)

    def run(*arguments: str) -> str:
        assert main(arguments) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def keys_in(settings: Settings) -> list[ApiKey]:
    """Return the keys that Redis has."""

    async def read() -> list[ApiKey]:
        async with open_access(settings) as access:
            return [found.key for found in await access.keys.read_all()]

    return asyncio.run(read())


def test_create_prints_the_token_alone(run: Run, settings: Settings) -> None:
    """One line, which proves the key; its name, tenant, scopes, rate and end are as they were asked for."""
    asked = ["--name", "web shop", "--tenant", "shop", "--scope", "read", "--scope", "operate"]
    output = run("keys", "create", *asked, "--rate", "50", "--burst", "100", "--expires-in", "90d")
    token = Token.parse(output.removesuffix("\n"))
    (key,) = keys_in(settings)

    assert token is not None
    assert proves(token, key)
    assert (key.name, key.tenant, key.rate) == ("web shop", "shop", Rate(50, 100))
    assert key.scopes == {Scope.READ, Scope.OPERATE}
    assert key.expires_ms == key.created_ms + timedelta(days=90) // timedelta(milliseconds=1)


def test_a_key_can_do_little_unless_more_is_asked_for(run: Run, settings: Settings) -> None:
    """Without options it submits and reads in the default tenant, at any rate, until it is revoked."""
    run("keys", "create", "--name", "plain")
    (key,) = keys_in(settings)
    assert key.scopes == {Scope.SUBMIT, Scope.READ}
    assert key.tenant == "default"
    assert (key.rate, key.expires_ms, key.revoked_ms) == (None, None, None)


def test_the_list_tells_all_but_the_secret(run: Run, settings: Settings) -> None:
    """A line a key: id, name, tenant, scopes, rate, and when it was made, expires and was revoked."""
    tokens = [run("keys", "create", "--name", name).strip() for name in ("first", "second")]
    run("keys", "create", "--name", "third", "--tenant", "t3", "--rate", "2", "--expires-in", "1h")
    run("keys", "revoke", tokens[1].split("_")[1])
    heading, first, second, third = run("keys", "list").splitlines()
    keys = keys_in(settings)

    assert heading.split() == ["ID", "NAME", "TENANT", "SCOPES", "RATE", "CREATED", "EXPIRES", "REVOKED"]
    assert first.split()[:5] == [tokens[0].split("_")[1], "first", "default", "read,submit", "-"]
    assert first.split()[6:] == ["-", "-"]
    assert second.split()[-1].endswith("Z")
    assert third.split()[1:6] == ["third", "t3", "read,submit", "2/s", "burst"]
    listed = run("keys", "list")
    for token, key in zip(tokens, keys, strict=False):
        assert token.split("_")[2] not in listed
        assert key.digest not in listed


def test_no_key_is_a_heading(run: Run) -> None:
    """A server without keys is listed as such."""
    assert len(run("keys", "list").splitlines()) == 1
    assert len(run("audit").splitlines()) == 1


def test_a_key_is_revoked_once(run: Run, capsys: Captured) -> None:
    """Once more is no error; a key that is not there is one, in one line."""
    key_id = run("keys", "create", "--name", "n").split("_")[1]
    assert run("keys", "revoke", key_id).startswith("revoked; ")
    assert run("keys", "revoke", key_id) == "already revoked\n"
    assert main(["keys", "revoke", "nobody"]) == 1
    assert capsys.readouterr().err == "arqway: there is no key nobody; `arqway keys list` shows them\n"


def test_a_first_key_is_made_only_where_there_is_none(run: Run, settings: Settings, capsys: Captured) -> None:
    """With --if-none a second call prints nothing on stdout and succeeds; after a revocation it makes one again."""
    first = run("keys", "create", "--name", "first", "--if-none")
    assert main(["keys", "create", "--name", "first", "--if-none"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    run("keys", "revoke", first.split("_")[1])
    assert run("keys", "create", "--name", "first", "--if-none").startswith("arqway_")
    assert len(keys_in(settings)) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["keys"], "the following arguments are required: ACTION"),
        (["keys", "create"], "the following arguments are required: --name"),
        (["keys", "create", "--name", " "], "--name: "),
        (["keys", "create", "--name", "a\nb"], "--name: "),
        (["keys", "create", "--name", "n", "--tenant", "Shop"], "--tenant: "),
        (["keys", "create", "--name", "n", "--scope", "all"], "invalid choice: 'all'"),
        (["keys", "create", "--name", "n", "--rate", "0"], "--rate: "),
        (["keys", "create", "--name", "n", "--rate", "nan"], "--rate: "),
        (["keys", "create", "--name", "n", "--rate", "inf"], "--rate: "),
        (["keys", "create", "--name", "n", "--rate", "1", "--burst", "0"], "--rate: a burst"),
        (["keys", "create", "--name", "n", "--burst", "5"], "--burst needs --rate"),
        (["keys", "create", "--name", "n", "--expires-in", "90"], "not a duration like 90d"),
        (["keys", "create", "--name", "n", "--expires-in", "0d"], "cannot expire at once"),
        (["keys", "create", "--name", "n", "--expires-in", "-1d"], "expected one argument"),
        (["keys", "revoke"], "the following arguments are required: ID"),
        (["audit", "--last", "0"], "not a number from 1 to 10000"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    run: Run, settings: Settings, capsys: Captured, arguments: list[str], reason: str
) -> None:
    """Exit code 2, and no key is made."""
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert reason in told.err
    assert keys_in(settings) == []


def test_without_redis_url_the_homes_own_server_has_the_keys(tmp_path: Path, capsys: Captured) -> None:
    """Whether a stack runs or not: the server is used, or started for the moment."""
    assert main(["keys", "create", "--name", "n"]) == 0
    token = capsys.readouterr().out
    with EmbeddedServer(tmp_path / "home") as server:
        assert main(["keys", "list"]) == 0
        assert server.is_running()
    assert token.split("_")[1] in capsys.readouterr().out
    assert not EmbeddedServer(tmp_path / "home").is_running()


def test_a_server_that_is_away_is_told_in_one_line(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, without the password of the URL."""
    monkeypatch.setenv("REDIS_URL", "redis://:pa55word@127.0.0.1:1")
    assert main(["keys", "list"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("arqway: Redis does not answer: ")
    assert error.count("\n") == 1
    assert "pa55word" not in error


def test_the_audit_log_has_what_was_done_to_keys(run: Run) -> None:
    """Each key that was made or revoked, by whom, the oldest first; the latest ones if not all are asked for."""
    key_id = run("keys", "create", "--name", "n").split("_")[1]
    run("keys", "revoke", key_id)
    heading, made, revoked = run("audit").splitlines()

    assert heading.split()[:3] == ["WHEN", "WHO", "KEY"]
    assert f"key.create  {key_id}" in made
    assert f"key.revoke  {key_id}" in revoked
    assert "(command line)" in made
    assert run("audit", "--last", "1").splitlines()[1:] == [revoked]


def test_an_entry_cannot_play_with_the_terminal(run: Run, settings: Settings) -> None:
    """Control characters of what was acted upon are spelled out."""

    async def write() -> None:
        async with open_access(settings) as access:
            await access.audit.write(_entry("\x1b[2Jgone\nand forged"))

    asyncio.run(write())
    output = run("audit")
    assert "\x1b" not in output
    assert len(output.splitlines()) == 2
    assert "\\x1b[2Jgone\\nand forged" in output


def _entry(target: str) -> AuditEntry:
    return AuditEntry(action="queue.pause", target=target, key_id="k", name="n", tenant="t")


async def test_the_audit_log_is_capped(settings: Settings) -> None:
    """It keeps about the last 10,000 entries, and no fewer."""
    async with open_access(settings) as access:
        for _ in range(11):
            await asyncio.gather(*(access.audit.write(_entry("q")) for _ in range(1_000)))
        kept = await access.audit.last(20_000)
    assert 10_000 <= len(kept) < 10_200


async def test_the_client_commands_send_the_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ARQWAY_API_KEY `submit` and `status` get in; without it they tell in one line that a key is needed."""
    locked = service_settings(settings, auth="keys")
    monkeypatch.setenv("ARQWAY_API_KEY", await make_key(settings))
    async with served(create_app(locked, JOBS), locked) as server:

        def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
            call = [sys.executable, "-P", "-m", "arqway.service.cli", *arguments, "--url", server.url]
            return subprocess.run(call, capture_output=True, text=True, check=False)

        submitted = await asyncio.to_thread(command, "submit", "test.sum", "[1]")
        read = await asyncio.to_thread(command, "status", submitted.stdout.strip())
        monkeypatch.delenv("ARQWAY_API_KEY")
        refused = await asyncio.to_thread(command, "status", submitted.stdout.strip())

    assert (submitted.returncode, read.returncode) == (0, 0)
    assert '"state": "queued"' in read.stdout
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "API key is needed" in refused.stderr


@pytest.mark.parametrize("value", ["two words", "größe", "new\nline"])
def test_a_key_that_cannot_be_one_is_told(capsys: Captured, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """In one line that does not repeat it."""
    monkeypatch.setenv("ARQWAY_API_KEY", value)
    assert main(["status", "id", "--url", "http://127.0.0.1:1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("arqway: ARQWAY_API_KEY cannot be an API key")
    assert value not in error
