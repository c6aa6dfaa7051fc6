"""A worker's own life: leases, shutdown, and Redis coming and going."""

import asyncio
import time
from signal import Signals

import pytest
from pydantic import SecretStr
from redis import Redis

from arqway import JobContext, JobState, Registry, job
from arqway.workers.client import JobQueue, open_queue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.settings import Settings
from arqway.workers.store.attempts import Claim
from tests.conftest import OpenQueue, RunWorker
from tests.support.jobs import Empty, Number, double
from tests.support.redis_server import valkey
from tests.support.waiting import wait_for, wait_until
from tests.support.worker import running_worker


async def test_shutdown_hands_a_running_job_back_at_no_cost(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job that outlasts the drain time is queued again at once; the next worker runs it as the same attempt."""
    finish = asyncio.Event()

    @job("test.handed_back")
    async def handed_back(ctx: JobContext, payload: Empty) -> int:
        await finish.wait()
        return ctx.attempt

    registry = Registry([handed_back])
    async with open_jobs(registry) as jobs:
        async with run_worker(registry):
            accepted = await jobs.submit(handed_back, Empty())
            await wait_for(jobs, accepted.id, lambda r: r.state is JobState.RUNNING, "runs")
        handed = await jobs.read(accepted.id)
        finish.set()
        async with run_worker(registry):
            record = await jobs.wait(accepted.id, timeout_s=5)
    assert (handed.state, handed.attempt, handed.interrupts) == (JobState.QUEUED, 0, 1)
    assert (record.state, record.result) == (JobState.SUCCEEDED, 1)


async def test_shutdown_lets_a_short_job_end(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job that ends within the drain time is settled, and nothing new is claimed meanwhile."""
    begun, finish = asyncio.Event(), asyncio.Event()

    @job("test.short")
    async def short(ctx: JobContext, payload: Empty) -> None:
        begun.set()
        await finish.wait()

    registry = Registry([short])
    async with open_jobs(registry) as jobs, run_worker(registry, drain_s=10.0) as worker:
        first = await jobs.submit(short, Empty())
        await begun.wait()
        worker.handle_sig(Signals.SIGTERM)
        second = await jobs.submit(short, Empty())
        finish.set()
        assert worker.main_task is not None
        await asyncio.wait([worker.main_task])
        states = [(await jobs.read(record.id)).state for record in (first, second)]
        await jobs.cancel(second.id)
    assert states == [JobState.SUCCEEDED, JobState.QUEUED]


async def test_a_blocked_loop_keeps_its_lease(
    run_worker: RunWorker, open_jobs: OpenQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that blocks the event loop for more than two leases is not run twice, and the blocking is reported."""

    @job("test.blocks")
    async def blocks(ctx: JobContext, payload: Empty) -> int:
        time.sleep(2.5)  # noqa: ASYNC251 - the point
        return ctx.attempt

    registry = Registry([blocks, double])
    async with run_worker(registry), open_jobs(registry) as jobs:
        await jobs.wait((await jobs.submit(double, Number(value=1))).id, timeout_s=10)  # connects
        record = await jobs.wait((await jobs.submit(blocks, Empty())).id, timeout_s=10)
    assert (record.state, record.rescues) == (JobState.SUCCEEDED, 0)
    (report,) = [line for line in caplog.records if "loop is blocked" in line.message]
    assert vars(report)["kind"] == "test.blocks"
    assert "time.sleep" in vars(report)["stack"]


async def test_a_dead_workers_job_is_rescued(run_worker: RunWorker, open_jobs: OpenQueue, settings: Settings) -> None:
    """A job whose lease has run out is run again, at no cost of an attempt, and counted as a rescue."""
    registry = Registry([double])
    async with open_jobs(registry) as jobs:
        accepted = await jobs.submit(double, Number(value=4))
        assert (await _claim_when_due(jobs, "dead.")).id == accepted.id
        async with run_worker(registry):
            record = await jobs.wait(accepted.id, timeout_s=5)
    assert (record.result, record.attempt, record.rescues) == (8, 1, 1)


async def test_a_job_that_kills_its_workers_ends_as_worker_lost(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """After max_rescues lost workers the job fails as worker_lost and is not run again."""
    registry = Registry([double])
    async with open_jobs(registry) as jobs:
        accepted = await jobs.submit(double, Number(value=4))
        for n in range(4):
            claimed = await _claim_when_due(jobs, f"dead{n}.")
            assert claimed.rescues == n
        async with run_worker(registry, max_rescues=3):
            record = await jobs.wait(accepted.id, timeout_s=5)
    assert record.failure is not None
    assert (record.failure.code, record.rescues) == ("worker_lost", 4)


async def _claim_when_due(jobs: JobQueue, prefix: str) -> Claim:
    found: list[Claim] = []

    async def claimed() -> bool:
        answer = await jobs._store.claim("default", want=1, lease_ms=20, worker="dead", token_prefix=prefix)
        found.extend(answer.jobs)
        return bool(found)

    await wait_until(claimed, "the job is due again")
    return found[0]


async def test_a_lost_attempt_writes_nothing(run_worker: RunWorker, open_jobs: OpenQueue, redis_url: str) -> None:
    """A worker whose job was taken over drops its outcome; the record is the other worker's."""
    begun, finish = asyncio.Event(), asyncio.Event()

    @job("test.taken")
    async def taken(ctx: JobContext, payload: Empty) -> str:
        begun.set()
        await finish.wait()
        return "mine"

    registry = Registry([taken])
    async with run_worker(registry) as worker, open_jobs(registry) as jobs:
        accepted = await jobs.submit(taken, Empty())
        await begun.wait()
        with Redis.from_url(redis_url) as client:
            client.hset(keys.record(accepted.id), "token", "another worker's")
        finish.set()
        await wait_until(lambda: not worker.tasks, "the outcome is dropped")
        record = await jobs.read(accepted.id)
        with Redis.from_url(redis_url) as client:
            client.flushall()
    assert record.state is JobState.RUNNING
    assert record.result is None


async def test_redis_away_is_weather(settings: Settings) -> None:
    """While Redis is away nothing is accepted and nothing dies; a running job settles after its return."""
    begun, finish = asyncio.Event(), asyncio.Event()

    @job("test.patient")
    async def patient(ctx: JobContext, payload: Empty) -> str:
        begun.set()
        await finish.wait()
        await ctx.progress(1, 1)
        return "done"

    registry = Registry([patient, double])
    with valkey() as server:
        own = settings.model_copy(update={"redis_url": SecretStr(server.url), "lease_s": 30.0})
        async with running_worker(registry, own), open_queue(own, registry) as jobs:
            accepted = await jobs.submit(patient, Empty())
            await begun.wait()
            server.stop()
            with pytest.raises(StoreUnavailable):
                await jobs.submit(double, Number(value=1))
            finish.set()
            await asyncio.to_thread(server.start)
            record = await jobs.wait(accepted.id, timeout_s=10)
            after = await jobs.wait((await jobs.submit(double, Number(value=1))).id, timeout_s=10)
    assert (record.result, record.rescues, after.result) == ("done", 0, 2)
