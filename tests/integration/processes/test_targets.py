"""The user's module in the real commands: found, told of in the same words where it is broken, and never shadowing."""

import json
import sys
from pathlib import Path
from signal import SIGINT, SIGTERM

import httpx
import pytest

from arqway import JobState
from tests.support.processes import Command, arqway, descendants
from tests.support.waiting import wait_until

JOBS = '''
from pathlib import Path

from arqway import JobContext, Registry, job


@job("shop.ship")
async def ship(ctx: JobContext, number: int) -> str:
    """Ship an order."""
    return f"order {number} shipped"


JOBS = Registry([ship])
'''
_OBJECT = '''
from shop.jobs import JOBS
from arqway.service.settings import ServiceSettings


class Composed:
    """As the service's object looks to those that load it."""

    registry = JOBS
    explicit_settings = ServiceSettings(home="own", port=0, queues=("parcels",), access_log=False, log_format="json")


main = Composed()
'''


def write_shop(folder: Path, **files: str) -> None:
    """Write the package ``shop`` into a folder."""
    (folder / "shop").mkdir(exist_ok=True)
    for name, code in {"__init__": "", "jobs": JOBS, **files}.items():
        (folder / "shop" / f"{name}.py").write_text(code)


def submit(command: Command) -> str:
    """Submit a job to the stack and return its id."""
    job_id: str = httpx.post(f"{command.url()}/jobs/shop.ship", json=7).json()["id"]
    return job_id


async def ships(command: Command) -> None:
    """Submit a job to the stack, and return once it has succeeded."""
    job_id = submit(command)

    def succeeded() -> bool:
        state: str = command.get(f"/jobs/{job_id}").json()["state"]
        return state == JobState.SUCCEEDED

    await wait_until(succeeded, "the order is shipped", timeout_s=20)


@pytest.mark.parametrize("command", ["up", "api", "worker", "doctor"])
@pytest.mark.parametrize("by", ["argument", "variable"])
async def test_a_broken_module_is_told_in_the_same_words_by_every_command(
    tmp_path: Path, command: str, by: str
) -> None:
    """At once, in one line with file and line, exit code 2 (doctor: its own), and nothing was started for it."""
    write_shop(tmp_path, jobs="# A remark.\nimport shop.models\n")
    arguments = [command, "shop.jobs:JOBS"] if by == "argument" else [command]
    with arqway(tmp_path, *arguments, changes={"ARQWAY_PORT": "0", "ARQWAY_JOBS": "shop.jobs:JOBS"}) as run:
        code = await run.ends()
    told = "shop/jobs.py, line 2: ModuleNotFoundError: No module named 'shop.models'\n"
    if command == "doctor":
        assert code == 1
        assert f"WRONG  jobs         {told}" in run.output
    else:
        assert (code, run.output) == (2, f"arqway {command}: {told}")
        assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", ["up", "worker"])
async def test_a_registry_without_jobs_is_refused(tmp_path: Path, command: str) -> None:
    """There would be nothing for a worker to run; one line, exit code 2."""
    write_shop(tmp_path, jobs="from arqway import Registry\nJOBS = Registry([])\n")
    with arqway(tmp_path, command, "shop.jobs:JOBS", changes={"ARQWAY_PORT": "0"}) as run:
        assert await run.ends() == 2
    assert run.output == f"arqway {command}: shop.jobs:JOBS has no jobs, so there is nothing to run\n"


async def test_files_of_the_current_folder_take_nobodys_place(tmp_path: Path) -> None:
    """Neither ours nor a library's nor Python's, in any process; and the user's own module is found there."""
    (tmp_path / "arqway").mkdir()
    for name in ("arqway/__init__", "service", "workers", "redis", "asyncio", "email", "typst"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the current folder')\n")
    write_shop(tmp_path)
    with arqway(tmp_path, "up", "shop.jobs:JOBS", changes={"ARQWAY_PORT": "0"}) as up:
        await up.says("Ctrl-C stops everything.")
        await ships(up)
        up.signal(SIGINT)
        assert await up.ends() == 0
    assert "of the current folder" not in up.output


async def test_settings_that_the_object_brings_win_over_the_environment(tmp_path: Path) -> None:
    """For the stack, its API and its workers; the embedded server and the chosen port win over them."""
    write_shop(tmp_path, main=_OBJECT)
    changes = {"ARQWAY_HOME": "other", "ARQWAY_QUEUES": "default", "ARQWAY_PORT": "1", "ARQWAY_LOG_FORMAT": "console"}
    with arqway(tmp_path, "up", "shop.main:main", changes=changes) as up:
        await up.says("Ctrl-C stops everything.")
        assert "data in own/valkey" in up.output
        await up.says("Worker started")
        assert up.get("/readyz").status_code == 200
        workers = up.get("/workers").json()["workers"]
        assert [worker["queues"] for worker in workers] == [["parcels"]]
        up.signal(SIGINT)
        assert await up.ends() == 0
    assert not (tmp_path / "other").exists()
    assert "GET /readyz" not in up.output
    assert any(json.loads(line)["message"] == "Worker started" for line in up.output.splitlines() if line[:1] == "{")


async def test_the_processes_of_a_part_differ_by_their_options(tmp_path: Path, redis_url: str) -> None:
    """Two workers with health ports side by side: one environment, and each its own port in its command."""
    write_shop(tmp_path)
    changes = {"REDIS_URL": redis_url, "ARQWAY_WORKER_HEALTH_PORT": "47310"}
    with arqway(tmp_path, "worker", "shop.jobs:JOBS", "--processes", "2", changes=changes) as worker:
        await wait_until(lambda: _answers("47310") and _answers("47311"), "both workers answer", timeout_s=30)
        assert [len(descendants(worker.process.pid, port)) for port in ("47310", "47311")] == [1, 1]
        assert descendants(worker.process.pid, redis_url) == []
        worker.signal(SIGTERM)
        assert await worker.ends() == 0


def _answers(port: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("command", ["up", "worker", "api"])
async def test_reloading_says_what_it_needs(tmp_path: Path, command: str) -> None:
    """Without watchfiles ``--reload`` names the extra that has it, and exits with 2."""
    write_shop(tmp_path)
    program = (
        "import sys; from importlib import util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'watchfiles' else find(name, *rest)\n"
        f"from arqway.service.cli import main; sys.exit(main([{command!r}, 'shop.jobs:JOBS', '--reload']))"
    )
    (tmp_path / "run.py").write_text(program)
    with arqway(tmp_path, command=[sys.executable, "run.py"], changes={"ARQWAY_PORT": "0"}) as run:
        assert await run.ends() == 2
    assert run.output == "arqway: --reload needs watchfiles, not installed: pip install 'arqway[reload]'\n"
