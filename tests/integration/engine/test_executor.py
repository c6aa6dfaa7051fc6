"""The executor by itself, on a real server: what becomes of each claimed job, whatever the job or others do."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from arq.constants import result_key_prefix

from arqway import DiscardJob, JobContext, JobDefinition, JobState, RetryJob, job
from arqway.workers.contract import keys
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.retry import NO_RETRY, RetryPolicy
from arqway.workers.contract.states import EndReason
from arqway.workers.executor import Executor, Limits
from arqway.workers.outcome import Retention
from arqway.workers.store.connection import open_redis
from arqway.workers.store.entries import Claim, Submission
from arqway.workers.store.jobs import JobStore
from tests.support.jobs import Empty, retries
from tests.support.plain_jobs import RETENTION_MS, settlement
from tests.support.waiting import wait_until

LEASE_MS = 10_000
QUEUE = "default"
SHORT = timedelta(milliseconds=80)


class Bench:
    """A store whose clock the test moves, and executors on it."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.now_ms = int(time.time() * 1000)
        self._count = 0

    def executor(self, *jobs: JobDefinition[Any, Any], **limits: Any) -> Executor:
        """Return an executor that knows these jobs."""
        usual = {"max_rescues": 3, "unknown_kind_ms": 60_000, "cancel_grace_s": 0.05}
        kept = Retention(RETENTION_MS, RETENTION_MS)
        registry = {definition.kind: definition for definition in jobs}
        return Executor(self.store, registry, "resources", Limits(retention=kept, **{**usual, **limits}))

    async def claimed(self, definition: JobDefinition[Any, Any], payload: bytes = b"{}", **extras: Any) -> Claim:
        """Submit a job, and claim it."""
        self._count += 1
        envelope = b'{"f":"%b","a":[%b],"k":{},"et":1}' % (definition.kind.encode(), payload)
        tries = definition.retry.max_attempts
        job_id = f"job{self._count}"
        await self.store.submit([Submission(job_id, definition.kind, QUEUE, envelope, tries, extras=extras or None)])  # type: ignore[arg-type]
        return await self.claim()

    async def claim(self) -> Claim:
        """Claim the one job that is due."""
        self._count += 1
        prefix = f"t{self._count}."
        found = await self.store.claim(QUEUE, want=10, lease_ms=LEASE_MS, worker="w", token_prefix=prefix)
        (claim,) = found.jobs
        return claim

    async def claim_again(self) -> Claim:
        """Claim the job that runs once its lease has run out."""
        self.now_ms += LEASE_MS + 1
        return await self.claim()

    async def ask_to_cancel(self, job_id: str) -> None:
        """Ask as a person does, without telling the executor."""
        arguments: dict[str, Any] = {"arq_result": b"", "keep_result_ms": 0, "retention_ms": RETENTION_MS}
        assert await self.store.cancel(job_id, QUEUE, **arguments) == "asked"

    async def read(self, job_id: str) -> JobRecord:
        """Return the job's record."""
        record = await self.store.read(job_id)
        assert record is not None
        return record

    async def run(self, executor: Executor, claim: Claim) -> JobRecord:
        """Run a claimed job to its end, and return its record."""
        await asyncio.wait(executor.start([claim]).values())
        return await self.settled(executor, claim.id)

    async def settled(self, executor: Executor, job_id: str) -> JobRecord:
        """Return the job's record once nothing of it is left in the executor."""
        await wait_until(lambda: job_id not in executor.running, "the outcome is written")
        await executor.drained()
        return await self.read(job_id)

    async def end(self, record: JobRecord) -> None:
        """Cancel a job that still waits, so that nothing is left behind."""
        arguments: dict[str, Any] = {"arq_result": b"", "keep_result_ms": 0, "retention_ms": RETENTION_MS}
        assert await self.store.cancel(record.id, QUEUE, **arguments) == "cancelled"


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    """A bench on an empty server."""
    redis = open_redis(redis_url)
    made = Bench(JobStore(redis, clock=lambda: made.now_ms))
    yield made
    await redis.aclose(close_connection_pool=True)


def failure_of(record: JobRecord) -> str:
    """Return the code of a job's failure."""
    assert record.failure is not None
    return record.failure.code


