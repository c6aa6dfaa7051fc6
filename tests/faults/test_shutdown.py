"""SIGTERM of a worker: no further claim, time for what runs, the rest handed back at no cost."""

import asyncio
import time
from pathlib import Path
from signal import SIGTERM

import pytest
from redis import Redis

from arqway import JobState
from arqway.workers.client import JobQueue
from tests.faults.conftest import Measured, StartCrew
from tests.support.fault_jobs import Place, Work, deaf, hold, notes, times, work
from tests.support.fault_records import QUEUE, all_end, all_succeeded, submit_surely, unfinished
from tests.support.fault_workers import WorkerProcess
from tests.support.waiting import wait_until

DRAIN_S = 1.5
FLOWING, QUEUED = 1_000, 60
ABANDONED = "A job did not end when told to, and is given up on; it still holds memory and may hold the loop"


async def stopped(worker: WorkerProcess) -> float:
    """Tell a worker to stop, and return when it has heard, by the monotonic clock."""
    worker.signal(SIGTERM)
    await worker.says("Stopping", timeout_s=5)
    return time.monotonic()


async def test_a_stopping_worker_claims_nothing_drains_and_hands_the_rest_back(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """What ends in the drain time is settled; the rest is due at once, at no cost; what came later was not touched."""
    crew = start_crew(drain_s=DRAIN_S, lease_s=30)
    (worker,) = await crew.start()
    short = place / "short"
    short.mkdir()
    ending = [(await jobs.submit(hold, Place(folder=short))).id for _ in range(3)]
    lasting = [(await jobs.submit(hold, Place(folder=place))).id for _ in range(3)]
    await wait_until(lambda: len(notes(place)) + len(notes(short)) == 6, "the jobs run")

    told_s = await stopped(worker)
    late = (await jobs.submit(hold, Place(folder=place))).id
    (short / "finish").touch()
    assert await worker.ends() == 0
    took_s = time.monotonic() - told_s

    measured("from SIGTERM to the exit, drain 1.5 s", [took_s])
    await all_succeeded(jobs, client, ending)
    handed = [await jobs.read(job_id) for job_id in lasting]
    assert {(r.state, r.attempt, r.interrupts, r.rescues) for r in handed} == {(JobState.QUEUED, 0, 1, 0)}
    assert (await jobs.read(late)).state is JobState.QUEUED
    assert late not in times(place, "begin")
    dues = [score for _, score in client.zrange(QUEUE, 0, -1, withscores=True)]  # type: ignore[union-attr]
    assert max(dues) <= time.time() * 1000
    assert DRAIN_S <= took_s + 0.5 < DRAIN_S + 2
    assert crew.complaints() == []
    for job_id in [*lasting, late]:
        await jobs.cancel(job_id)


async def test_a_second_sigterm_does_not_wait(
    jobs: JobQueue, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """With a drain time of a minute, the second signal hands the jobs back and ends the process at once."""
    crew = start_crew(drain_s=60, lease_s=30)
    (worker,) = await crew.start()
    job_id = (await jobs.submit(hold, Place(folder=place))).id
    await wait_until(lambda: notes(place), "the job runs")
    await stopped(worker)
    worker.signal(SIGTERM)
    told_s = time.monotonic()
    assert await worker.ends(timeout_s=5) == 0
    measured("from the second SIGTERM to the exit", [time.monotonic() - told_s])
    record = await jobs.read(job_id)
    assert (record.state, record.attempt, record.interrupts) == (JobState.QUEUED, 0, 1)
    assert crew.complaints() == []
    await jobs.cancel(job_id)


async def test_a_job_that_does_not_end_cannot_hold_a_worker_up(
    jobs: JobQueue, place: Path, start_crew: StartCrew
) -> None:
    """A job that swallows its cancellation is handed back after the grace time, and the process ends all the same."""
    crew = start_crew(drain_s=0, cancel_grace_s=0.5, lease_s=30)
    (worker,) = await crew.start()
    job_id = (await jobs.submit(deaf, Place(folder=place))).id
    await wait_until(lambda: notes(place), "the job runs")
    told_s = await stopped(worker)
    assert await worker.ends() == 0
    assert time.monotonic() - told_s < 3
    record = await jobs.read(job_id)
    assert (record.state, record.attempt, record.interrupts) == (JobState.QUEUED, 0, 1)
    assert [line["job_id"] for line in crew.logged(ABANDONED)] == [job_id]
    assert all(ABANDONED in text for text in crew.complaints())
    await jobs.cancel(job_id)


@pytest.mark.timeout(90)
async def test_a_rolling_restart_under_load_loses_and_repeats_nothing(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """Four times a new worker starts and an old one stops while jobs flow: each runs once, and succeeds."""
    crew = start_crew(lease_s=1, drain_s=10, max_jobs=10)
    await crew.start(2)
    ids: list[str] = []
    restarted = asyncio.Event()

    async def feed() -> None:
        while len(ids) < FLOWING or not restarted.is_set():
            ids.append(f"job{len(ids)}")
            await submit_surely(jobs, work, Work(folder=place, seconds=0.05), ids[-1])
            await wait_until(lambda: unfinished(client) < QUEUED, "a job ends")

    feeding = asyncio.create_task(feed())
    for _ in range(4):
        oldest = crew.alive[0]
        await crew.start(1)
        await stopped(oldest)
        assert await oldest.ends() == 0
    restarted.set()
    await feeding
    await all_end(client, timeout_s=20)

    records = await all_succeeded(jobs, client, ids)
    assert len(ids) >= FLOWING
    assert {(r.attempt, r.rescues) for r in records} == {(1, 0)}
    assert times(place, "begin") == times(place, "end") == dict.fromkeys(ids, 1)
    assert {line.pid for line in notes(place, "end")} == {worker.pid for worker in crew.workers}
    assert crew.complaints() == []


@pytest.mark.timeout(90)
async def test_a_hasty_rolling_restart_settles_each_job_once(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """Without drain time, jobs are interrupted in the middle: each is settled once, at no cost of an attempt."""
    crew = start_crew(lease_s=1, drain_s=0, max_jobs=10)
    await crew.start(2)
    ids = [f"job{n}" for n in range(300)]
    for job_id in ids:
        await submit_surely(jobs, work, Work(folder=place, seconds=0.3), job_id)
    for _ in range(4):
        oldest = crew.alive[0]
        await crew.start(1)
        await stopped(oldest)
        assert await oldest.ends() == 0
    await all_end(client, timeout_s=30)

    records = await all_succeeded(jobs, client, ids)
    assert {(r.attempt, r.rescues) for r in records} == {(1, 0)}
    assert times(place, "end") == dict.fromkeys(ids, 1)
    interrupts = sum(r.interrupts for r in records)
    assert 0 < sum(times(place, "begin").values()) - len(ids) <= interrupts  # some were handed back before they began
    assert crew.complaints() == []
