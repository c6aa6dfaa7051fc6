"""The command line refuses what it cannot use in one line, with exit code 2."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from arqway.service.cli import main

Captured = pytest.CaptureFixture[str]
HEAVY = {"pydantic", "fastapi", "redis", "arq", "httpx", "rich"}


def refusal(capsys: Captured, *arguments: str) -> str:
    """Run the command, which must end with 2 and one line on stderr; return the line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("arqway: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["sumbit"], "invalid choice: 'sumbit'"),
        (["submit"], "the following arguments are required: KIND, PAYLOAD_JSON"),
        (["submit", "report.generate", "{user_id: 1}"], "argument PAYLOAD_JSON: not JSON"),
        (["submit", "report.generate", ""], "argument PAYLOAD_JSON: not JSON"),
        (["submit", "report.generate", "{}", "extra"], "unrecognized arguments: extra"),
        (["status"], "the following arguments are required: ID"),
        (["status", "id", "--url", "localhost:8000"], "does not start with http:// or https://"),
        (["watch", "id", "--url"], "argument --url: expected one argument"),
        (["up", "--port"], "unrecognized arguments: --port"),
        (["up", "80"], "argument TARGET: '80' is not package.module:NAME"),
        (["worker", "shop.jobs"], "argument TARGET: 'shop.jobs' is not package.module:NAME"),
    ],
)
def test_bad_input_is_told_in_one_line(capsys: Captured, arguments: list[str], reason: str) -> None:
    """The line names what is wrong, and the exit code is 2."""
    assert reason in refusal(capsys, *arguments)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ARQWAY_PROT", "did you mean ARQWAY_PORT?"),
        ("ARQWAY_LEASE", "did you mean ARQWAY_LEASE_S?"),
        ("ARQWAY_REPORT_TYPESETTER", "did you mean ARQWAY_REPORT_TYPESETTERS?"),
        ("ARQWAY_XYZZY_PLUGH_PLOVER", "unset it"),
    ],
)
def test_a_variable_that_nothing_reads_is_refused(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    """A slip in the name of a variable is told with the name that was meant."""
    monkeypatch.setenv(name, "1")

    assert f"nothing reads the variable {name}: {hint}" in refusal(capsys, "status", "id")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ARQWAY_PORT", "http", "ARQWAY_PORT: "),
        ("ARQWAY_PORT", "65536", "ARQWAY_PORT: "),
        ("ARQWAY_QUEUES", "No Name", "ARQWAY_QUEUES: "),
        ("ARQWAY_JOBS", "no-module", "ARQWAY_JOBS: "),
        ("REDIS_URL", "http://127.0.0.1:6379", "REDIS_URL: "),
        ("ARQWAY_HOST", "no such host", "cannot listen on no such host:8000"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    """`arqway up` ends before it has started anything."""
    monkeypatch.setenv(name, value)

    assert reason in refusal(capsys, "up")


def test_a_password_in_a_bad_url_is_not_printed(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the variable, never its value."""
    monkeypatch.setenv("REDIS_URL", "http://user:secret@127.0.0.1")

    assert "secret" not in refusal(capsys, "worker")


@pytest.mark.parametrize("command", ["up", "api"])
def test_a_taken_port_is_told_before_anything_starts(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """The line names the address and the way out; no server was started for it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("ARQWAY_PORT", str(port))

        line = refusal(capsys, command)

    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line
    assert "ARQWAY_PORT" in line
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", ["up", "worker", "demo"])
def test_a_home_that_cannot_be_made_is_told_in_one_line(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """The line names the folder and the reason."""
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARQWAY_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("ARQWAY_PORT", "0")

    assert "cannot be used: Not a directory" in refusal(capsys, command)


@pytest.mark.parametrize("command", [("status", "id"), ("submit", "report.generate", '{"user_id": 1}')])
def test_an_api_that_does_not_run_is_told_in_one_line(capsys: Captured, command: tuple[str, ...]) -> None:
    """It is a failure, exit code 1, and the line says what starts an API."""
    assert main([*command, "--url", "http://127.0.0.1:1"]) == 1

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no API answers at http://127.0.0.1:1" in error
    assert "arqway up" in error


def test_help_loads_nothing_heavy() -> None:
    """`arqway --help` imports none of the libraries that take time."""
    program = """import sys; from arqway.service.cli import main
try: main(['--help'])
finally: print('--', *sys.modules)"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    help_text, _, modules = answer.stdout.partition("\n-- ")

    assert "run the server, the API and a worker" in help_text
    assert HEAVY.isdisjoint(modules.split())


def test_the_version_is_that_of_the_package(capsys: Captured) -> None:
    """`arqway --version` prints one line and succeeds."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("arqway 0.")
