"""Redis goes away and comes back: workers stay, running jobs settle, nothing that was accepted is lost."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest
from redis import Redis

from arqway.workers.client import JobQueue
from arqway.workers.contract.errors import StoreUnavailable
from tests.faults.conftest import FULL, Measured, StartCrew
from tests.support.fault_jobs import Place, Work, hold, notes, times, work
from tests.support.fault_records import all_end, all_succeeded, submit_surely, unfinished
from tests.support.fault_workers import FaultyValkey
from tests.support.waiting import wait_until

AWAY_S = 30 if FULL else 5
SILENT_S = 20 if FULL else 3
PATIENCE_S = 15
"""So long a client waits for an answer of a server that took its connection."""
LEASE_S = 10 * AWAY_S
RECOVERY_S = 2.0
SUBMIT_S = 4.0
"""The longest that a submitter may wait for its answer while nobody listens at the server's address."""


async def refused_until(jobs: JobQueue, place: Path, end_s: float) -> None:
    """Submit again and again until then; every call raises StoreUnavailable, and soon."""
    while time.monotonic() < end_s:
        async with asyncio.timeout(SUBMIT_S):
            with pytest.raises(StoreUnavailable):
                await jobs.submit(work, Work(folder=place))


async def first_job_ends(jobs: JobQueue, place: Path) -> float:
    """Submit a job, again until it is accepted, and return how long it took until it had ended."""
    answers_s = time.monotonic()
    job_id = f"first-{answers_s}"
    await submit_surely(jobs, work, Work(folder=place), job_id)
    await jobs.wait(job_id, timeout_s=20)
    return time.monotonic() - answers_s


async def holding(jobs: JobQueue, place: Path, number: int) -> list[str]:
    """Return the ids of so many jobs, once they run."""
    ids = [(await jobs.submit(hold, Place(folder=place))).id for _ in range(number)]
    await wait_until(lambda: set(ids) <= set(times(place, "begin")), "the jobs run")
    return ids


@pytest.mark.timeout(AWAY_S * 2 + 60)
async def test_jobs_that_end_while_a_crashed_server_is_away_are_settled_after_its_return(
    jobs: JobQueue,
    client: Redis,
    server: FaultyValkey,
    place: Path,
    start_crew: StartCrew,
    measured: Measured,
) -> None:
    """The server is killed, seconds away, back with its AOF: no worker dies, no job runs twice, the next ends soon."""
    crew = start_crew(lease_s=LEASE_S)
    await crew.start(2)
    waiting = [(await jobs.submit(work, Work(folder=place))).id for _ in range(20)]
    running = await holding(jobs, place, 8)

    server.kill()
    away_until_s = time.monotonic() + AWAY_S
    (place / "finish").touch()
    await refused_until(jobs, place, away_until_s)
    await asyncio.to_thread(server.start)
    took_s = await first_job_ends(jobs, place)
    await all_end(client, timeout_s=10)

    measured("from the first answer to the end of the next job", [took_s])
    records = await all_succeeded(jobs, client, [*waiting, *running])
    assert {record.rescues for record in records} == {0}
    assert set(times(place, "begin").values()) == {1}
    assert took_s < RECOVERY_S
    assert len(crew.alive) == 2
    assert crew.complaints() == []


@pytest.mark.timeout(90)
async def test_jobs_that_outlive_their_leases_while_the_server_is_away_end_once(
    jobs: JobQueue, client: Redis, server: FaultyValkey, place: Path, start_crew: StartCrew
) -> None:
    """Away for three leases, one worker: it does not run a job beside itself, and each job ends once."""
    crew = start_crew(lease_s=1, max_jobs=16)
    (worker,) = await crew.start()
    running = await holding(jobs, place, 8)

    server.kill()
    await refused_until(jobs, place, time.monotonic() + 3)
    await asyncio.to_thread(server.start)
    await first_job_ends(jobs, place)

    def each_runs_once() -> bool:
        begun, gone = times(place, "begin"), times(place, "cancelled")
        return all(begun[job_id] - gone[job_id] == 1 for job_id in running)

    await wait_until(each_runs_once, "no job runs beside itself", timeout_s=5)
    (place / "finish").touch()
    await all_end(client, timeout_s=10)

    await all_succeeded(jobs, client, running)
    assert worker.running
    assert crew.complaints() == []


@pytest.mark.timeout(120)
async def test_a_server_that_is_silent_for_seconds_loses_nothing(
    jobs: JobQueue, client: Redis, server: FaultyValkey, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """SIGSTOP of the server, SIGCONT later: running jobs go on, and what was asked for meanwhile is answered."""
    crew = start_crew(lease_s=LEASE_S)
    await crew.start(2)
    running = await holding(jobs, place, 8)

    os.kill(server.pid, SIGSTOP)
    try:
        asked = asyncio.create_task(submit_surely(jobs, work, Work(folder=place), "asked"))
        (place / "finish").touch()
        await wait_until(lambda: len(notes(place, "end")) == 8, "the running jobs end")
        silent_until_s = time.monotonic() + SILENT_S
        await wait_until(lambda: time.monotonic() > silent_until_s, "the silence lasts", timeout_s=2 * SILENT_S)
    finally:
        os.kill(server.pid, SIGCONT)
    took_s = await first_job_ends(jobs, place)
    refusals = await asked
    await all_end(client, timeout_s=10)

    measured("from the end of the silence to the end of the next job", [took_s])
    records = await all_succeeded(jobs, client, [*running, "asked"])
    assert (refusals > 0) == (SILENT_S > PATIENCE_S)
    assert {record.rescues for record in records} == {0}
    assert took_s < RECOVERY_S
    assert len(crew.alive) == 2
    assert crew.complaints() == []


@pytest.mark.timeout(90)
async def test_connections_that_the_server_cuts_are_made_again(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """CLIENT KILL of all connections, 20 times while 1,000 jobs flow: each ends once, and the workers stay."""

    def cut() -> None:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind)

    crew = start_crew(lease_s=1)
    await crew.start(2)
    ids = await cut_while_jobs_flow(jobs, client, place, cut)
    await all_succeeded(jobs, client, ids)
    assert len(crew.alive) == 2
    assert crew.complaints() == []


async def cut_while_jobs_flow(
    jobs: JobQueue, client: Redis, place: Path, cut: Callable[[], None], *, total: int = 1_000, cuts: int = 20
) -> list[str]:
    """Submit jobs, and cut each time while a portion of them is on its way; return their ids once all have ended."""
    ids = [f"job{n}" for n in range(total)]
    portion = total // cuts
    for first in range(0, total, portion):
        batch = ids[first : first + portion]
        asked = [submit_surely(jobs, work, Work(folder=place, seconds=0.01), job_id) for job_id in batch]
        feeding = asyncio.gather(*asked)
        await wait_until(lambda: unfinished(client) > portion // 2, "jobs wait", timeout_s=5)
        cut()
        await feeding
        await wait_until(lambda: unfinished(client) < portion // 2, "half of the jobs have ended")
    await all_end(client, timeout_s=10)
    return ids
