"""Cancelling jobs, by a person."""

import asyncio
import contextlib

import pytest

from arqway import JobContext, JobState, Registry, job
from arqway.workers.contract.errors import JobFinished, JobNotFound
from tests.conftest import OpenQueue, RunWorker
from tests.support.jobs import Empty, Number, double, retries
from tests.support.waiting import wait_for


async def test_a_waiting_job_is_cancelled_at_once(open_jobs: OpenQueue) -> None:
    """A queued job that is cancelled is final in the answer, and never runs."""
    async with open_jobs(Registry([double])) as jobs:
        accepted = await jobs.submit(double, Number(value=1))
        record = await jobs.cancel(accepted.id)
    assert (record.state, record.attempt) == (JobState.CANCELLED, 0)


async def test_a_running_job_is_told(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Cancelling a running job raises CancelledError in it; it may clean up; it ends cancelled, without a retry."""
    cleaned = asyncio.Event()

    @job("test.long", retry=retries(3))
    async def long(ctx: JobContext, payload: Empty) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    registry = Registry([long])
    async with run_worker(registry), open_jobs(registry) as jobs:
        accepted = await jobs.submit(long, Empty())
        await wait_for(jobs, accepted.id, lambda r: r.state is JobState.RUNNING, "runs")
        asked = await jobs.cancel(accepted.id)
        record = await jobs.wait(accepted.id, timeout_s=5)
    assert asked.cancel_ms is not None
    assert (record.state, record.attempt, cleaned.is_set()) == (JobState.CANCELLED, 1, True)


async def test_a_job_that_swallows_its_cancellation_is_abandoned(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """After the grace time the record says cancelled, whatever the job still does."""
    release = asyncio.Event()

    @job("test.deaf")
    async def deaf(ctx: JobContext, payload: Empty) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    registry = Registry([deaf])
    async with run_worker(registry), open_jobs(registry) as jobs:
        accepted = await jobs.submit(deaf, Empty())
        await wait_for(jobs, accepted.id, lambda r: r.state is JobState.RUNNING, "runs")
        await jobs.cancel(accepted.id)
        record = await jobs.wait(accepted.id, timeout_s=5)
        release.set()
    assert record.state is JobState.CANCELLED


async def test_a_cancelled_job_does_not_retry(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job that fails after it was asked to cancel ends cancelled, though its policy would try again."""

    @job("test.stubborn", retry=retries(9))
    async def stubborn(ctx: JobContext, payload: Empty) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("while cleaning up")

    registry = Registry([stubborn])
    async with run_worker(registry), open_jobs(registry) as jobs:
        accepted = await jobs.submit(stubborn, Empty())
        await wait_for(jobs, accepted.id, lambda r: r.state is JobState.RUNNING, "runs")
        await jobs.cancel(accepted.id)
        record = await jobs.wait(accepted.id, timeout_s=5)
    assert (record.state, record.attempt) == (JobState.CANCELLED, 1)


async def test_only_a_live_job_can_be_cancelled(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Cancelling a finished job or an unknown one is an error and changes nothing."""
    registry = Registry([double])
    async with run_worker(registry), open_jobs(registry) as jobs:
        record = await jobs.wait((await jobs.submit(double, Number(value=1))).id, timeout_s=5)
        with pytest.raises(JobFinished):
            await jobs.cancel(record.id)
        assert await jobs.read(record.id) == record
        with pytest.raises(JobNotFound):
            await jobs.cancel("nobody")
