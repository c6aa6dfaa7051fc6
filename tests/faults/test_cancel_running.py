"""Cancelling jobs that run in another process: pushed, with a grace time, and never meant for another job."""

import time
from pathlib import Path

from redis import Redis

from arqway import JobState
from arqway.workers.client import JobQueue
from arqway.workers.store.connection import open_redis
from tests.faults.conftest import Measured, StartCrew
from tests.support.fault_jobs import Place, deaf, hold, notes, tidy
from tests.support.fault_records import all_end, ended_once
from tests.support.fault_workers import FaultyValkey
from tests.support.proxy import Link, Proxy, proxy
from tests.support.waiting import wait_for, wait_until

CANCELS = 40
ABANDONED = "A job did not end when told to, and is given up on; it still holds memory and may hold the loop"


async def running(jobs: JobQueue, job_id: str) -> None:
    """Return once the job runs."""
    await wait_for(jobs, job_id, lambda record: record.state is JobState.RUNNING, "runs")


async def test_a_cancellation_is_pushed_to_the_running_job(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew, measured: Measured
) -> None:
    """It reaches the coroutine long before any renewal of its lease could tell."""
    crew = start_crew(lease_s=60, max_jobs=CANCELS // 2)
    await crew.start(2)
    (place / "tidied").touch()
    ids = [(await jobs.submit(tidy, Place(folder=place))).id for _ in range(CANCELS)]
    for job_id in ids:
        await running(jobs, job_id)

    waits = []
    for n, job_id in enumerate(ids):
        asked_s = time.time()
        await jobs.cancel(job_id)
        await wait_until(lambda n=n: len(notes(place, "cancelled")) == n + 1, "the job is told", timeout_s=5)  # type: ignore[misc]
        waits.append(notes(place, "cancelled")[-1].at_s - asked_s)
    await all_end(client, timeout_s=5)

    measured("from the request to the coroutine", waits)
    records = await ended_once(jobs, client, ids)
    assert {record.state for record in records} == {JobState.CANCELLED}
    assert max(waits) < 1
    assert crew.complaints() == []


async def test_a_cancelled_job_has_its_grace_time(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """While it cleans up the record says running, and that its end was asked for; then cancelled."""
    crew = start_crew(cancel_grace_s=20)
    await crew.start()
    job_id = (await jobs.submit(tidy, Place(folder=place))).id
    await running(jobs, job_id)
    asked = await jobs.cancel(job_id)
    await wait_until(lambda: notes(place, "cancelled"), "the job is told")
    meanwhile = await jobs.read(job_id)
    (place / "tidied").touch()
    await all_end(client, timeout_s=5)

    (record,) = await ended_once(jobs, client, [job_id])
    assert (asked.state, asked.cancel_ms) == (JobState.RUNNING, meanwhile.cancel_ms)
    assert (meanwhile.state, record.state) == (JobState.RUNNING, JobState.CANCELLED)
    assert crew.complaints() == []


async def test_a_job_that_does_not_listen_is_given_up_on_visibly(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """After the grace time it counts as cancelled, its slot is free, and the log names it."""
    crew = start_crew(cancel_grace_s=0.3, max_jobs=1)
    (worker,) = await crew.start()
    job_id = (await jobs.submit(deaf, Place(folder=place))).id
    await running(jobs, job_id)
    await jobs.cancel(job_id)
    await worker.says(ABANDONED, timeout_s=5)
    (place / "tidied").touch()
    after = await jobs.submit(tidy, Place(folder=place))
    await running(jobs, after.id)
    await jobs.cancel(after.id)
    await all_end(client, timeout_s=5)
    (place / "finish").touch()
    await worker.says("A job that was given up on has ended after all", timeout_s=5)

    (record, _) = await ended_once(jobs, client, [job_id, after.id])
    assert record.state is JobState.CANCELLED
    assert [line["job_id"] for line in worker.logged(ABANDONED)] == [job_id]


async def test_a_cancellation_that_comes_late_does_not_hit_a_later_job(
    jobs: JobQueue, client: Redis, server: FaultyValkey, place: Path, start_crew: StartCrew
) -> None:
    """The message is held up in the network; when it arrives, another job runs under the same id, and goes on."""
    async with proxy(server.socket) as through:
        crew = start_crew(through.url, lease_s=1, keep_result_s=0)
        await crew.start()
        subscriber = await subscription(through)
        await jobs.submit(tidy, Place(folder=place), job_id="one")
        (place / "tidied").touch()
        await running(jobs, "one")

        subscriber.open.clear()
        await jobs.cancel("one")
        await all_end(client, timeout_s=5)  # the next renewal has told the worker
        await enqueue_as_stock_arq(server.url, "one", place)
        await wait_until(lambda: notes(place, "begin"), "another job of this id runs")
        bystander = await jobs.submit(tidy, Place(folder=place))
        await running(jobs, bystander.id)
        subscriber.open.set()
        await jobs.cancel(bystander.id)  # this message comes behind the late one
        await wait_for(jobs, bystander.id, lambda record: record.finished, "is cancelled")

        (place / "finish").touch()
        await all_end(client, timeout_s=5)
        assert (await jobs.read("one")).state is JobState.SUCCEEDED
        assert crew.complaints() == []
        crew.end()


async def subscription(through: Proxy) -> Link:
    """Return the connection on which a worker hears of cancellations."""

    def found() -> list[Link]:
        return [link for link in through.links if b"SUBSCRIBE" in link.sent]

    await wait_until(found, "the worker listens")
    return found()[0]


async def enqueue_as_stock_arq(url: str, job_id: str, place: Path) -> None:
    """Enqueue a job under an id that was used before, as stock arq allows."""
    redis = open_redis(url)
    try:
        assert await redis.enqueue_job(hold.kind, {"folder": str(place)}, _job_id=job_id)
    finally:
        await redis.aclose(close_connection_pool=True)