def that(function: Callable[[], Any], **options: Any) -> JobDefinition[Empty, Any]:
    """Return a job that does what ``function`` does."""

    @job("test.that", **options)
    async def do(ctx: JobContext, payload: Empty) -> Any:
        answer = function()
        return await answer if asyncio.iscoroutine(answer) else answer

    return do


def raising(error: BaseException) -> Callable[[], Any]:
    """Return a function that raises."""

    def fail() -> None:
        raise error

    return fail


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


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
    executor = bench.executor(unknown_kind_ms=20_000)
    record = await bench.run(executor, await bench.claimed(definition))
    assert (record.state, record.attempt, record.interrupts) == (JobState.QUEUED, 0, 0)
    assert record.due_ms <= bench.now_ms
    for _ in range(4):
        bench.now_ms += 5_000
        record = await bench.run(executor, await bench.claim())
    assert (record.state, failure_of(record)) == (JobState.FAILED, "unknown_kind")


async def test_a_job_that_was_cancelled_before_it_runs_is_not_begun(bench: Bench) -> None:
    """The claim says that a person asked meanwhile: the job ends as cancelled."""
    begun: list[int] = []
    definition = that(lambda: begun.append(1))
    claim = await bench.claimed(definition)
    await bench.ask_to_cancel(claim.id)
    record = await bench.run(bench.executor(definition), await bench.claim_again())
    assert (record.state, begun) == (JobState.CANCELLED, [])


@pytest.mark.parametrize(
    ("reason", "state"), [(EndReason.CANCEL, JobState.CANCELLED), (EndReason.INTERRUPT, JobState.QUEUED)]
)
@pytest.mark.parametrize("begun", [False, True])
async def test_a_running_job_can_be_told_to_end(bench: Bench, reason: EndReason, state: JobState, begun: bool) -> None:
    """A person's cancel is final, an interrupt costs no attempt, whether or not the job had its first step."""
    running = asyncio.Event()

    async def hang() -> None:
        running.set()
        await forever()

    definition = that(hang)
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    (task,) = executor.start([claim]).values()
    if begun:
        await running.wait()
    executor.end(claim.id, reason, token=f"{claim.token}0")
    executor.end("another job", reason)
    executor.end(claim.id, reason, token=claim.token)
    executor.end(claim.id, EndReason.TIMEOUT)  # the first reason counts
    await task
    record = await bench.settled(executor, claim.id)
    assert record.state is state
    if reason is EndReason.INTERRUPT:
        assert (record.attempt, record.interrupts) == (0, 1)
        await bench.end(record)


async def test_a_job_that_returns_although_it_was_told_to_end_has_succeeded(bench: Bench) -> None:
    """What is done is done: catching the cancellation and returning is a success."""
    running = asyncio.Event()

    async def finish() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            running.set()
            await forever()
        return "done"

    definition = that(finish)
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    executor.start([claim])
    await running.wait()
    executor.end(claim.id, EndReason.CANCEL)
    record = await bench.settled(executor, claim.id)
    assert (record.state, record.result) == (JobState.SUCCEEDED, "done")


async def test_a_cancel_that_was_not_heard_keeps_a_job_from_running_again(bench: Bench) -> None:
    """A failed attempt that would be tried again ends as cancelled where a person asked meanwhile."""
    proceed = asyncio.Event()

    async def fail() -> None:
        await proceed.wait()
        raise ValueError

    definition = that(fail, retry=RetryPolicy(max_attempts=3, on=(ValueError,)))
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    executor.start([claim])
    await bench.ask_to_cancel(claim.id)
    proceed.set()
    assert (await bench.settled(executor, claim.id)).state is JobState.CANCELLED


@pytest.mark.parametrize("reason", [EndReason.CANCEL, EndReason.TIMEOUT, EndReason.INTERRUPT])
async def test_a_job_that_does_not_end_is_given_up_on(
    bench: Bench, reason: EndReason, caplog: pytest.LogCaptureFixture
) -> None:
    """After the grace time it is settled without it; what it returns later is dropped."""
    release = asyncio.Event()
    running = asyncio.Event()

    async def stubborn() -> str:
        running.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return "too late"

    definition = that(stubborn)
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    (task,) = executor.start([claim]).values()
    await running.wait()
    executor.end(claim.id, reason)
    record = await bench.settled(executor, claim.id)
    release.set()
    await task
    await executor.drained()
    assert await bench.read(claim.id) == record
    expected = {EndReason.CANCEL: "cancelled", EndReason.TIMEOUT: "failed", EndReason.INTERRUPT: "queued"}
    assert (record.state, record.result) == (expected[reason], None)
    assert "given up on" in caplog.text
    assert "has ended after all" in caplog.text
    if record.state is JobState.QUEUED:
        await bench.end(record)


