"""New code without a restart of everything: ``--reload`` when a file changes, and SIGHUP for workers."""

import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM

import httpx
import pytest

from arqway import JobRecord, JobState
from arqway.workers.client import JobQueue
from arqway.workers.contract.worker import WorkerRecord
from tests.support.fleet import UNFIT, fleet_at, gate, hold, lines, living, queue_at, supervised
from tests.support.processes import Command, arqway, descendants
from tests.support.waiting import wait_for, wait_until

_VERSION = '''
from arqway import JobContext, Registry, job


@job("shop.version")
async def version(ctx: JobContext, number: int) -> str:
    """Tell that version {version} runs."""
    return "{version}"


JOBS = Registry([version])
'''
REPLACED = "New processes replace those that run"


def is_running(record: JobRecord) -> bool:
    """Tell whether a worker has it."""
    return record.state is JobState.RUNNING


async def replaced_by(redis_url: str, first: WorkerRecord) -> WorkerRecord:
    """Return the worker that has taken the place of the first."""
    found: list[WorkerRecord] = []

    async def another() -> bool:
        found[:] = [worker for worker in await workers.read() if worker.id != first.id]
        return bool(found)

    async with fleet_at(redis_url) as workers:
        await wait_until(another, "another worker beats", timeout_s=30)
    return found[0]


@asynccontextmanager
async def holding(redis_url: str, folder: Path) -> AsyncIterator[tuple[JobQueue, WorkerRecord, str]]:
    """The one worker, and a job that it runs."""
    async with queue_at(redis_url) as jobs, fleet_at(redis_url) as workers:
        (first,) = await living(workers, 1)
        job_id = (await jobs.submit(hold, str(folder))).id
        await wait_for(jobs, job_id, is_running, "runs")
        yield jobs, first, job_id


@pytest.mark.parametrize("drain_s", [30, 0], ids=["drained", "handed over"])
async def test_sighup_replaces_the_workers_and_no_job_is_lost(tmp_path: Path, redis_url: str, drain_s: float) -> None:
    """A job runs through it: to its end in the old process, or, if that may not wait, again in the new one."""
    with (
        gate(tmp_path / "gate") as folder,
        supervised(tmp_path, redis_url, drain_s=drain_s, cancel_grace_s=1) as command,
    ):
        async with holding(redis_url, folder) as (jobs, first, job_id):
            command.signal(SIGHUP)
            second = await replaced_by(redis_url, first)
            if drain_s:
                assert (await jobs.read(job_id)).worker == first.id
            else:
                await wait_for(jobs, job_id, lambda record: record.worker == second.id, "runs in the new process")
            other = (await jobs.submit(hold, str(folder))).id
            await wait_for(jobs, other, lambda record: record.worker == second.id, "runs in the new process")
            (folder / "finish").touch()
            ended = [await jobs.wait(each, timeout_s=20) for each in (job_id, other)]
        await wait_until(lambda: len(descendants(command.process.pid)) == 1, "the old process has ended")
        command.signal(SIGTERM)
        assert await command.ends() == 0
    assert [record.state for record in ended] == [JobState.SUCCEEDED] * 2
    assert [record.attempt for record in ended] == [1, 1]
    assert [record.result for record in ended] == [first.pid if drain_s else second.pid, second.pid]
    assert [record.rescues for record in ended] == [0, 0]


async def test_sighup_with_a_broken_module_changes_nothing(tmp_path: Path, redis_url: str) -> None:
    """The reason is told, and the workers that run go on; the next SIGHUP, after it was mended, replaces them."""
    module = tmp_path / "mine.py"
    module.write_text("from tests.support.fleet import JOBS\n")
    with supervised(tmp_path, redis_url, jobs="mine:JOBS") as command:
        async with fleet_at(redis_url) as workers:
            (first,) = await living(workers, 1)
            module.write_text("(\n")
            command.signal(SIGHUP)
            await command.says("arqway: mine.py, line 1: SyntaxError: '(' was never closed; the running processes")
            assert [worker.id for worker in await workers.read()] == [first.id]
            module.write_text("from tests.support.fleet import JOBS  # mended\n")
            command.signal(SIGHUP)
            await replaced_by(redis_url, first)
        command.signal(SIGTERM)
        assert await command.ends() == 0
    assert len(lines(command, REPLACED)) == 1


