"""Nothing dies unseen: a duty of a worker that fails is started again, or else the worker ends, which others see."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from signal import Signals
from typing import Any

import pytest
from arq import cron, func
from redis import Redis

from arqway import JobContext, JobState, Registry, job
from arqway.workers import background
from arqway.workers.background import DutyError
from arqway.workers.contract import keys
from arqway.workers.engine import heartbeat
from arqway.workers.engine.worker import JobWorker
from arqway.workers.settings import Settings
from tests.conftest import OpenQueue, RunWorker
from tests.support.arq_workers import MakeWorker
from tests.support.fleet import fleet_at, living
from tests.support.jobs import Empty
from tests.support.waiting import wait_for, wait_until


def failed(caplog: pytest.LogCaptureFixture, duty: str) -> int:
    """Count the failures of a duty that are in the log."""
    return sum(vars(line).get("duty") == duty and line.levelno == logging.ERROR for line in caplog.records)


@job("test.hang")
async def hang(ctx: JobContext, payload: Empty) -> None:
    """Wait until told to end."""
    await asyncio.Event().wait()


HANGS = Registry([hang])


@asynccontextmanager
async def hanging(
    run_worker: RunWorker, open_jobs: OpenQueue, **changes: Any
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A worker that runs a job; the given function asks to cancel it, and returns when it is cancelled."""
    async with run_worker(HANGS, **changes), open_jobs(HANGS) as jobs:
        accepted = await jobs.submit(hang, Empty())
        await wait_for(jobs, accepted.id, lambda record: record.state is JobState.RUNNING, "runs")

        async def cancel() -> None:
            await jobs.cancel(accepted.id)
            assert (await jobs.wait(accepted.id, timeout_s=5)).state is JobState.CANCELLED

        yield cancel


MESSAGES = [b"\xff\xfe token", b"", b"no-space", b" ", b"\x00" * 1000, "ü ü".encode()]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda raw: repr(raw[:10]))
async def test_no_message_ends_the_listening(
    run_worker: RunWorker, open_jobs: OpenQueue, redis_url: str, message: bytes
) -> None:
    """Whatever is published on the channel of cancellations, the next request is heard at once."""
    async with hanging(run_worker, open_jobs, lease_s=3600) as cancel:
        with Redis.from_url(redis_url) as client:
            await wait_until(lambda: client.publish(keys.CANCEL_CHANNEL, message), "the worker listens")
        await cancel()


MEMBERS: list[dict[str | bytes, float]] = [
    {b"\xff\xfe": 1e15},
    {b"": 1e15},
    {b"job": float("inf")},
    {b"job": 0.5},
    {b"x" * 10_000: 1e15},
]


