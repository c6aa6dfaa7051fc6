"""How a worker delivers: beside its jobs, in slots of its own, and with all that jobs are promised."""

import asyncio
import json
import time
from signal import Signals
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from arqway import JobState
from arqway.workers.client import JobQueue, open_queue
from arqway.workers.contract import keys
from arqway.workers.engine.worker import JobWorker
from arqway.workers.settings import Settings
from tests.support.jobs import Number, double
from tests.support.redis_server import valkey
from tests.support.waiting import wait_until
from tests.support.webhook_jobs import (
    FINAL,
    REGISTRY,
    delivery,
    redeliver,
    stack,
    submitted,
    with_webhooks,
)
from tests.support.webhook_receiver import OK, answer, receiving
from tests.support.worker import running_worker


@pytest.fixture
def hooked(settings: Settings) -> Settings:
    """Settings with webhooks on, which may go to this machine."""
    return with_webhooks(settings)


async def test_slow_receivers_take_no_slot_of_a_job(hooked: Settings) -> None:
    """Deliveries have slots of their own: so many are called at a time, and jobs run meanwhile."""
    narrow = hooked.model_copy(update={"max_jobs": 1, "webhook_slots": 2})
    async with receiving(None, OK) as receiver:
        receiver.answers = [None]
        async with stack(narrow) as (worker, jobs):
            waiting = [await submitted(jobs, receiver) for _ in range(4)]
            await wait_until(lambda: receiver.connections == 2, "both slots are taken")
            assert (await jobs.wait((await jobs.submit(double, Number(value=4))).id, timeout_s=5)).result == 8
            assert (receiver.connections, len(worker.tasks)) == (2, 0)
            receiver.answers = [OK]
            receiver.held.set()  # the two that were held are cut off, and tried again later
            states = [(await delivery(jobs, each, *FINAL, JobState.RETRYING)).state for each in waiting]
            for each in waiting:
                await _cancelled(jobs, each)
    assert sorted(states) == [JobState.RETRYING] * 2 + [JobState.SUCCEEDED] * 2


async def _cancelled(jobs: JobQueue, delivery_id: str) -> None:
    if (await jobs.read(delivery_id)).state is JobState.RETRYING:
        await jobs.cancel(delivery_id)


async def test_a_delivery_begins_when_its_job_ends(hooked: Settings) -> None:
    """An idle worker is woken for it, long before it would have looked by itself."""
    async with receiving() as receiver, stack(hooked) as (_, jobs):
        await delivery(jobs, await submitted(jobs, receiver))
        begun_s = time.monotonic()
        await delivery(jobs, await submitted(jobs, receiver))
    assert time.monotonic() - begun_s < 2.5


async def test_a_stopping_worker_hands_a_delivery_back(hooked: Settings) -> None:
    """At no cost of an attempt, as any job; the next worker sends the same message."""
    async with receiving(None, OK) as receiver, open_queue(hooked, REGISTRY) as jobs:
        async with running_worker(REGISTRY, hooked):
            delivery_id = await submitted(jobs, receiver)
            await wait_until(lambda: receiver.messages, "the message has come")
        handed = await jobs.read(delivery_id)
        async with running_worker(REGISTRY, hooked):
            record = await delivery(jobs, delivery_id)
    assert (handed.state, handed.attempt, handed.interrupts) == (JobState.QUEUED, 0, 1)
    assert (record.state, record.attempt) == (JobState.SUCCEEDED, 1)
    first, second = receiver.messages
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_stopping_worker_writes_what_became_of_its_deliveries(hooked: Settings) -> None:
    """Also where Redis is away for a moment: the worker does not go before that is written."""
    with valkey() as server:
        own = hooked.model_copy(update={"redis_url": SecretStr(server.url), "lease_s": 30.0})
        async with receiving(None) as receiver, stack(own) as (worker, jobs):
            delivery_id = await submitted(jobs, receiver)
            await wait_until(lambda: receiver.messages, "the message has come")
            server.stop()
            worker.handle_sig(Signals.SIGTERM)
            assert worker.main_task is not None
            gone, _ = await asyncio.wait([worker.main_task], timeout=0.5)
            await asyncio.to_thread(server.start)
            await asyncio.wait([worker.main_task])
            record = await jobs.read(delivery_id)
    assert (gone, record.state, record.interrupts) == (set(), JobState.QUEUED, 1)


async def test_a_stopping_worker_lets_a_delivery_end(hooked: Settings) -> None:
    """Within the drain time; and claims no other meanwhile."""
    patient = hooked.model_copy(update={"drain_s": 10.0})
    async with receiving(None, answer(200)) as receiver, stack(patient) as (worker, jobs):
        delivery_id = await submitted(jobs, receiver)
        await wait_until(lambda: receiver.messages, "the message has come")
        worker.handle_sig(Signals.SIGTERM)
        await redeliver(jobs, delivery_id.removesuffix(".webhook"), "later")
        receiver.held.set()
        assert worker.main_task is not None
        await asyncio.wait([worker.main_task])
        record, later = await jobs.read(delivery_id), await jobs.read("later")
        await jobs.cancel(delivery_id)
        await jobs.cancel("later")
    assert (record.state, record.interrupts) == (JobState.RETRYING, 0)
    assert (later.state, len(receiver.messages)) == (JobState.QUEUED, 1)


