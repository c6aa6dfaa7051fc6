"""A bad network between workers and Redis, played by a proxy: broken replies, long wires, nobody at the other end."""

import time
from itertools import pairwise
from pathlib import Path
from statistics import pstdev

import pytest
from redis import Redis

from arqway.workers.client import JobQueue, open_queue
from arqway.workers.settings import Settings
from tests.faults.conftest import FULL, Measured, StartCrew
from tests.faults.test_redis_away import cut_while_jobs_flow, first_job_ends, holding
from tests.support.fault_jobs import JOBS, Work, work
from tests.support.fault_records import all_end, all_succeeded
from tests.support.fault_workers import FaultyValkey
from tests.support.proxy import Proxy, proxy
from tests.support.waiting import wait_until

AWAY_S = 30 if FULL else 5
ATTEMPTS_PER_S = 20.0
"""Of one worker with all its duties: claiming, listening, renewing, settling, telling how it is."""
SETTLED_AFTER_S = 2.0
LATENCY_S = 0.05


@pytest.mark.timeout(90)
async def test_replies_that_break_in_the_middle_lose_nothing(
    jobs: JobQueue, client: Redis, server: FaultyValkey, place: Path, start_crew: StartCrew
) -> None:
    """Every connection of workers and submitter breaks within a reply, 20 times: each job ends once."""
    async with proxy(server.socket) as through:
        crew = start_crew(through.url, lease_s=1)
        await crew.start(2)
        settings = Settings.model_validate({"redis_url": through.url})
        async with open_queue(settings, JOBS) as far_jobs:
            ids = await cut_while_jobs_flow(far_jobs, client, place, through.cut_mid_reply)
        assert len(crew.alive) == 2
        assert crew.complaints() == []
        crew.end()
    await all_succeeded(jobs, client, ids)


@pytest.mark.timeout(AWAY_S * 2 + 60)
async def test_workers_come_back_one_after_the_other_and_not_too_often(
    jobs: JobQueue, client: Redis, server: FaultyValkey, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """While nobody answers, two busy workers try at a bounded rate and at uneven times; then all goes on."""
    async with proxy(server.socket) as through:
        crew = start_crew(through.url, lease_s=10 * AWAY_S)
        await crew.start(2)
        running = await holding(jobs, place, 8)
        through.go_away()
        away_s = time.monotonic()
        async with open_queue(Settings.model_validate({"redis_url": through.url}), JOBS) as far_jobs:
            (place / "finish").touch()
            await stays_away(through, AWAY_S)
            attempts = [at - away_s for at in through.attempts_s]
            through.come_back()
            took_s = await first_job_ends(far_jobs, place)
        await all_end(client, timeout_s=10)
        assert len(crew.alive) == 2
        assert crew.complaints() == []
        crew.end()
    measured("attempts to connect per worker and second, while away", round(len(attempts) / 2 / AWAY_S, 1))
    measured("from the return to the end of the next job", [took_s])
    await all_succeeded(jobs, client, running)
    assert len(attempts) < 2 * ATTEMPTS_PER_S * AWAY_S
    late = [at for at in attempts if at > SETTLED_AFTER_S]
    gaps = [after - before for before, after in pairwise(late)]
    assert pstdev(gaps) > 0.005
    assert took_s < 2


async def stays_away(through: Proxy, seconds: float) -> None:
    """Return when the proxy has been away for so long."""
    until_s = time.monotonic() + seconds
    await wait_until(lambda: time.monotonic() > until_s, "the time is over", timeout_s=seconds + 5)
    assert through.away


@pytest.mark.timeout(90)
async def test_a_slow_connection_makes_jobs_late_and_nothing_else(
    jobs: JobQueue, client: Redis, server: FaultyValkey, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """With 100 ms to Redis and back no job is rescued or run twice, and batches hide most of the distance."""
    async with proxy(server.socket) as through:
        crew = start_crew(through.url, lease_s=1, max_jobs=20)
        await crew.start(2)
        through.latency_s = LATENCY_S
        began_s = time.monotonic()
        ids = [(await jobs.submit(work, Work(folder=place, seconds=0.01))).id for _ in range(400)]
        await all_end(client, timeout_s=40)
        took_s = time.monotonic() - began_s
        long = [(await jobs.submit(work, Work(folder=place, seconds=3))).id for _ in range(4)]
        await all_end(client, timeout_s=20)
        assert len(crew.alive) == 2
        assert crew.complaints() == []
        crew.end()
    measured("400 jobs over 100 ms, two workers, 20 slots", f"{took_s:.2f} s")
    records = await all_succeeded(jobs, client, [*ids, *long])
    assert {record.rescues for record in records} == {0}
    assert took_s < 10
