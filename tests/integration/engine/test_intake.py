"""The intake of several queues: what one queue or one set of slots meets is no business of the others."""

import asyncio
from datetime import timedelta
from signal import Signals
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from arqway import JobContext, JobState, Registry, job
from arqway.workers.client import JobQueue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.engine.worker import JobWorker
from arqway.workers.settings import Settings
from arqway.workers.store.attempts import Claims
from arqway.workers.store.jobs import JobStore
from tests.conftest import OpenQueue, RunWorker
from tests.support.jobs import Empty, Number
from tests.support.waiting import wait_for, wait_until

QUEUES = ("default", "slow", "other")


@job("test.anywhere", other_queues=QUEUES[1:])
async def anywhere(ctx: JobContext, payload: Number) -> int:
    """Return the number."""
    return payload.value


ANYWHERE = Registry([anywhere])


@pytest.mark.parametrize("refused", QUEUES)
async def test_a_queue_that_cannot_be_claimed_costs_the_others_no_job(
    run_worker: RunWorker, open_jobs: OpenQueue, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Jobs of the other queues are run at once, not when their leases have run out; its own follow when it is back."""
    claim, away = JobStore.claim, [True]

    async def claim_or_fail(store: JobStore, queue: str, **options: Any) -> Claims:
        if queue == refused and away:
            raise StoreUnavailable
        return await claim(store, queue, **options)

    monkeypatch.setattr(JobStore, "claim", claim_or_fail)
    async with open_jobs(ANYWHERE) as jobs:
        waiting = {queue: await jobs.submit(anywhere, Number(value=1), queue=queue) for queue in QUEUES}
        async with run_worker(ANYWHERE, queues=QUEUES, lease_s=3600):
            for queue in set(QUEUES) - {refused}:
                assert (await jobs.wait(waiting[queue].id, timeout_s=10)).rescues == 0
            assert (await jobs.read(waiting[refused].id)).state is JobState.QUEUED
            away.clear()
            assert (await jobs.wait(waiting[refused].id, timeout_s=10)).result == 1


@pytest.mark.parametrize("spoilt", QUEUES)
async def test_an_error_that_ends_the_worker_leaves_no_job_behind(
    settings: Settings, open_jobs: OpenQueue, redis_url: str, spoilt: str
) -> None:
    """What was claimed in the same round has ended or is handed back before the worker ends with the error."""

    @job("test.hang", other_queues=QUEUES[1:])
    async def hang(ctx: JobContext, payload: Empty) -> None:
        await asyncio.Event().wait()

    registry = Registry([hang])
    own = settings.model_copy(update={"queues": QUEUES, "lease_s": 3600.0})
    async with open_jobs(registry) as jobs:
        waiting = [await jobs.submit(hang, Empty(), queue=queue) for queue in QUEUES if queue != spoilt]
        worker = JobWorker(registry=registry, settings=own, handle_signals=False)
        with Redis.from_url(redis_url) as client:
            client.set(keys.queue(spoilt), "spoilt")
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                await worker.async_run()
            client.delete(keys.queue(spoilt))
        await worker.close()
        for accepted in waiting:
            record = await jobs.read(accepted.id)
            assert (record.state, record.attempt) == (JobState.QUEUED, 0)
            await jobs.cancel(record.id)


async def test_queues_take_turns(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """With one slot a long queue keeps no other waiting: each has a job begun within the first few."""
    order: list[str] = []

    @job("test.note", other_queues=QUEUES[1:])
    async def note(ctx: JobContext, payload: str) -> None:
        order.append(payload)

    registry = Registry([note])
    async with open_jobs(registry) as jobs:
        many = [await jobs.submit(note, "default") for _ in range(20)]
        few = [await jobs.submit(note, queue, queue=queue) for queue in QUEUES[1:]]
        async with run_worker(registry, queues=QUEUES, max_jobs=1):
            for accepted in (*many, *few):
                await jobs.wait(accepted.id, timeout_s=10)
    assert {"slow", "other"} <= set(order[: 2 * len(QUEUES)])


async def test_no_more_jobs_run_than_there_are_slots(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """However many queues share them; and all slots are used."""
    running, most, proceed = [0], [0], asyncio.Event()

    @job("test.count", other_queues=QUEUES[1:])
    async def count(ctx: JobContext, payload: Empty) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await proceed.wait()
        running[0] -= 1

    registry = Registry([count])
    async with open_jobs(registry) as jobs, run_worker(registry, queues=QUEUES, max_jobs=5) as worker:
        waiting = [await jobs.submit(count, Empty(), queue=queue) for queue in QUEUES * 4]
        await wait_until(lambda: running[0] == 5, "all slots are taken")
        assert len(worker.tasks) == 5
        proceed.set()
        for accepted in waiting:
            await jobs.wait(accepted.id, timeout_s=10)
    assert most == [5]


async def test_a_burst_of_several_queues_empties_them_all(settings: Settings, open_jobs: OpenQueue) -> None:
    """It waits for scheduled jobs, and ends by itself when the last queue is empty."""
    own = settings.model_copy(update={"queues": QUEUES})
    async with open_jobs(ANYWHERE) as jobs:
        waiting = [await jobs.submit(anywhere, Number(value=n), queue=queue) for queue in QUEUES for n in range(7)]
        waiting.append(await jobs.submit(anywhere, Number(value=9), queue="other", delay=timedelta(seconds=0.2)))
        worker = JobWorker(registry=ANYWHERE, settings=own, burst=True, handle_signals=False)
        await worker.async_run()
        await worker.close()
        assert [(await jobs.read(accepted.id)).state for accepted in waiting] == [JobState.SUCCEEDED] * 22


async def test_a_second_signal_ends_the_wait_for_running_jobs(settings: Settings, open_jobs: OpenQueue) -> None:
    """The first lets them end for the time of the drain; the second hands them back at once."""

    @job("test.hang")
    async def hang(ctx: JobContext, payload: Empty) -> None:
        await asyncio.Event().wait()

    registry = Registry([hang])
    worker = JobWorker(registry=registry, settings=settings.model_copy(update={"drain_s": 60.0}), handle_signals=False)
    run = asyncio.create_task(worker.async_run())
    async with open_jobs(registry) as jobs:
        accepted = await jobs.submit(hang, Empty())
        await _runs(jobs, accepted.id)
        worker.handle_sig(Signals.SIGTERM)
        done, _ = await asyncio.wait([run], timeout=0.1)
        worker.handle_sig(Signals.SIGTERM)
        await asyncio.wait_for(run, 10)
        await worker.close()
        record = await jobs.read(accepted.id)
        await jobs.cancel(accepted.id)
    assert (done, record.state, record.interrupts) == (set(), JobState.QUEUED, 1)


async def _runs(jobs: JobQueue, job_id: str) -> None:
    await wait_for(jobs, job_id, lambda record: record.state is JobState.RUNNING, "runs")


async def test_a_claim_whose_answer_was_lost_counts_for_nothing(
    run_worker: RunWorker, open_jobs: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its jobs run as soon as the worker hears from Redis again, however often that happened; no worker was lost."""
    claim = JobStore.claim
    lost: list[object] = []

    async def claim_and_lose_the_answer(store: JobStore, queue: str, **options: Any) -> Claims:
        found = await claim(store, queue, **options)
        if found.jobs and len(lost) < 6:
            lost.append(found.jobs)
            raise StoreUnavailable
        return found

    monkeypatch.setattr(JobStore, "claim", claim_and_lose_the_answer)
    async with open_jobs(ANYWHERE) as jobs:
        ids = await jobs.submit_many(anywhere, [Number(value=n) for n in range(5)])
        async with run_worker(ANYWHERE, lease_s=3600):
            ended = [await jobs.wait(job_id, timeout_s=20) for job_id in ids]
    assert len(lost) == 6
    assert [(record.result, record.attempt, record.rescues) for record in ended] == [(n, 1, 0) for n in range(5)]


async def test_lost_answers_of_one_worker_are_no_business_of_another(open_jobs: OpenQueue, settings: Settings) -> None:
    """A claim names only its own earlier claims, and takes no job that others run."""
    async with open_jobs(ANYWHERE) as jobs:
        ids = await jobs.submit_many(anywhere, [Number(value=n) for n in range(4)])
        store = jobs._store

        async def claimed(prefix: str, want: int, *unheard: str) -> list[tuple[str, int]]:
            found = await store.claim(
                "default", want=want, lease_ms=60_000, worker="w", token_prefix=prefix, unheard=unheard
            )
            return [(each.id, each.rescues) for each in found.jobs]

        mine, theirs = await claimed("a.1.", 2), await claimed("b.1.", 2)
        assert {job_id for job_id, _ in [*mine, *theirs]} == set(ids)
        assert await claimed("c.1.", 4, "c.0.") == []
        assert sorted(await claimed("a.2.", 4, "a.1.")) == sorted(mine)
        assert await claimed("a.3.", 4, "a.1.") == []
        for job_id in ids:
            await jobs.cancel(job_id)
