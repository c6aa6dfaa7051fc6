"""The executor by itself, on a real server: how attempts end when others say so, and when claims come twice."""

import asyncio
import contextlib

import pytest

from arqway import JobContext, JobState, RetryPolicy, job
from arqway.workers.contract.states import EndReason
from tests.support.executor_bench import Bench, forever, that
from tests.support.jobs import Empty, retries
from tests.support.plain_jobs import settlement


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
