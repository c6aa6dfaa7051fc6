"""``python -m arqway.service`` as a process: what it says when it cannot start, and that it ends when told to."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import wait_until

NOWHERE = "redis://127.0.0.1:1"


def start(**variables: str) -> "subprocess.Popen[str]":
    """Start the service with these variables, besides what the test's own environment has."""
    return subprocess.Popen(
        [sys.executable, "-m", "arqway.service"],
        env={**os.environ, "ARQWAY_JOBS": "tests.support.http_jobs:JOBS", "ARQWAY_LOG_FORMAT": "json", **variables},
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "REDIS_URL"),
        ({"REDIS_URL": "http://x"}, "REDIS_URL"),
        ({"REDIS_URL": NOWHERE, "ARQWAY_PORT": "99999"}, "ARQWAY_PORT"),
        ({"REDIS_URL": NOWHERE, "ARQWAY_JOBS": "no.such:JOBS"}, "no.such:JOBS"),
        ({"REDIS_URL": NOWHERE, "ARQWAY_CORS_ORIGINS": "not json"}, "ARQWAY_CORS_ORIGINS"),
        ({"REDIS_URL": NOWHERE, "ARQWAY_HOST": "no.such.host.invalid"}, "no.such.host.invalid"),
    ],
)
def test_a_configuration_that_cannot_work_is_one_line(variables: dict[str, str], named: str) -> None:
    """Exit code 2, and a single line that names what to mend."""
    with start(**variables) as process:
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert named in errors


def test_a_taken_port_is_one_line() -> None:
    """Exit code 2, and a single line that names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with start(REDIS_URL=NOWHERE, ARQWAY_PORT=port) as process:
            _, errors = process.communicate(timeout=30)

    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert port in errors


async def test_the_process_serves_without_redis_until_sigterm() -> None:
    """It starts where no Redis answers, serves, and ends by itself on SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with start(REDIS_URL=NOWHERE, ARQWAY_PORT=port) as process:

        async def answers() -> bool:
            try:
                async with httpx.AsyncClient() as client:
                    return (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(answers, "the service is alive", timeout_s=30)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)

    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in errors
    assert f"http://127.0.0.1:{port}" in errors
