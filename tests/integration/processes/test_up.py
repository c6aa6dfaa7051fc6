"""`arqway up` and its parts as real processes on a free port: they start, tell, and end together."""

import os
import socket
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import httpx
import pytest

from arqway.workers.processes.embedded import EmbeddedServer
from tests.support.processes import Command, all_end, arqway, descendants
from tests.support.waiting import wait_until

READY = "Ctrl-C stops everything."
API, WORKER = "api", "arqway.workers"
"""A word in the command line of each part's process."""


_DIES = """
import os, sys
from arqway.workers.jobs import JOBS
if "--lifeline" in sys.argv:
    os._exit(3)
"""
"""Dies in the processes of the stack, not where it is only looked at."""


@pytest.fixture(autouse=True)
def _free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `up` choose its port."""
    monkeypatch.setenv("ARQWAY_PORT", "0")


def part_of(command: Command, part: str) -> int:
    """Return the process id of the stack's API or worker."""
    (pid, *_) = descendants(command.process.pid, part)
    return pid


def submit_report(command: Command) -> str:
    """Submit a report to the stack's API and return the job's id."""
    job_id: str = httpx.post(f"{command.url()}/jobs/report.generate", json={"user_id": 14048}).json()["id"]
    return job_id


async def succeeds(command: Command, job: str) -> None:
    """Return once a job has succeeded."""

    async def succeeded() -> bool:
        state: str = command.get(f"/jobs/{job}").json()["state"]
        return state == "succeeded"

    await wait_until(succeeded, "the job succeeds", timeout_s=20)


@pytest.mark.parametrize("stop", [SIGINT, SIGTERM])
async def test_up_tells_its_urls_and_a_signal_ends_all_of_it(tmp_path: Path, stop: Signals) -> None:
    """The URLs answer; after the signal the exit code is 0 and no child is left."""
    with arqway(tmp_path, "up") as up:
        await up.says(READY)
        for path in ("/readyz", "/docs"):
            assert f"{up.url()}{path}" in up.output
            assert up.get(path).status_code == 200
        children = descendants(up.process.pid)
        assert len(children) >= 3

        up.signal(stop)

        assert await up.ends() == 0
        await all_end(children, "the children of `up` end")


async def test_jobs_survive_a_restart_of_everything(tmp_path: Path) -> None:
    """What the API said about a job before the stack was stopped it says again after the next start."""
    with arqway(tmp_path, "up") as up:
        await up.says(READY)
        job = submit_report(up)
        up.signal(SIGINT)
        assert await up.ends() == 0

    with arqway(tmp_path, "up", name="again") as up:
        await up.says(READY)
        await succeeds(up, job)


async def test_a_home_runs_one_stack(tmp_path: Path) -> None:
    """A second `up` on the same home ends with one line and exit code 2; the first does not notice."""
    with arqway(tmp_path, "up") as first:
        await first.says(READY)
        with arqway(tmp_path, "up", name="second") as second:
            assert await second.ends() == 2
        assert second.output.count("\n") == 1
        assert f"in use by process {first.process.pid}" in second.output
        assert first.get("/readyz").status_code == 200


async def test_a_killed_worker_is_started_again_and_its_report_completes(tmp_path: Path) -> None:
    """After kill -9 of the worker that makes a report the next one makes it; `up` says so and goes on."""
    with arqway(tmp_path, "up") as up:
        await up.says(READY)
        worker = part_of(up, WORKER)
        job = submit_report(up)

        os.kill(worker, SIGKILL)

        await succeeds(up, job)
        assert "was ended by SIGKILL" in up.output
        assert part_of(up, WORKER) != worker
        up.signal(SIGINT)
        assert await up.ends() == 0


async def test_a_killed_api_is_started_again(tmp_path: Path) -> None:
    """After kill -9 of the API it answers again at the same address, and knows the jobs."""
    with arqway(tmp_path, "up") as up:
        await up.says(READY)
        job = submit_report(up)
        os.kill(part_of(up, API), SIGKILL)

        async def answers() -> bool:
            try:
                return up.get("/readyz").is_success
            except httpx.TransportError:
                return False

        await wait_until(answers, "the API answers again", timeout_s=20)
        await succeeds(up, job)
        up.signal(SIGINT)
        assert await up.ends() == 0


async def test_up_gives_up_on_what_dies_again_and_again(tmp_path: Path) -> None:
    """It says which part, how and how often, stops the others, and its exit code is 1."""
    (tmp_path / "dies.py").write_text(_DIES)
    with arqway(tmp_path, "up", changes={"ARQWAY_JOBS": "dies:JOBS"}) as up:
        assert await up.ends(timeout_s=30) == 1
        assert "ended with exit code 3, 6 times in a row, so everything stops" in up.output
        assert descendants(up.process.pid) == []
    assert not EmbeddedServer(tmp_path / "home").is_running()


async def test_a_killed_up_leaves_no_part_behind_and_its_server_to_the_next(tmp_path: Path) -> None:
    """After SIGKILL the API and the worker end by themselves; the server is adopted by the next `up`."""
    with arqway(tmp_path, "up") as up:
        await up.says(READY)
        parts = [part_of(up, API), part_of(up, WORKER)]
        up.signal(SIGKILL)
        await all_end(parts, "the API and the worker of a killed `up` end")

        with arqway(tmp_path, "up", name="next") as following:
            await following.says(READY)
            assert "adopted the server that was left running" in following.output
            following.signal(SIGINT)
            assert await following.ends() == 0
        assert not EmbeddedServer(tmp_path / "home").is_running()


async def test_no_server_is_started_beside_the_one_in_redis_url(tmp_path: Path, redis_url: str) -> None:
    """With REDIS_URL set the stack uses that server, and its home has no data of another."""
    with arqway(tmp_path, "up", changes={"REDIS_URL": redis_url}) as up:
        await up.says(READY)
        assert "the server in REDIS_URL" in up.output
        assert up.get("/readyz").status_code == 200
        assert not (tmp_path / "home" / "valkey").exists()
        up.signal(SIGINT)
        assert await up.ends() == 0


async def test_parts_started_alone_share_the_embedded_server(tmp_path: Path) -> None:
    """`arqway worker` starts the home's server, `arqway api` attaches to it, and a job goes through both."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with arqway(tmp_path, "worker", name="worker") as worker:
        await worker.says("Worker started")
        with arqway(tmp_path, "api", changes={"ARQWAY_PORT": str(port)}, name="api") as api:
            await api.says("The service listens on")
            with arqway(tmp_path, "submit", "report.generate", '{"user_id": 1}', "--url", url, name="submit") as submit:
                assert await submit.ends() == 0
            with arqway(tmp_path, "watch", submit.output.strip(), "--url", url, name="watch") as watch:
                assert await watch.ends() == 0
            api.signal(SIGINT)
            assert await api.ends() == 0
        assert EmbeddedServer(tmp_path / "home").is_running()
        worker.signal(SIGTERM)
        assert await worker.ends() == 0
    assert not EmbeddedServer(tmp_path / "home").is_running()
