"""A worker tells Redis that it lives and how it is, and is off the list when it has stopped."""

import asyncio
import os
import socket

import pytest
from arq.connections import RedisSettings
from arq.worker import async_check_health
from redis import Redis

from arqway import JobContext, JobState, Registry, job
from arqway.workers.contract import keys
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.engine import heartbeat
from arqway.workers.store.connection import open_redis
from arqway.workers.store.workers import ArqHealth, Fleet
from tests.conftest import OpenQueue, RunWorker
from tests.support.fleet import fleet_at, living
from tests.support.jobs import Empty, Number, double
from tests.support.waiting import wait_for, wait_until

LIFE_MS = 30_000


def sample(worker_id: str, **changes: object) -> WorkerRecord:
    """Return a worker's record."""
    known = {"host": "h", "pid": 1, "version": "1", "queues": ("default",), "kinds": ("a.b", "c"), "max_jobs": 2}
    return WorkerRecord(id=worker_id, **{**known, **changes})  # type: ignore[arg-type]


async def test_a_worker_says_how_it_is(run_worker: RunWorker, redis_url: str) -> None:
    """Who, where, what it serves and since when, by the server's clock; both keys go by themselves."""
    async with fleet_at(redis_url) as fleet, run_worker(Registry([double]), max_jobs=7) as worker:
        (record,) = await living(fleet, 1)
        with Redis.from_url(redis_url) as client:
            seconds, _ = client.time()
            lives = [client.pttl(keys.worker(worker.worker_id)), client.pttl(keys.WORKERS)]
    assert record.id == worker.worker_id
    assert (record.host, record.pid, record.max_jobs) == (socket.gethostname(), os.getpid(), 7)
    assert (record.queues, record.kinds) == (("default",), ("test.double",))
    assert (record.running, record.settled, record.failed, record.stalled, record.unready) == (0, 0, 0, False, None)
    assert 0 <= seconds * 1000 + 1000 - record.started_ms < 10_000
    assert all(0 < life <= LIFE_MS for life in lives)


async def test_each_beat_counts_what_was_done(
    run_worker: RunWorker, redis_url: str, open_jobs: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs, what has ended and what has failed is that of the last beat; the start stays."""
    monkeypatch.setattr(heartbeat, "PERIOD_S", 0.05)
    monkeypatch.setattr(heartbeat, "BEATS", 1000)
    finish = asyncio.Event()

    @job("test.wait")
    async def wait(ctx: JobContext, payload: Empty) -> None:
        await finish.wait()

    @job("test.fail")
    async def fail(ctx: JobContext, payload: Empty) -> None:
        raise ValueError

    registry = Registry([double, wait, fail])
    async with fleet_at(redis_url) as fleet, run_worker(registry), open_jobs(registry) as jobs:
        (first,) = await living(fleet, 1)
        for submitted in (await jobs.submit(double, Number(value=1)), await jobs.submit(fail, Empty())):
            await jobs.wait(submitted.id, timeout_s=5)
        running = await jobs.submit(wait, Empty())
        await wait_for(jobs, running.id, lambda record: record.state is JobState.RUNNING, "runs")

        async def told() -> bool:
            (now,) = await fleet.read()
            return (now.running, now.settled, now.failed, now.started_ms) == (1, 2, 1, first.started_ms)

        await wait_until(told, "the beat says one runs, two have ended, one of them failed")
        finish.set()
        await jobs.wait(running.id, timeout_s=5)


async def test_a_stopped_worker_is_off_the_list(run_worker: RunWorker, redis_url: str) -> None:
    """Nothing of it is left: no record, no entry in the index."""
    async with fleet_at(redis_url) as fleet:
        async with run_worker(Registry([double])):
            await living(fleet, 1)
        assert await fleet.read() == []
    with Redis.from_url(redis_url) as client:
        assert client.zcard(keys.WORKERS) == 0


async def test_a_worker_that_has_fallen_silent_is_forgotten(redis_url: str) -> None:
    """Three missed beats, and the next beat of another takes it off the index."""
    now_ms = 1_000_000
    redis = open_redis(redis_url)
    fleet = Fleet(redis, clock=lambda: now_ms)
    health = ArqHealth("arq:queue:health-check", "arq:queue", "queued=", 1000)
    try:
        await fleet.beat(sample("silent"), life_ms=LIFE_MS, arq_health=health)
        now_ms += LIFE_MS - 1
        started_ms = await fleet.beat(sample("other"), life_ms=LIFE_MS, arq_health=health)
        assert [worker.id for worker in await fleet.read()] == ["other", "silent"]
        now_ms += 1
        await fleet.beat(sample("other", unready="loop_blocked"), life_ms=LIFE_MS, arq_health=health)
        await fleet.beat(sample("other", running=2, started_ms=started_ms), life_ms=LIFE_MS, arq_health=health)
        (left,) = await fleet.read()
    finally:
        await redis.aclose(close_connection_pool=True)
    assert left == sample("other", running=2, started_ms=1_000_000 + LIFE_MS - 1, beat_ms=now_ms)


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")  # arq's own
async def test_stock_arq_sees_its_health_record(run_worker: RunWorker, redis_url: str) -> None:
    """`arq --check` finds the worker alive, with arq's counters and the length of the queue."""
    async with fleet_at(redis_url) as fleet, run_worker(Registry([double])) as worker:
        await living(fleet, 1)
        with Redis.from_url(redis_url, decode_responses=True) as client:
            told = str(client.get("arq:queue:health-check"))
            life_ms = client.pttl("arq:queue:health-check")
        found = await async_check_health(RedisSettings.from_dsn(redis_url), worker.health_check_key)
    assert found == 0
    assert told.endswith("j_complete=0 j_failed=0 j_retried=0 j_ongoing=0 queued=0")
    assert 0 < life_ms <= 31_000
