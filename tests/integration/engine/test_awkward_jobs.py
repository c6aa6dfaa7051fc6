"""Whatever a job does, the worker survives and the record says what happened."""

import asyncio
import contextlib
import pickle
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from arqway import JobContext, JobDefinition, JobState, Registry, RetryPolicy, job
from arqway.workers.contract import keys
from arqway.workers.contract.record import Failure, JobRecord
from tests.conftest import OpenQueue, RunWorker
from tests.support.jobs import Empty, Number, double, retries
from tests.support.waiting import wait_for

LIMIT = timedelta(milliseconds=100)
RunOne = Callable[[JobDefinition[Empty, Any]], Awaitable[JobRecord]]


@pytest.fixture
def run_one(run_worker: RunWorker, open_jobs: OpenQueue) -> RunOne:
    """Run one job to its end, and then another, to show that the worker lives."""

    async def run(definition: JobDefinition[Empty, Any]) -> JobRecord:
        registry = Registry([definition, double])
        async with run_worker(registry, max_jobs=1), open_jobs(registry) as jobs:
            record = await jobs.wait((await jobs.submit(definition, Empty())).id, timeout_s=10)
            after = await jobs.wait((await jobs.submit(double, Number(value=2))).id, timeout_s=10)
        assert after.result == 4
        return record

    return run


def _failure(record: JobRecord) -> Failure:
    assert record.state is JobState.FAILED
    assert record.failure is not None
    return record.failure


class Doom(BaseException):
    """What no `except Exception` catches."""


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), Doom("x"), GeneratorExit(), asyncio.CancelledError()]
)
async def test_base_exceptions_fail_the_job_only(error: BaseException, run_one: RunOne) -> None:
    """A job may raise any BaseException: it fails with its class in the record, and is not retried."""

    @job("test.doom", retry=retries(3))
    async def doom(ctx: JobContext, payload: Empty) -> None:
        raise error

    record = await run_one(doom)
    assert _failure(record).error == f"{type(error).__module__}.{type(error).__qualname__}"
    assert record.attempt == 1


async def test_a_job_past_its_hard_limit_is_ended(run_one: RunOne) -> None:
    """A job that takes longer than its time-out is cancelled and fails with code timeout."""

    @job("test.slow", timeout=LIMIT)
    async def slow(ctx: JobContext, payload: Empty) -> None:
        await asyncio.Event().wait()

    assert _failure(await run_one(slow)).code == "timeout"


async def test_a_timeout_is_retryable_by_policy(run_one: RunOne) -> None:
    """A policy that names Exception retries a time-out like any failure."""

    @job("test.slow_once", timeout=LIMIT, retry=retries(2))
    async def slow_once(ctx: JobContext, payload: Empty) -> int:
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return ctx.attempt

    assert (await run_one(slow_once)).result == 2


async def test_the_soft_limit_tells_the_job(run_one: RunOne) -> None:
    """At the soft limit the job is told, and may clean up and return in time."""

    @job("test.soft", timeout=timedelta(seconds=5), soft_timeout=timedelta(milliseconds=20))
    async def soft(ctx: JobContext, payload: Empty) -> str:
        await ctx.deadline_near.wait()
        return "cleaned up"

    assert (await run_one(soft)).result == "cleaned up"


async def test_a_job_that_blocks_past_its_deadline_has_timed_out(run_one: RunOne) -> None:
    """A result that comes after the deadline is refused, even if nothing could interrupt the job."""

    @job("test.blocking", timeout=LIMIT)
    async def blocking(ctx: JobContext, payload: Empty) -> str:
        time.sleep(0.15)  # noqa: ASYNC251 - the point
        return "too late"

    record = await run_one(blocking)
    assert (_failure(record).code, record.result) == ("timeout", None)


async def test_a_job_that_returns_after_swallowing_its_timeout_has_timed_out(run_one: RunOne) -> None:
    """Catching the cancellation of a time-out and returning does not make it a success."""

    @job("test.swallow", timeout=LIMIT)
    async def swallow(ctx: JobContext, payload: Empty) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "fine"

    assert _failure(await run_one(swallow)).code == "timeout"