@pytest.mark.parametrize("members", MEMBERS, ids=lambda members: repr(members)[:20])
async def test_no_abort_ends_cron(redis_url: str, make_worker: MakeWorker, members: dict[str | bytes, float]) -> None:
    """Whatever stands in arq:abort while a job runs, cron jobs go on, and so do aborts."""
    runs: list[str] = []

    async def tick(ctx: dict[str, Any]) -> None:
        runs.append(ctx["job_id"])

    async def wait(ctx: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    worker = make_worker(
        func(wait, name="wait"), burst=False, cron_jobs=[cron(tick, name="tick", second=set(range(60)), microsecond=0)]
    )
    run = asyncio.create_task(worker.async_run())
    await wait_until(lambda: worker.main_task is not None and worker._pool is not None, "it has begun")
    aborted = await worker.pool.enqueue_job("wait")
    await wait_until(lambda: worker.tasks, "the job runs")
    with Redis.from_url(redis_url) as client:
        client.zadd(keys.ARQ_ABORT, members)
        before = len(runs)
        await wait_until(lambda: len(runs) > before + 1, "cron goes on")
        assert aborted is not None
        assert await aborted.abort(timeout=5, poll_delay=0.02)
        worker.handle_sig(Signals.SIGTERM)
        await run
        client.delete(keys.ARQ_ABORT)


SPOILT = {"aborts": keys.ARQ_ABORT, "heartbeat": keys.WORKERS}
"""Duties, and the key of which each needs that it is a sorted set."""


@pytest.mark.parametrize("duty", SPOILT)
async def test_a_duty_whose_key_was_spoilt_is_back_when_it_is_mended(
    run_worker: RunWorker,
    open_jobs: OpenQueue,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    duty: str,
) -> None:
    """An error that does not pass by itself is logged, and the duty tries again until it is mended."""
    monkeypatch.setattr(heartbeat, "PERIOD_S", 0.05)
    with Redis.from_url(redis_url) as client:
        async with hanging(run_worker, open_jobs, lease_s=3600) as cancel, fleet_at(redis_url) as fleet:
            client.set(SPOILT[duty], "spoilt")
            await wait_until(lambda: failed(caplog, duty) >= 2, "it has failed, and tried again")
            client.delete(SPOILT[duty])
            await living(fleet, 1)
            await cancel()


async def test_a_slip_of_access_rules_costs_no_lease(
    run_worker: RunWorker, open_jobs: OpenQueue, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where renewing is refused for a moment, leases are kept as soon as it is allowed again."""
    with Redis.from_url(redis_url) as client:
        async with hanging(run_worker, open_jobs, lease_s=2.0) as cancel:
            client.execute_command("ACL", "SETUSER", "default", "-zadd")
            try:
                await wait_until(lambda: failed(caplog, "leases"), "renewing has failed")
            finally:
                client.execute_command("ACL", "SETUSER", "default", "+zadd")
            (lease,) = client.keys(f"{keys.LEASE_PREFIX}*")
            value = client.get(lease)
            await wait_until(lambda: client.get(lease) not in {None, value}, "the lease is renewed")
            await cancel()


@pytest.mark.parametrize("duty", SPOILT)
async def test_a_worker_ends_when_a_duty_keeps_failing(
    settings: Settings,
    open_jobs: OpenQueue,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    duty: str,
) -> None:
    """In whichever thread the duty is: the worker hands back what it runs and ends with an error that says which."""
    monkeypatch.setattr(background, "_RESTART_CAP_S", 0.01)
    monkeypatch.setattr(heartbeat, "PERIOD_S", 0.05)
    patient = settings.model_copy(update={"drain_s": 30.0, "lease_s": 3600.0})
    worker = JobWorker(registry=HANGS, settings=patient, handle_signals=False)
    run = asyncio.create_task(worker.async_run())
    async with open_jobs(HANGS) as jobs:
        accepted = await jobs.submit(hang, Empty())
        await wait_for(jobs, accepted.id, lambda record: record.state is JobState.RUNNING, "runs")
        with Redis.from_url(redis_url) as client:
            client.delete(SPOILT[duty])
            client.set(SPOILT[duty], "spoilt", ex=60)
            await wait_until(lambda: "keeps failing" in caplog.text, "the duty is given up")
            client.delete(SPOILT[duty])
        with pytest.raises(DutyError, match=duty):
            await run
        await worker.close()
        record = await jobs.read(accepted.id)
        await jobs.cancel(accepted.id)
    assert (record.state, record.attempt, record.interrupts) == (JobState.QUEUED, 0, 1)
    assert any(line.levelno == logging.CRITICAL and vars(line).get("duty") == duty for line in caplog.records)


async def test_an_error_in_a_health_answer_is_no_end_of_it(
    run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A health port that could not begin to answer does so when it can: its socket stays open meanwhile."""
    caplog.set_level("INFO")
    start, troubles = asyncio.start_server, iter([OSError(24, "Too many open files"), ValueError("a bug")])

    async def troubled(*args: Any, **options: Any) -> Any:
        for trouble in troubles:
            raise trouble
        return await start(*args, **options)

    monkeypatch.setattr(asyncio, "start_server", troubled)
    async with run_worker(HANGS, worker_health_port=0):
        await wait_until(lambda: "The health port is open" in caplog.text, "the port is open")
    assert failed(caplog, "health port") == 2
