"""``kill -9`` of workers: their jobs run again elsewhere, and each accepted job ends exactly once."""

import random
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from arqway.workers.client import JobQueue
from tests.faults.conftest import FULL, Measured, StartCrew
from tests.support.fault_jobs import Place, Work, hold, notes, times, work
from tests.support.fault_records import all_end, all_succeeded, submit_surely, unfinished
from tests.support.fault_workers import Crew
from tests.support.waiting import wait_until

LEASE_S = 1.0
HELD = 12
KILLS, JOBS = (200, 5_000) if FULL else (25, 2_000)


async def test_jobs_of_a_killed_worker_run_again_within_a_lease_and_a_second(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """Each job in flight begins again elsewhere before lease + 1 s have passed, and then ends once."""
    crew = start_crew(lease_s=LEASE_S, max_jobs=HELD)
    (victim,) = await crew.start()
    ids = [(await jobs.submit(hold, Place(folder=place))).id for _ in range(HELD)]
    await wait_until(lambda: len(notes(place, "begin")) == HELD, "all jobs run")
    (other,) = await crew.start()

    killed_s = time.time()
    victim.kill()
    await wait_until(lambda: len(notes(place, "begin")) == 2 * HELD, "all jobs run again")
    (place / "finish").touch()
    await all_end(client, timeout_s=10)

    again = [line for line in notes(place, "begin") if line.pid == other.pid]
    waits = [line.at_s - killed_s for line in again]
    measured("from the kill to the next run", waits)
    records = await all_succeeded(jobs, client, ids)
    assert {record.result for record in records} == {other.pid}
    assert {(record.attempt, record.rescues) for record in records} == {(1, 1)}
    assert max(waits) < LEASE_S + 1


@pytest.mark.timeout(600 if FULL else 120)
async def test_no_job_is_lost_or_settled_twice_while_workers_are_killed_at_random(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """Workers are killed all the time, at random: every accepted job succeeds, exactly once, and ran at least once."""
    seeded = random.Random(7)
    crew = start_crew(lease_s=LEASE_S, max_jobs=10, max_rescues=1_000)
    await crew.start(4)
    ids = [f"job{n}" for n in range(JOBS)]
    for n, job_id in enumerate(ids):
        asked = Work(folder=place, seconds=seeded.uniform(0, 0.3), failures=n % 10 == 0)
        await submit_surely(jobs, work, asked, job_id)
    await kill_at_random(crew, client, seeded)
    await crew.start(1)
    await all_end(client, timeout_s=60)

    records = await all_succeeded(jobs, client, ids)
    assert {record.id: record.attempt for record in records} == {f"job{n}": 1 + (n % 10 == 0) for n in range(JOBS)}
    assert set(ids) == set(times(place, "end"))
    measured("jobs by rescues", dict(sorted(Counter(record.rescues for record in records).items())))
    measured("jobs by complete runs", dict(sorted(Counter(times(place, "end").values()).items())))


def has_shrunk(client: Redis, left: int) -> bool:
    """Tell whether no more than so many jobs are left."""
    return unfinished(client) <= max(left, 1)


async def kill_at_random(crew: Crew, client: Redis, seeded: random.Random) -> None:
    """Kill a worker and start another, each time after a random number of jobs has ended."""
    for kill in range(KILLS):
        waiting = unfinished(client)
        left = waiting - seeded.randrange(1 + 2 * waiting // (KILLS - kill + 1))
        await wait_until(partial(has_shrunk, client, left), f"jobs end before kill {kill}", timeout_s=60)
        serving = [worker for worker in crew.alive if worker.logged("Worker started")]
        (seeded.choice(serving) if serving else crew.alive[0]).kill()
        crew.launch()