async def test_a_lost_workers_delivery_is_rescued(hooked: Settings) -> None:
    """Deliveries have leases as jobs do."""
    async with receiving() as receiver, open_queue(hooked, REGISTRY) as jobs:
        accepted = await jobs.submit(double, Number(value=1), callback_url=receiver.url)
        await jobs.cancel(accepted.id)
        dead = "dead."
        claims = await jobs._store.claim("webhooks", want=1, lease_ms=20, worker=dead, token_prefix=dead)
        assert [claim.id for claim in claims.jobs] == [f"{accepted.id}.webhook"]
        async with running_worker(REGISTRY, hooked):
            record = await delivery(jobs, f"{accepted.id}.webhook")
    assert (record.state, record.rescues, len(receiver.messages)) == (JobState.SUCCEEDED, 1, 1)


async def test_a_slow_delivery_keeps_its_lease(hooked: Settings) -> None:
    """A receiver that takes longer than a lease is called once: the lease is renewed meanwhile."""
    async with receiving(None, OK) as receiver, stack(hooked) as (_, jobs):
        delivery_id = await submitted(jobs, receiver)
        await wait_until(lambda: receiver.messages, "the message has come")
        begun_s = time.monotonic()
        await wait_until(lambda: time.monotonic() - begun_s > 1.5 * hooked.lease_s, "the first lease has ended")
        record = await jobs.read(delivery_id)
        await jobs.cancel(delivery_id)
        await delivery(jobs, delivery_id, JobState.CANCELLED)
    assert (record.state, record.rescues, len(receiver.messages)) == (JobState.RUNNING, 0, 1)


async def test_a_burst_counts_jobs_and_does_not_wait_for_deliveries(hooked: Settings) -> None:
    """A burst ends when its own queues are empty; arq's counters and limits are about its jobs only."""
    async with receiving(answer(503)) as receiver, open_queue(hooked, REGISTRY) as jobs:
        accepted = [await jobs.submit(double, Number(value=n), callback_url=receiver.url) for n in range(5)]
        worker = JobWorker(registry=REGISTRY, settings=hooked, burst=True, max_burst_jobs=4, handle_signals=False)
        await worker.async_run()
        await worker.close()
        states = [(await jobs.read(record.id)).state for record in accepted]
        counts = (worker.jobs_complete, worker.jobs_retried, worker.jobs_failed)
        for record, state in zip(accepted, states, strict=True):
            await jobs.cancel(record.id if state is JobState.QUEUED else f"{record.id}.webhook")
    assert sorted(states) == [JobState.QUEUED] + [JobState.SUCCEEDED] * 4
    assert counts == (4, 0, 0)


async def test_hooks_are_for_jobs(hooked: Settings) -> None:
    """Arq's hooks do not hear of deliveries."""
    heard: list[str] = []

    async def hear(ctx: dict[str, str]) -> None:
        heard.append(ctx["job_id"])

    hooks: dict[str, Any] = {"on_job_start": hear, "on_job_end": hear, "after_job_end": hear}
    worker = JobWorker(registry=REGISTRY, settings=hooked, handle_signals=False, **hooks)
    run = asyncio.create_task(worker.async_run())
    async with receiving() as receiver, open_queue(hooked, REGISTRY) as jobs:
        delivery_id = await submitted(jobs, receiver)
        await delivery(jobs, delivery_id)
    worker.handle_sig(Signals.SIGTERM)
    await run
    await worker.close()
    assert heard == [delivery_id.removesuffix(".webhook")] * 3


async def test_a_worker_tells_that_it_delivers(hooked: Settings, redis_url: str) -> None:
    """Its record has the queue and the kind, so that nobody takes deliveries for jobs that no worker knows."""
    async with running_worker(REGISTRY, hooked) as worker:
        with Redis.from_url(redis_url, decode_responses=True) as client:
            await wait_until(lambda: client.exists(keys.worker(worker.worker_id)), "the worker beats")
            record = client.hgetall(keys.worker(worker.worker_id))
    assert isinstance(record, dict)
    assert "webhooks" in json.loads(record["queues"])
    assert "webhook.deliver" in json.loads(record["kinds"])


async def test_without_secrets_nothing_is_different(settings: Settings) -> None:
    """No delivery is claimed, and the server is not asked about their queue once."""
    async with stack(settings) as (_, jobs):
        await redeliver(jobs, "some", "waiting")
        async with jobs._store.redis.monitor() as monitor:
            seen: list[str] = []
            while sum("blpop" in command.lower() for command in seen) < 5:
                seen.append((await monitor.next_command())["command"])
        record = await jobs.read("waiting")
        await jobs.cancel("waiting")
    assert record.state is JobState.QUEUED
    assert [command for command in seen if keys.queue("webhooks") in command] == []
