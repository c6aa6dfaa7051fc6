"""What a caller may say about a job beside its payload, and what follows from it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arqway import JobContext, JobState, Registry, RetryPolicy, job
from arqway.workers.contract.errors import (
    CallbacksOff,
    DuplicateJob,
    InvalidSubmission,
    NotUnique,
    QueueNotAllowed,
)
from tests.conftest import OpenQueue, RunWorker
from tests.support.by_hand import ByHand, first, second
from tests.support.jobs import Empty, Number, retries
from tests.support.waiting import wait_until

LATER = datetime(2100, 1, 1, tzinfo=UTC)
PAST_IT = timedelta(milliseconds=1)


async def test_every_option_reaches_the_record(by_hand: ByHand) -> None:
    """What is accepted says at once what the record says: options, state and times; a tag that comes twice is one."""
    (accepted,) = await by_hand.submit(
        job_id="My.id:1",
        run_at=LATER,
        queue="slow",
        tags=["a", "B/c", "a"],
        unique_key="u@1",
        deadline=LATER + timedelta(days=1),
        tenant="acme",
    )
    record = await by_hand.queue.read("My.id:1", tenant="acme")
    assert record == accepted
    assert (record.state, record.queue, record.tags, record.unique_key) == (
        JobState.SCHEDULED,
        "slow",
        ("a", "B/c"),
        "u@1",
    )
    assert record.due_ms == int(LATER.timestamp() * 1000)
    assert record.deadline_ms == record.due_ms + 86_400_000


async def test_a_job_without_options_says_so(by_hand: ByHand) -> None:
    """Without options a job is queued in its kind's own queue, and what is accepted is what the record says."""
    (accepted,) = await by_hand.submit()
    assert await by_hand.queue.read(accepted.id) == accepted
    assert (accepted.state, accepted.queue, accepted.tenant) == (JobState.QUEUED, "default", "default")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tags": [f"t{n}" for n in range(9)]}, InvalidSubmission),
        ({"tags": ["with space"]}, InvalidSubmission),
        ({"tags": [""]}, InvalidSubmission),
        ({"unique_key": ""}, InvalidSubmission),
        ({"unique_key": "\n"}, InvalidSubmission),
        ({"unique_key": "x" * 129}, InvalidSubmission),
        ({"queue": "elsewhere"}, QueueNotAllowed),
        ({"tenant": "A"}, InvalidSubmission),
        ({"job_id": "no spaces"}, InvalidSubmission),
        ({"delay": timedelta(days=40_000)}, InvalidSubmission),
        ({"delay": -timedelta(seconds=1)}, InvalidSubmission),
        ({"run_at": datetime(2100, 1, 1)}, InvalidSubmission),  # noqa: DTZ001 - that is what is refused
        ({"deadline": datetime(2100, 1, 1)}, InvalidSubmission),  # noqa: DTZ001
        ({"deadline": datetime(2000, 1, 1, tzinfo=UTC)}, InvalidSubmission),
        ({"run_at": LATER, "deadline": LATER}, InvalidSubmission),
        ({"callback_url": "https://example.com/"}, CallbacksOff),
    ],
)
async def test_an_option_that_cannot_be_used_is_refused(
    by_hand: ByHand, options: dict[str, Any], error: type[Exception]
) -> None:
    """A wrong option is an error of the caller, and nothing is accepted."""
    with pytest.raises(error):
        await by_hand.submit(**options)
    assert await by_hand.claim() == []


async def test_an_id_is_accepted_once(by_hand: ByHand) -> None:
    """A second job with an accepted id is refused, also after the first one's end and for another tenant."""
    await by_hand.submit(job_id="one")
    await by_hand.run()
    with pytest.raises(DuplicateJob):
        await by_hand.submit(job_id="one", tenant="acme")


