"""Cancelling jobs, by a person."""

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import replace

import pytest

from arqway import JobContext, JobState, Registry, job
from arqway.workers.contract import envelope, keys
from arqway.workers.contract.errors import JobChanged, JobFinished, JobNotFound
from tests.conftest import OpenQueue, RunWorker
from tests.support.by_hand import ByHand
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


async def test_a_cancel_and_a_retry_are_one_script_call_each(by_hand: ByHand) -> None:
    """The record is read once, by the script that moves the job: nothing is read before it or after it."""
    (waiting,) = await by_hand.submit(tags=["t"])
    cancelled = await by_hand.queue.cancel(waiting.id)  # also loads the script
    again = await by_hand.queue.retry(waiting.id)
    for act, of in ((by_hand.queue.cancel, again), (by_hand.queue.retry, again)):
        before = await calls(by_hand)
        await act(of.id)
        assert await calls(by_hand) - before == {"evalsha": 1}
    assert cancelled == replace(await by_hand.queue.read(waiting.id), retried_as=None, version=cancelled.version)


async def calls(by_hand: ByHand) -> Counter[str]:
    """Return how often scripts were called, as every read and every write of a record is one."""
    told = await by_hand.redis.info("commandstats")
    return Counter({name: told.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval")})


@pytest.mark.parametrize("job_id", ["nobody", "", "a b", "x" * 129, "\ud800"])
async def test_who_may_not_see_a_job_cannot_act_on_it(by_hand: ByHand, job_id: str) -> None:
    """A job of another tenant is not there for cancel and retry, whatever version is given; neither is an odd id."""
    (theirs,) = await by_hand.submit(tenant="acme")
    for asked in (theirs.id, job_id):
        for act in (by_hand.queue.cancel, by_hand.queue.retry):
            with pytest.raises(JobNotFound):
                await act(asked, tenant="default", version=theirs.version + 1)
    with pytest.raises(JobChanged):
        await by_hand.queue.cancel(theirs.id, tenant="acme", version=theirs.version + 1)
    assert await by_hand.queue.read(theirs.id) == theirs


async def test_stock_clients_are_told_of_a_job_cancelled_while_it_waited(by_hand: ByHand) -> None:
    """The script writes the result that stock arq clients read, with the fields of any other result."""
    (waiting,) = await by_hand.submit(queue="slow")
    record = await by_hand.queue.cancel(waiting.id)
    text = await by_hand.redis.get(keys.arq_result(waiting.id))
    ended_ms = record.finished_ms or 0
    expected = envelope.write_result(
        job_id=record.id,
        kind=record.kind,
        queue=keys.queue("slow"),
        attempt=0,
        success=False,
        value_json=envelope.CANCELLED_JSON,
        created_ms=record.created_ms,
        started_ms=ended_ms,
        ended_ms=ended_ms,
    )
    assert json.loads(text) == json.loads(expected)
    assert await by_hand.redis.pttl(keys.arq_result(waiting.id)) > 0
