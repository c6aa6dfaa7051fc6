"""Many workers on one queue, and many jobs that are not due yet."""

import asyncio
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from signal import SIGTERM
from typing import NamedTuple

import pytest
from redis import Redis

from arqway.workers.client import JobQueue
from tests.faults.conftest import Measured, StartCrew
from tests.support.fault_jobs import Place, Work, hold, notes, work
from tests.support.fault_records import all_end, all_succeeded, unfinished
from tests.support.fault_workers import Crew
from tests.support.waiting import wait_until

PROCESSES, WORKERS_EACH, SLOTS = 4, 5, 10
AT_ONCE = PROCESSES * WORKERS_EACH * SLOTS
SCHEDULED, DUE = 10_000, 1_000


async def large_fleet(crew: Crew) -> None:
    """Start 20 workers, five to a process: more processes than that are too heavy for a test."""
    parts = [crew.launch("-m", "tests.support.fault_fleet", str(WORKERS_EACH)) for _ in range(PROCESSES)]
    for part in parts:
        await wait_until(
            lambda part=part: len(part.logged("Worker started")) == WORKERS_EACH,  # type: ignore[misc]
            "all workers of a process serve",
            timeout_s=30,
        )


@pytest.mark.timeout(90)
async def test_every_slot_of_a_large_fleet_is_used(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """20 workers with 10 slots each on one queue run 200 jobs at the same time, and the 201st waits."""
    crew = start_crew(max_jobs=SLOTS, lease_s=10)
    await large_fleet(crew)
    ids = [(await jobs.submit(hold, Place(folder=place))).id for _ in range(AT_ONCE)]
    await wait_until(lambda: len(notes(place, "begin")) == AT_ONCE, "all jobs run at once", timeout_s=20)
    one_more = (await jobs.submit(hold, Place(folder=place))).id
    records = [await jobs.read(job_id) for job_id in ids]
    waiting = await jobs.read(one_more)
    (place / "finish").touch()
    await all_end(client, timeout_s=20)

    assert Counter(record.worker for record in records).most_common()[0][1] == SLOTS
    assert len({record.worker for record in records}) == PROCESSES * WORKERS_EACH
    assert waiting.state == "queued"
    await all_succeeded(jobs, client, [*ids, one_more])
    for worker in crew.alive:
        worker.signal(SIGTERM)
        assert await worker.ends() == 0
    assert crew.complaints() == []


class Cost(NamedTuple):
    """What it took to run some jobs."""

    seconds: float
    commands: int
    """That Redis ran, those within scripts too."""
    script_us: float
    """Time of the server in scripts."""


@pytest.mark.timeout(90)
async def test_jobs_scheduled_for_later_do_not_slow_down_those_that_are_due(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """10,000 jobs that are due in an hour: the due ones cost as many Redis commands and as much time as without."""
    crew = start_crew(lease_s=10)
    await crew.start(1)
    await drain(jobs, client, place)
    before = await drain(jobs, client, place)
    await submit_later(jobs, place, [f"later{n}" for n in range(SCHEDULED)])
    assert unfinished(client) == SCHEDULED
    after = await drain(jobs, client, place)

    measured("1,000 jobs, nothing scheduled", before)
    measured("1,000 jobs, 10,000 scheduled", after)
    assert after.commands < 1.3 * before.commands
    assert after.script_us < 2 * before.script_us
    assert after.seconds < 2 * before.seconds + 1
    assert crew.complaints() == []


async def submit_later(jobs: JobQueue, place: Path, ids: list[str]) -> None:
    """Submit jobs that are due in an hour."""
    for first in range(0, len(ids), 1_000):
        asked = [
            jobs.submit(work, Work(folder=place), job_id=job_id, delay=timedelta(hours=1))
            for job_id in ids[first : first + 1_000]
        ]
        await asyncio.gather(*asked)


async def drain(jobs: JobQueue, client: Redis, place: Path) -> Cost:
    """Submit jobs that are due, and return what it cost until they had ended."""
    already = unfinished(client)
    client.config_resetstat()
    began_s = time.monotonic()
    await asyncio.gather(*(jobs.submit(work, Work(folder=place)) for _ in range(DUE)))
    await wait_until(lambda: unfinished(client) == already, "the due jobs end", timeout_s=30)
    stats: dict[str, dict[str, float]] = client.info("commandstats")  # type: ignore[assignment]
    counted = {name: stat for name, stat in stats.items() if name not in {"cmdstat_zcard", "cmdstat_info"}}
    return Cost(
        round(time.monotonic() - began_s, 3),
        int(sum(stat["calls"] for stat in counted.values())),
        round(stats["cmdstat_evalsha"]["usec"]),
    )
