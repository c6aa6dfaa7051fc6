"""A team's own jobs, in a package outside of this repository, served by the real `arqway up`."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGINT

import pytest

from tests.support.processes import Command, arqway

PACKAGE = '''
import asyncio

from pydantic import BaseModel

from arqway import DiscardJob, JobContext, Registry, job


class Order(BaseModel):
    number: int


@job("shop.ship")
async def ship(ctx: JobContext, order: Order) -> str:
    """Ship an order."""
    await ctx.progress(1, total=2, message="Packed")
    return f"order {order.number} shipped"


@job("shop.refuse")
async def refuse(ctx: JobContext, order: Order) -> None:
    """Refuse an order."""
    raise DiscardJob("sold_out", "There is none left.")


@job("shop.wait")
async def wait(ctx: JobContext, order: Order) -> None:
    """Wait for ever."""
    await ctx.progress(0, total=1, message="Waiting")
    await asyncio.Event().wait()


JOBS = Registry([ship, refuse, wait])
'''


@pytest.fixture
async def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Command]:
    """`arqway up` with the jobs of a package in a folder of its own; the client commands find it by ARQWAY_URL."""
    package = tmp_path / "shop" / "shop_jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "registry.py").write_text(PACKAGE)
    path = os.pathsep.join(filter(None, (str(package.parent), os.environ.get("PYTHONPATH"))))
    changes = {"ARQWAY_JOBS": "shop_jobs.registry:JOBS", "ARQWAY_PORT": "0", "PYTHONPATH": path}
    with arqway(tmp_path, "up", changes=changes) as command:
        await command.says("Ctrl-C stops everything.")
        monkeypatch.setenv("ARQWAY_URL", command.url())
        yield command
        command.signal(SIGINT)
        assert await command.ends() == 0


async def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a client command and return its exit code and output."""
    with arqway(folder, *arguments, name="client") as command:
        code = await command.ends()
        return code, command.output.strip()


@pytest.mark.usefixtures("up")
async def test_a_job_is_submitted_watched_and_read(tmp_path: Path) -> None:
    """`submit` prints the id alone, `watch` ends with 0 and the result, `status` prints the job as JSON."""
    code, job_id = await run(tmp_path, "submit", "shop.ship", '{"number": 7}')
    assert (code, len(job_id.split())) == (0, 1)

    code, seen = await run(tmp_path, "watch", job_id)
    assert code == 0
    assert seen.splitlines()[-1] == '"order 7 shipped"'

    code, view = await run(tmp_path, "status", job_id)
    assert code == 0
    assert json.loads(view)["state"] == "succeeded"

    assert await run(tmp_path, "cancel", job_id) == (2, f"arqway: Job {job_id} has finished already.")


@pytest.mark.usefixtures("up")
async def test_a_job_that_does_not_succeed_gives_watch_exit_code_1(tmp_path: Path) -> None:
    """A failed job is shown with its reason; a cancelled one ends the watching too."""
    _, refused = await run(tmp_path, "submit", "shop.refuse", '{"number": 7}')
    code, seen = await run(tmp_path, "watch", refused)
    assert code == 1
    assert "There is none left. (sold_out)" in seen

    _, waiting = await run(tmp_path, "submit", "shop.wait", '{"number": 7}')
    with arqway(tmp_path, "watch", waiting, name="watch") as watch:
        await watch.says("Waiting")
        assert await run(tmp_path, "cancel", waiting) in {(0, "still running; it was asked to stop"), (0, "cancelled")}
        assert await watch.ends() == 1
        assert "cancelled" in watch.output


@pytest.mark.usefixtures("up")
async def test_what_the_api_refuses_is_told_in_one_line_with_exit_code_2(tmp_path: Path) -> None:
    """A payload that does not fit, a kind and an id that nobody knows: the reason, and nothing else."""
    refusals = [
        (("submit", "shop.ship", '{"number": "seven"}'), "number: Input should be a valid integer"),
        (("submit", "shop.burn", "{}"), "No job of this kind is registered."),
        (("status", "no-such-job"), "There is no job no-such-job."),
        (("watch", "../docs"), ""),
        (("cancel", "no-such-job"), "There is no job no-such-job."),
    ]
    for arguments, reason in refusals:
        code, output = await run(tmp_path, *arguments)
        assert code == 2, output
        assert output.startswith("arqway: ")
        assert output.count("\n") == 0
        assert reason in output
