"""An idle worker begins a job as soon as it is accepted, by whatever way."""

import time
from datetime import UTC, datetime

import pytest

from arqway import JobState, Registry
from arqway.workers.client import Batches, BatchItem, JobQueue, Queues
from tests.conftest import OpenQueue, RunWorker
from tests.support.jobs import Number, double
from tests.support.waiting import wait_until

SELDOM_S = 60.0
"""A worker that is not woken looks for jobs so often."""


async def worker_waits(jobs: JobQueue) -> None:
    """Return once the worker has nothing to do, and waits to be woken."""

    async def waits() -> bool:
        clients = await jobs.redis.client_list()
        return any(client["cmd"] == "blpop" and "b" in client["flags"] for client in clients)

    await wait_until(waits, "the worker waits")


async def test_whatever_accepts_a_job_wakes_a_worker(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A submission, a batch and a retry are run at once by a worker that would not look for a minute."""
    registry = Registry([double])
    async with run_worker(registry, poll_s=SELDOM_S), open_jobs(registry) as jobs:
        await worker_waits(jobs)
        record = await jobs.wait((await jobs.submit(double, Number(value=1))).id, timeout_s=10)
        await worker_waits(jobs)
        await jobs.wait((await jobs.retry(record.id)).id, timeout_s=10)
        await worker_waits(jobs)
        batch = await Batches(jobs).submit([BatchItem("test.double", b'{"value":1}', {})])
        assert (await jobs.wait(f"{batch.id}.0", timeout_s=10)).state is JobState.SUCCEEDED


async def test_resuming_a_queue_wakes_a_worker(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Jobs that waited in a paused queue begin when it goes on; until then none does."""
    registry = Registry([double])
    async with run_worker(registry, poll_s=SELDOM_S), open_jobs(registry) as jobs:
        await worker_waits(jobs)
        await Queues(jobs).pause("default", paused=True)
        records = [await jobs.submit(double, Number(value=n)) for n in range(3)]
        await worker_waits(jobs)
        assert {(await jobs.read(record.id)).state for record in records} == {JobState.QUEUED}
        await Queues(jobs).pause("default", paused=False)
        for record in records:
            assert (await jobs.wait(record.id, timeout_s=10)).state is JobState.SUCCEEDED


async def test_a_start_in_the_past_overtakes_nobody(open_jobs: OpenQueue) -> None:
    """Such a job is due now: it neither jumps the queue nor makes it look decades old."""
    registry = Registry([double])
    async with open_jobs(registry) as jobs:
        first = await jobs.submit(double, Number(value=1))
        past = await jobs.submit(double, Number(value=2), run_at=datetime(1970, 1, 2, tzinfo=UTC))
        assert past.due_ms is not None
        assert first.due_ms is not None
        assert past.due_ms >= first.due_ms
        assert (await jobs.read(past.id)).due_ms == past.due_ms
        for record in (first, past):
            await jobs.cancel(record.id)


async def test_a_long_poll_interval_is_no_outage(
    run_worker: RunWorker, open_jobs: OpenQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that polls less often than its connection gives up waiting never takes the server for away."""
    registry = Registry([double])
    async with run_worker(registry, poll_s=120), open_jobs(registry) as jobs:
        store = jobs._store
        begun_s = time.monotonic()
        assert not await store.next_wakeup(["quiet"], timeout_s=120)
        assert 5 < time.monotonic() - begun_s < 14
        assert (await jobs.wait((await jobs.submit(double, Number(value=4))).id, timeout_s=5)).result == 8
    assert not [record for record in caplog.records if "away" in record.message]