async def test_a_lost_job_is_left_to_its_new_owner(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What an attempt brings after another worker has claimed its job is dropped, and logged."""
    proceed = asyncio.Event()
    definition = that(proceed.wait)
    ours, theirs = bench.executor(definition), bench.executor(definition)
    claim = await bench.claimed(definition)
    ours.start([claim])
    rescue = await bench.claim_again()
    proceed.set()
    record = await bench.settled(ours, claim.id)
    assert (record.state, record.result) == (JobState.RUNNING, None)
    assert "Another worker owns this job now" in caplog.text
    assert (await bench.run(theirs, rescue)).state is JobState.SUCCEEDED


async def test_a_job_that_is_claimed_again_where_it_runs_goes_on(bench: Bench) -> None:
    """Redis was away for longer than a lease: the job is not begun twice, and its outcome counts."""
    proceed, begun = asyncio.Event(), []

    async def count() -> int:
        begun.append(1)
        await proceed.wait()
        return len(begun)

    definition = that(count)
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    executor.start([claim])
    assert executor.start([await bench.claim_again()]) == {}
    proceed.set()
    record = await bench.settled(executor, claim.id)
    assert (record.state, record.result, record.rescues) == (JobState.SUCCEEDED, 1, 1)


async def test_a_cancel_is_heard_from_a_second_claim(bench: Bench) -> None:
    """A job that goes on is cancelled where a person asked while Redis was away."""
    definition = that(forever)
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    executor.start([claim])
    await bench.ask_to_cancel(claim.id)
    assert executor.start([await bench.claim_again()]) == {}
    assert (await bench.settled(executor, claim.id)).state is JobState.CANCELLED


async def test_an_outcome_outlives_a_second_claim(bench: Bench) -> None:
    """A job that is claimed again between its end and the write of its outcome is not run again."""
    proceed, begun = asyncio.Event(), []

    async def count() -> int:
        begun.append(1)
        await proceed.wait()
        return len(begun)

    definition = that(count)
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    (task,) = executor.start([claim]).values()
    rescue = await bench.claim_again()
    proceed.set()
    await task
    assert executor.start([rescue]) == {}
    record = await bench.settled(executor, claim.id)
    assert (record.state, record.result) == (JobState.SUCCEEDED, 1)


async def test_an_attempt_whose_end_was_not_heard_of_gives_way(bench: Bench) -> None:
    """A claim of the next attempt is run, although the last one seems to run still: the server knows of its end."""
    proceed = asyncio.Event()

    @job("test.that", retry=retries(3))
    async def wait(ctx: JobContext, payload: Empty) -> int:
        if ctx.attempt == 1:
            await proceed.wait()
        return ctx.attempt

    executor = bench.executor(wait)
    claim = await bench.claimed(wait)
    (first,) = executor.start([claim]).values()
    await bench.store.settle([settlement(claim, JobState.RETRYING, 0, "f0")])
    await bench.run(executor, await bench.claim())
    proceed.set()
    await first
    await executor.drained()
    record = await bench.read(claim.id)
    assert (record.state, record.result) == (JobState.SUCCEEDED, 2)


async def test_jobs_that_were_not_begun_are_handed_back(bench: Bench) -> None:
    """A stopping worker returns what it has claimed, at no cost of an attempt."""
    definition = that(forever)
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    executor.hand_back([claim])
    await executor.drained()
    record = await bench.read(claim.id)
    assert (record.state, record.attempt, record.interrupts) == (JobState.QUEUED, 0, 1)
    await bench.end(record)


async def test_suspects_are_on_probation(bench: Bench) -> None:
    """Jobs that were rescued more than once count while they run; others do not."""
    proceed = asyncio.Event()
    definition = that(proceed.wait)
    executor = bench.executor(definition)
    claim = await bench.claimed(definition)
    for rescues, counted in enumerate((0, 0, 1)):
        executor.start([claim])
        assert (claim.rescues, executor.on_probation()) == (rescues, counted)
        if rescues < 2:
            claim = await bench.claim_again()
    proceed.set()
    await bench.settled(executor, claim.id)
    assert executor.on_probation() == 0