async def test_what_was_given_up_on_is_started_again_after_an_edit(tmp_path: Path, redis_url: str) -> None:
    """A worker that can be loaded but not started does not end ``--reload``."""
    module = tmp_path / "mine.py"
    module.write_text(UNFIT)
    with supervised(tmp_path, redis_url, "--reload", jobs="mine:JOBS") as command:
        await command.says("which no restart can fix; it is started again when a file changes")
        module.write_text("from tests.support.fleet import JOBS\n")
        async with fleet_at(redis_url) as workers:
            await living(workers, 1)
        command.signal(SIGTERM)
        assert await command.ends() == 0
    assert "arqway worker: there is no pen" in command.output


async def test_a_closed_terminal_ends_the_workers(tmp_path: Path, redis_url: str) -> None:
    """Its SIGHUP is no wish for new ones: nobody would be left to end them."""
    process, terminal = pty.fork()
    if process == 0:
        changes = {"REDIS_URL": redis_url, "ARQWAY_JOBS": "tests.support.fleet:JOBS"}
        with (tmp_path / "log").open("wb") as log:
            os.dup2(log.fileno(), 2)
        command = (sys.executable, "-P", "-m", "arqway.service.cli", "worker")
        os.execve(sys.executable, command, {**os.environ, **changes})  # noqa: S606 - there is no shell
    try:
        async with fleet_at(redis_url) as workers:
            await living(workers, 1)
        os.close(terminal)
        ended: list[int] = []

        def has_ended() -> bool:
            pid, status = os.waitpid(process, os.WNOHANG)
            ended.extend([status] if pid else [])
            return bool(pid)

        await wait_until(has_ended, "the supervisor ends", timeout_s=20)
        assert os.waitstatus_to_exitcode(ended[0]) == 0
    except BaseException:
        for pid in (*descendants(process), process):
            os.kill(pid, signal.SIGKILL)
        raise
    assert REPLACED not in (tmp_path / "log").read_text()


async def runs_version(command: Command, version: str) -> None:
    """Return once both the API and the worker run this version."""

    def answers() -> bool:
        try:
            prefer = {"Prefer": "wait=5"}
            view = httpx.post(f"{command.url()}/jobs/shop.version", json=1, headers=prefer, timeout=10).json()
            document = httpx.get(f"{command.url()}/openapi.json", timeout=10).text
        except httpx.TransportError:  # the API is being replaced
            return False
        return bool(view.get("result") == version) and f"version {version} runs" in document

    await wait_until(answers, f"version {version} runs", timeout_s=40)


async def test_up_reloads_when_a_file_changes(tmp_path: Path) -> None:
    """An edit is running soon; a broken one is told and changes nothing; the next good one runs again."""
    module = tmp_path / "shop.py"
    module.write_text(_VERSION.format(version="1"))
    with arqway(tmp_path, "up", "shop:JOBS", "--reload", changes={"ARQWAY_PORT": "0"}) as up:
        await up.says("Ctrl-C stops everything.")
        await runs_version(up, "1")
        (tmp_path / "notes.txt").write_text("No Python.")
        module.write_text(_VERSION.format(version="second"))
        await runs_version(up, "second")
        module.write_text("import nothing\n")
        await up.says("arqway: shop.py, line 1: ModuleNotFoundError: No module named 'nothing'; the running processes")
        await runs_version(up, "second")
        module.write_text(_VERSION.format(version="the third"))
        await runs_version(up, "the third")
        up.signal(SIGINT)
        assert await up.ends() == 0
    assert "notes.txt" not in up.output
