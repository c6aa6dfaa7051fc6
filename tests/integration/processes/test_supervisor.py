"""`arqway worker`: worker processes that are kept running, told to stop, and not started again for ever in vain."""

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest
from redis import Redis

from arqway import JobState
from arqway.workers.client import JobQueue
from arqway.workers.store import workers as fleet
from arqway.workers.store.attempts import Claim
from tests.support.fleet import UNFIT, fleet_at, gate, hold, lines, living, queue_at, supervised
from tests.support.processes import descendants
from tests.support.waiting import wait_until

LEASE_MS = 10_000
STARTED_AGAIN = "A process has ended and is started again"
_DIES = """
import os, pathlib, sys
from arqway.workers.jobs import JOBS
if "--id" in sys.argv:  # in a worker process, not where the module is only looked at
    with pathlib.Path(__file__).with_name("starts").open("a") as file:
        print(os.getpid(), file=file)
    os._exit(3)
"""


async def test_a_process_that_dies_at_once_is_started_again_with_growing_pauses(tmp_path: Path, redis_url: str) -> None:
    """The waits double, with jitter; there is never more than one process; and the supervisor runs none of its code."""
    (tmp_path / "dies.py").write_text(_DIES)

    def starts() -> list[str]:
        return (tmp_path / "starts").read_text().split() if (tmp_path / "starts").exists() else []

    with supervised(tmp_path, redis_url, jobs="dies:JOBS") as command:

        def many_waits() -> bool:
            assert len(descendants(command.process.pid)) <= 1
            return len(lines(command, STARTED_AGAIN)) >= 5

        await wait_until(many_waits, "five pauses", timeout_s=20)
        command.signal(SIGTERM)
        assert await command.ends() == 0
    waits = [line["wait_s"] for line in lines(command, STARTED_AGAIN)]
    assert all(0.025 * 2**n <= wait_s <= 0.0505 * 2**n for n, wait_s in enumerate(waits))
    assert {line["ended"] for line in lines(command, STARTED_AGAIN)} == {"ended with exit code 3"}
    assert len(set(starts())) == len(starts()) <= len(waits) + 1
    assert str(command.process.pid) not in starts()


async def test_a_configuration_that_cannot_work_ends_it(tmp_path: Path, redis_url: str) -> None:
    """Where every process says so at its start, the reason and the end are told, and the exit code is 1."""
    (tmp_path / "unfit.py").write_text(UNFIT)
    with supervised(tmp_path, redis_url, "--processes", "2", jobs="unfit:JOBS") as command:
        assert await command.ends() == 1
    assert "arqway worker: there is no pen" in command.output
    assert "arqway: every start of the worker has ended with exit code 2" in command.output


@pytest.mark.parametrize("stop", [SIGINT, SIGTERM])
async def test_a_signal_drains_every_process(tmp_path: Path, redis_url: str, stop: Signals) -> None:
    """A job that ends within the drain time is settled; then the exit code is 0, and no process is left."""
    with (
        gate(tmp_path / "gate") as folder,
        supervised(tmp_path, redis_url, "--processes", "2", drain_s=20) as command,
    ):
        async with queue_at(redis_url) as jobs, fleet_at(redis_url) as workers:
            await living(workers, 2)
            job_id = await running_job(jobs, folder)
            command.signal(stop)
            await wait_until(lambda: len(lines(command, "Stopping")) == 2, "both processes are told")
            (folder / "finish").touch()
            assert await command.ends() == 0
            record = await jobs.read(job_id)
        assert descendants(command.process.pid) == []
    assert (record.state, record.interrupts) == (JobState.SUCCEEDED, 0)
    assert lines(command, STARTED_AGAIN) == []


async def test_a_second_signal_hands_the_jobs_back_at_once(tmp_path: Path, redis_url: str) -> None:
    """The drain time is cut short, the job is queued again at no cost, and the exit code is 0."""
    with gate(tmp_path / "gate") as folder, supervised(tmp_path, redis_url, drain_s=60) as command:
        async with queue_at(redis_url) as jobs:
            job_id = await running_job(jobs, folder)
            command.signal(SIGTERM)
            await command.says("Stopping")
            command.signal(SIGTERM)
            assert await command.ends(timeout_s=10) == 0
            record = await jobs.read(job_id)
            await jobs.cancel(job_id)
    assert (record.state, record.attempt, record.interrupts) == (JobState.QUEUED, 0, 1)


async def test_a_process_that_ends_by_itself_is_started_again(tmp_path: Path, redis_url: str) -> None:
    """Somebody's SIGTERM to a worker process drains it; the next one comes, under another id."""
    with supervised(tmp_path, redis_url) as command:
        async with fleet_at(redis_url) as workers:
            (first,) = await living(workers, 1)
            os.kill(first.pid, SIGTERM)

            async def another() -> bool:
                return [worker.id for worker in await workers.read()] not in ([], [first.id])

            await wait_until(another, "another worker beats")
        command.signal(SIGTERM)
        assert await command.ends() == 0


async def running_job(jobs: JobQueue, folder: Path) -> str:
    """Submit a job, and return its id once it runs."""
    job_id = (await jobs.submit(hold, str(folder))).id

    async def runs() -> bool:
        return (await jobs.read(job_id)).state is JobState.RUNNING

    await wait_until(runs, "the job runs", timeout_s=20)
    return job_id


async def test_the_release_touches_the_dead_workers_jobs_alone(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In portions of two: all jobs of the dead worker are due, those of others and scheduled ones stay as they are."""
    monkeypatch.setattr(fleet, "_PORTION", 2)
    async with queue_at(redis_url) as jobs, fleet_at(redis_url) as workers:
        claim = claimer(jobs)
        for _ in range(10):
            await jobs.submit(hold, str(tmp_path))
        soon = await jobs.submit(hold, str(tmp_path), delay=timedelta(milliseconds=LEASE_MS // 2))
        dead, alive = [], []
        for _ in range(5):
            dead += await claim("dead", 1)
            alive += await claim("alive", 1)

        assert await workers.release("default", "dead", lease_ms=LEASE_MS) == 5

        rescued = await claim("next", 10)
        assert {job.id for job in rescued} == {job.id for job in dead}
        assert {job.rescues for job in rescued} == {1}
        assert await workers.release("default", "dead", lease_ms=LEASE_MS) == 0
        assert await claim("next", 10) == []
        assert {(await jobs.read(job.id)).worker for job in alive} == {"alive"}
        assert (await jobs.cancel(soon.id)).state is JobState.CANCELLED
        assert await workers.release("default", "alive", lease_ms=LEASE_MS) == 5
        assert len(await claim("next", 10)) == 5
    with Redis.from_url(redis_url) as client:
        client.flushall()  # the jobs still run, as far as anybody knows


def claimer(jobs: JobQueue) -> Callable[[str, int], Awaitable[list[Claim]]]:
    """Return a function that claims as a worker does."""
    tokens = iter(range(1000))

    async def claim(worker: str, want: int) -> list[Claim]:
        prefix = f"{next(tokens)}."
        found = await jobs._store.claim("default", want=want, lease_ms=LEASE_MS, worker=worker, token_prefix=prefix)
        return found.jobs

    return claim
