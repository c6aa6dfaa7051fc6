"""`compose.yaml` for real: Redis, the API and two workers in containers."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.api_keys import bearer
from tests.support.processes import arqway
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
Compose = Callable[..., str]

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("docker")]


@pytest.fixture
def port() -> int:
    """A free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        found: int = probe.getsockname()[1]
        return found


@pytest.fixture
def compose(port: int) -> Iterator[Compose]:
    """``compose(*arguments)`` on a project of its own, with its volumes removed afterwards."""
    program = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
    environment = {**os.environ, "ARQWAY_PORT": str(port), "COMPOSE_PROJECT_NAME": f"arqway-{uuid4().hex[:8]}"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*program, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    run("down", "--volumes", "--timeout", "20")


def health_of(containers: list[str]) -> list[str]:
    """Return what Docker thinks of the containers' health."""
    inspect = ["docker", "inspect", "--format", "{{.State.Health.Status}}", *containers]
    return subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.split()


async def test_compose_serves_reports_with_two_workers(compose: Compose, port: int, tmp_path: Path) -> None:
    """All services come up, the doctor finds nothing wrong, a report is made and downloaded, on 127.0.0.1 only.

    Whoever reads the log of `keys` has the one key that the API lets in; starting again makes no other.
    """
    url = f"http://127.0.0.1:{port}"

    async def ready() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{url}/readyz")).is_success
        except httpx.TransportError:
            return False

    compose("up", "--detach", "--build", "--scale", "worker=2")
    await wait_until(ready, "the API in its container is ready", timeout_s=60)

    workers = compose("ps", "--quiet", "worker").split()
    assert len(workers) == 2
    await wait_until(lambda: health_of(workers) == ["healthy"] * 2, "both workers are ready", timeout_s=60)
    assert compose("port", "api", "8000").strip() == f"127.0.0.1:{port}"
    assert "WRONG" not in compose("exec", "-T", "worker", "arqway", "doctor")

    (key,) = re.findall(r"arqway_[0-9a-f]{12}_[0-9a-f]{64}", compose("logs", "--no-log-prefix", "keys"))
    compose("up", "--detach", "--scale", "worker=2")
    assert len(compose("exec", "-T", "worker", "arqway", "keys", "list").splitlines()) == 2

    async with httpx.AsyncClient(base_url=url) as stranger:
        assert (await stranger.get("/jobs/nobody")).status_code == 401
    async with httpx.AsyncClient(base_url=url, headers=bearer(key)) as client:
        job = (await client.post("/reports", json={"user_id": 14048})).json()["task_id"]
        with arqway(tmp_path, "watch", job, "--url", url, changes={"ARQWAY_API_KEY": key}) as watch:
            assert await watch.ends(timeout_s=60) == 0, watch.output
        assert (await client.get(f"/reports/{job}/file")).content.startswith(b"%PDF-")