@pytest.mark.parametrize("end", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
async def test_a_unique_key_is_held_until_the_end(by_hand: ByHand, end: JobState) -> None:
    """While a job has a unique key, another one is refused and told which has it; at its very end the key is free."""
    (holder,) = await by_hand.submit(unique_key="u")
    for step in (JobState.RETRYING, end):
        with pytest.raises(NotUnique) as refused:
            await by_hand.submit(unique_key="u")
        assert refused.value.job_id == holder.id
        await by_hand.run(step)
    (after,) = await by_hand.submit(unique_key="u")
    assert after.unique_key == "u"


async def test_a_cancelled_job_gives_its_unique_key_back(by_hand: ByHand) -> None:
    """A job that is cancelled while it waits holds nothing."""
    (holder,) = await by_hand.submit(unique_key="u", delay=timedelta(hours=1))
    await by_hand.queue.cancel(holder.id)
    await by_hand.submit(unique_key="u")


async def test_a_unique_key_is_of_one_tenant_and_kind(by_hand: ByHand) -> None:
    """The same key of another tenant, or of another kind of job, is another key."""
    await by_hand.submit(unique_key="u")
    await by_hand.submit(unique_key="u", tenant="acme")
    await by_hand.queue.submit(second, Number(value=1), unique_key="u")
    assert len(await by_hand.claim() + await by_hand.claim(queue="slow")) == 3


async def test_a_job_past_its_deadline_does_not_begin(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job that is claimed after its deadline fails with its own code, and its function is never called."""
    begun = []

    @job("test.late", retry=retries(3))
    async def late(ctx: JobContext, payload: Empty) -> None:
        begun.append(ctx.job_id)

    registry = Registry([late])
    async with open_jobs(registry) as jobs:
        deadline = datetime.now(UTC) + timedelta(milliseconds=30)
        accepted = await jobs.submit(late, Empty(), deadline=deadline)
        await wait_until(lambda: datetime.now(UTC) > deadline + PAST_IT, "the deadline is past")
        async with run_worker(registry):
            record = await jobs.wait(accepted.id, timeout_s=5)
    assert (record.state, begun) == (JobState.FAILED, [])
    assert record.failure is not None
    assert record.failure.code == "deadline_exceeded"


async def test_a_job_that_runs_ends_at_its_deadline(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A running job is ended at its deadline, long before its time limit, and is not tried again."""

    @job("test.endless", timeout=timedelta(hours=1), retry=retries(9))
    async def endless(ctx: JobContext, payload: Empty) -> None:
        await asyncio.Event().wait()

    registry = Registry([endless])
    async with run_worker(registry), open_jobs(registry) as jobs:
        deadline = datetime.now(UTC) + timedelta(milliseconds=300)
        accepted = await jobs.submit(endless, Empty(), deadline=deadline)
        record = await jobs.wait(accepted.id, timeout_s=5)
    assert (record.state, record.attempt) == (JobState.FAILED, 1)
    assert record.failure is not None
    assert record.failure.code == "timeout"


async def test_no_retry_is_put_off_past_the_deadline(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job whose next attempt would begin after its deadline fails with the failure that it had."""

    @job("test.patient", retry=RetryPolicy(max_attempts=9, on=(Exception,), base=timedelta(days=9)))
    async def patient(ctx: JobContext, payload: Empty) -> None:
        raise ConnectionError

    registry = Registry([patient])
    async with run_worker(registry), open_jobs(registry) as jobs:
        accepted = await jobs.submit(patient, Empty(), deadline=datetime.now(UTC) + timedelta(seconds=60))
        record = await jobs.wait(accepted.id, timeout_s=5)
    assert (record.state, record.attempt) == (JobState.FAILED, 1)
    assert record.failure is not None
    assert record.failure.error == "builtins.ConnectionError"


async def test_a_job_goes_to_the_queue_that_was_asked_for(by_hand: ByHand) -> None:
    """A job waits in the queue that the caller chose among those of its kind, and in no other."""
    (accepted,) = await by_hand.submit(queue="slow")
    assert await by_hand.claim() == []
    (claim,) = await by_hand.claim(queue="slow")
    assert (claim.id, claim.kind) == (accepted.id, first.kind)
