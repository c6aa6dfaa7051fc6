"""Jobs that kill their worker: a dead letter after three rescues, and no harm to the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis

from arqway import JobState
from arqway.workers.client import JobQueue
from tests.faults.conftest import StartCrew
from tests.support.fault_jobs import Work, notes, poison, work
from tests.support.fault_records import all_end, all_succeeded, ended_once, unfinished
from tests.support.fault_workers import Crew
from tests.support.waiting import wait_until

RUNS = 4
"""The first, and three rescues."""


@asynccontextmanager
async def kept_running(crew: Crew, count: int) -> AsyncIterator[None]:
    """Start another worker for each that dies."""

    async def keep() -> None:
        while True:
            await wait_until(lambda: len(crew.alive) < count, "a worker dies", timeout_s=3600)
            crew.launch()

    await crew.start(count)
    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


@pytest.mark.timeout(90)
async def test_a_job_that_kills_its_workers_becomes_a_dead_letter(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """It runs four times and ends as failed, ``worker_lost``; short jobs go on meanwhile, and all succeed."""
    crew = start_crew(lease_s=1, max_jobs=4)
    others: list[str] = []
    async with kept_running(crew, 2):
        poisoned = (await jobs.submit(poison, Work(folder=place))).id
        while not (record := await jobs.read(poisoned)).finished:
            others.append((await jobs.submit(work, Work(folder=place, seconds=0.02))).id)
            await wait_until(lambda: unfinished(client) < 5, "other jobs go on", timeout_s=20)
        await all_end(client, timeout_s=20)

    await ended_once(jobs, client, [poisoned])
    assert record.failure is not None
    assert (record.state, record.failure.code, record.attempt) == (JobState.FAILED, "worker_lost", 1)
    assert [line.job_id for line in notes(place, "begin")].count(poisoned) == RUNS
    assert len(crew.workers) == 2 + RUNS
    await all_succeeded(jobs, client, others)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("seconds", [0, 1], ids=["kills at once", "kills later"])
async def test_long_jobs_beside_a_poisonous_one_do_not_share_its_fate(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew, seconds: float
) -> None:
    """Jobs that ran in the killed worker, the only one, and take longer than it lives, succeed nevertheless."""
    crew = start_crew(lease_s=1, max_jobs=10)
    async with kept_running(crew, 1):
        others = [(await jobs.submit(work, Work(folder=place, seconds=2.5))).id for _ in range(4)]
        await wait_until(lambda: len(notes(place, "begin")) == len(others), "the long jobs run")
        poisoned = (await jobs.submit(poison, Work(folder=place, seconds=seconds))).id
        await all_end(client, timeout_s=60)
    (record,) = await ended_once(jobs, client, [poisoned])
    assert record.failure is not None
    assert record.failure.code == "worker_lost"
    await all_succeeded(jobs, client, others)
