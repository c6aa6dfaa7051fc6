"""The executor by itself, on a real server: how attempts end by what the job does, and by its limits."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from arq.constants import result_key_prefix

from arqway import DiscardJob, JobContext, JobDefinition, JobState, RetryJob, job
from arqway.workers.contract import keys
from arqway.workers.contract.retry import NO_RETRY
from tests.support.executor_bench import LEASE_MS, QUEUE, Bench, failure_of, forever, that
from tests.support.jobs import Empty, retries

SHORT = timedelta(milliseconds=80)


def raising(error: BaseException) -> Callable[[], Any]:
    """Return a function that raises."""

    def fail() -> None:
        raise error

    return fail


class Doom(BaseException):
    """What no ``except Exception`` catches."""


async def test_a_job_that_returns_has_succeeded(bench: Bench) -> None:
    """The job gets the executor's resources and who it is; its result is in the record and for stock arq clients."""

    @job("test.that", retry=retries(3))
    async def tell(ctx: JobContext[str], payload: Empty) -> list[Any]:
        return [ctx.resources, ctx.job_id, ctx.kind, ctx.attempt, ctx.max_attempts]

    record = await bench.run(bench.executor(tell), claim := await bench.claimed(tell))
    assert (record.state, record.result) == (JobState.SUCCEEDED, ["resources", claim.id, "test.that", 1, 3])
    assert await bench.store.redis.exists(f"{result_key_prefix}{claim.id}") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("x"), "exception"),
        (Doom(), "exception"),
        (SystemExit(1), "exception"),
        (asyncio.CancelledError(), "exception"),
        (DiscardJob("no_customer", "There is none."), "no_customer"),
        (RetryJob("later"), "retry_asked"),
        (RetryJob("later", code="busy"), "busy"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_job_that_raises_has_failed(bench: Bench, error: BaseException, code: str) -> None:
    """Without attempts left the job fails for good, with the code of what it raised."""
    definition = that(raising(error))
    record = await bench.run(bench.executor(definition), await bench.claimed(definition))
    assert (record.state, failure_of(record), record.attempt) == (JobState.FAILED, code, 1)


@pytest.mark.parametrize(
    ("error", "tries_again"),
    [
        (ValueError("x"), True),
        (RetryJob("later", after=timedelta(0)), True),
        (DiscardJob("no_customer", "There is none."), False),
        (Doom(), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_attempts_that_are_left_follow_the_policy(bench: Bench, error: BaseException, tries_again: bool) -> None:
    """What the policy takes for passing is tried again under the same id, until no attempt is left."""
    definition = that(raising(error), retry=retries(2))
    executor = bench.executor(definition)
    record = await bench.run(executor, await bench.claimed(definition))
    assert record.state is (JobState.RETRYING if tries_again else JobState.FAILED)
    if tries_again:
        record = await bench.run(executor, await bench.claim())
        assert (record.state, record.attempt) == (JobState.FAILED, 2)


async def test_a_result_that_is_not_json_is_a_failure(bench: Bench) -> None:
    """The job fails with invalid_result, and is not tried again."""
    definition = that(object, retry=retries(3))
    record = await bench.run(bench.executor(definition), await bench.claimed(definition))
    assert (record.state, failure_of(record)) == (JobState.FAILED, "invalid_result")


@pytest.mark.parametrize("payload", [b"7", b'{"more": 1}', b"null"])
async def test_a_payload_that_does_not_fit_is_a_failure(bench: Bench, payload: bytes) -> None:
    """The job is not begun: it fails with invalid_payload, and is not tried again."""
    begun: list[int] = []
    definition = that(lambda: begun.append(1), retry=retries(3))
    record = await bench.run(bench.executor(definition), await bench.claimed(definition, payload))
    assert (record.state, failure_of(record), begun) == (JobState.FAILED, "invalid_payload", [])


@pytest.mark.parametrize("envelope", [b"", b"\x80\x04.", b"[]", b'{"f": 7}'])
async def test_an_envelope_that_names_no_kind_is_a_failure(bench: Bench, envelope: bytes) -> None:
    """What a stock producer wrote and nobody can read fails with invalid_payload."""
    redis = bench.store.redis
    await redis.set(keys.envelope("stock"), envelope)
    await redis.zadd(keys.queue(QUEUE), {"stock": 1})
    record = await bench.run(bench.executor(), await bench.claim())
    assert (record.state, failure_of(record)) == (JobState.FAILED, "invalid_payload")


async def test_a_bug_of_ours_fails_the_job_only(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error outside the job's own code ends the job with code internal, and is logged."""

    class Faulty(JobDefinition[Any, Any]):
        def read_envelope(self, envelope: bytes) -> Any:
            raise ZeroDivisionError

    async def never(ctx: JobContext, payload: Empty) -> None: ...

    limits: dict[str, Any] = {"timeout": timedelta(seconds=1), "soft_timeout": None, "retry": NO_RETRY}
    faulty = Faulty(kind="test.faulty", function=never, queue=QUEUE, **limits)
    record = await bench.run(bench.executor(faulty), await bench.claimed(faulty))
    assert (record.state, failure_of(record)) == (JobState.FAILED, "internal")
    assert "please report this" in caplog.text


async def test_a_job_over_its_hard_limit_has_timed_out(bench: Bench) -> None:
    """It is cancelled, and fails with code timeout."""
    definition = that(forever, timeout=SHORT)
    record = await bench.run(bench.executor(definition), await bench.claimed(definition))
    assert (record.state, failure_of(record)) == (JobState.FAILED, "timeout")


async def test_a_timeout_is_tried_again_by_policy(bench: Bench) -> None:
    """A policy that names Exception means time-outs, too."""
    definition = that(forever, timeout=SHORT, retry=retries(2))
    record = await bench.run(bench.executor(definition), await bench.claimed(definition))
    assert record.state is JobState.RETRYING
    await bench.end(record)


async def test_the_deadline_cuts_the_hard_limit(bench: Bench) -> None:
    """A job does not run beyond its deadline, however much time it has by itself."""
    definition = that(forever, timeout=timedelta(hours=1))
    claim = await bench.claimed(definition, deadline_ms=bench.now_ms + 80)
    record = await bench.run(bench.executor(definition), claim)
    assert (record.state, failure_of(record)) == (JobState.FAILED, "timeout")


async def test_the_soft_limit_is_told_before_the_hard_one(bench: Bench) -> None:
    """The job may end in time, and has then succeeded."""

    @job("test.soft", timeout=timedelta(seconds=30), soft_timeout=timedelta(milliseconds=20))
    async def soft(ctx: JobContext, payload: Empty) -> str:
        assert not ctx.deadline_near.is_set()
        await ctx.deadline_near.wait()
        return "in time"

    record = await bench.run(bench.executor(soft), await bench.claimed(soft))
    assert (record.state, record.result) == (JobState.SUCCEEDED, "in time")


async def test_a_job_whose_deadline_has_passed_is_not_begun(bench: Bench) -> None:
    """It fails with deadline_exceeded; until the deadline it would have run."""
    begun: list[int] = []
    definition = that(lambda: begun.append(1), retry=retries(3))
    executor = bench.executor(definition)
    claim = await bench.claimed(definition, deadline_ms=bench.now_ms + LEASE_MS)
    assert claim.left_s > 0
    record = await bench.run(executor, await bench.claim_again())
    assert (record.state, failure_of(record), begun) == (JobState.FAILED, "deadline_exceeded", [])


async def test_a_job_that_loses_its_workers_is_not_begun(bench: Bench) -> None:
    """Up to max_rescues lost workers it runs as the same attempt; one more, and it fails with worker_lost."""
    definition = that(lambda: "ran")
    for rescues in (1, 2):
        claim = await bench.claimed(definition)
        for _ in range(rescues):
            claim = await bench.claim_again()
        record = await bench.run(bench.executor(definition, max_rescues=1), claim)
        assert (record.attempt, record.rescues) == (1, rescues)
        assert record.state is (JobState.SUCCEEDED if rescues == 1 else JobState.FAILED)
    assert failure_of(record) == "worker_lost"


async def test_an_unknown_kind_is_parked_then_fails(bench: Bench) -> None:
    """The job goes back for a newer worker, at no cost of an attempt; after the limit it fails with unknown_kind."""
    definition = that(forever)
    executor = bench.executor(unknown_kind_s=20)
    record = await bench.run(executor, await bench.claimed(definition))
    assert (record.state, record.attempt, record.interrupts) == (JobState.QUEUED, 0, 0)
    assert record.due_ms <= bench.now_ms
    for _ in range(4):
        bench.now_ms += 5_000
        record = await bench.run(executor, await bench.claim())
    assert (record.state, failure_of(record)) == (JobState.FAILED, "unknown_kind")


async def test_a_time_limit_counts_from_the_jobs_own_begin(bench: Bench) -> None:
    """A neighbour that blocks the loop before a job begins takes none of the job's time."""

    @job("test.innocent", timeout=timedelta(seconds=0.25))
    async def innocent(ctx: JobContext, payload: Empty) -> str:
        return await asyncio.sleep(0.05, "done")

    blocking = that(lambda: time.sleep(0.3))
    executor = bench.executor(blocking, innocent)
    claims = [await bench.claimed(blocking), await bench.claimed(innocent)]
    await asyncio.wait(executor.start(claims).values())
    ended = [await bench.settled(executor, claim.id) for claim in claims]
    assert [record.state for record in ended] == [JobState.SUCCEEDED, JobState.SUCCEEDED]