async def test_a_job_that_will_not_end_is_given_up_on(run_one: RunOne, caplog: pytest.LogCaptureFixture) -> None:
    """A job that swallows every cancellation is settled after the grace time, its slot freed, the fact logged."""
    release = asyncio.Event()

    @job("test.stubborn", timeout=LIMIT)
    async def stubborn(ctx: JobContext, payload: Empty) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    record = await run_one(stubborn)
    release.set()
    assert _failure(record).code == "timeout"
    assert "given up on" in caplog.text


@pytest.mark.parametrize("value", [object(), {1: {2}}, float("nan"), "text"], ids=["object", "set", "nan", "text"])
async def test_a_result_of_another_type_is_a_failure(value: Any, run_one: RunOne) -> None:
    """A result that its annotation cannot write as JSON fails the job with invalid_result, without a retry."""

    @job("test.result", retry=retries(3))
    async def result(ctx: JobContext, payload: Empty) -> Number:
        return value  # type: ignore[no-any-return]

    record = await run_one(result)
    assert (_failure(record).code, record.attempt) == ("invalid_result", 1)


async def test_a_payload_that_no_longer_fits_is_kept_for_inspection(
    run_worker: RunWorker, open_jobs: OpenQueue, redis_url: str
) -> None:
    """A payload that the worker's newer model refuses fails with invalid_payload; the envelope stays in the record."""

    @job("test.shape", retry=retries(3))
    async def old(ctx: JobContext, payload: dict[str, str]) -> None: ...

    @job("test.shape", retry=retries(3))
    async def new(ctx: JobContext, payload: Number) -> None: ...

    async with run_worker(Registry([new])), open_jobs(Registry([old])) as jobs:
        record = await jobs.wait((await jobs.submit(old, {"value": "many"})).id, timeout_s=5)
    with Redis.from_url(redis_url) as client:
        kept = client.hget(keys.record(record.id), "envelope")
    assert (_failure(record).code, record.attempt) == ("invalid_payload", 1)
    assert b'{"value":"many"}' in kept


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._target,)


async def test_a_pickle_in_the_queue_is_never_unpickled(
    run_worker: RunWorker, open_jobs: OpenQueue, redis_url: str, tmp_path: Path
) -> None:
    """A malicious pickle under arq:job:* is refused and recorded as failed; what it would run does not run."""
    target = tmp_path / "pwned"
    registry = Registry([double])
    with Redis.from_url(redis_url) as client:
        client.set(keys.envelope("evil"), pickle.dumps({"t": 1, "f": Bomb(target), "a": (), "k": {}, "et": 1}))
        client.zadd(keys.queue("default"), {"evil": 1})
        async with run_worker(registry), open_jobs(registry) as jobs:
            record = await wait_for(jobs, "evil", lambda r: r.finished, "has ended")
    assert _failure(record).code == "invalid_payload"
    assert not target.exists()


async def test_an_unknown_kind_waits_for_a_newer_worker(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A worker that does not know a kind parks the job at no cost of an attempt."""

    @job("test.newer", retry=RetryPolicy(max_attempts=1))
    async def newer(ctx: JobContext, payload: Empty) -> int:
        return ctx.attempt

    async with run_worker(Registry([double])), open_jobs(Registry([newer])) as jobs:
        accepted = await jobs.submit(newer, Empty())
        record = await wait_for(jobs, accepted.id, lambda r: r.version == 3, "was claimed and parked")
        await jobs.cancel(accepted.id)
    assert (record.state, record.attempt, record.interrupts) == (JobState.QUEUED, 0, 0)


async def test_an_unknown_kind_fails_after_its_limit(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job whose kind nobody knows for too long fails with unknown_kind."""

    @job("test.nobody")
    async def nobody(ctx: JobContext, payload: Empty) -> None: ...

    async with run_worker(Registry([double]), unknown_kind_s=0.0), open_jobs(Registry([nobody])) as jobs:
        record = await jobs.wait((await jobs.submit(nobody, Empty())).id, timeout_s=5)
    assert _failure(record).code == "unknown_kind"
