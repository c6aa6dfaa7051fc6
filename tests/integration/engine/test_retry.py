"""Submitting a final job again."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from arqway import Registry
from arqway.workers.client import DeadLetters
from arqway.workers.contract import keys
from arqway.workers.contract.errors import (
    InvalidPayload,
    JobChanged,
    JobNotFinished,
    JobNotFound,
    JobRetried,
    NotUnique,
)
from arqway.workers.contract.record import ATTEMPTS_KEPT, JobRecord
from arqway.workers.contract.states import JobState
from tests.conftest import OpenQueue, RunWorker
from tests.support.by_hand import ByHand
from tests.support.jobs import Number, double

ENDS = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]


async def ended(by_hand: ByHand, state: JobState = JobState.FAILED, **options: Any) -> JobRecord:
    """Return a job that has ended."""
    (record,) = await by_hand.submit(**options)
    await by_hand.run(state)
    return await by_hand.queue.read(record.id)


@pytest.mark.parametrize("end", ENDS)
async def test_a_final_job_is_submitted_again(by_hand: ByHand, end: JobState) -> None:
    """The new job has the payload and the options of the old one, which stays as it is and names it."""
    old = await ended(by_hand, end, tags=["t"], queue="slow", tenant="acme", unique_key="u")
    new = await by_hand.queue.retry(old.id, tenant="acme")
    assert (new.state, new.kind, new.queue, new.tags, new.tenant) == (JobState.QUEUED, old.kind, "slow", ("t",), "acme")
    assert (new.retry_of, new.unique_key, new.max_attempts, new.attempt) == (old.id, "u", old.max_attempts, 0)
    after = await by_hand.queue.read(old.id)
    assert (after.state, after.retried_as) == (end, new.id)
    (claim,) = await by_hand.claim(queue="slow")
    assert json.loads(claim.envelope)["a"] == [{"value": 0}]


async def test_a_job_is_retried_once(by_hand: ByHand) -> None:
    """Of twenty retries at once one succeeds, and the others are told what the job was retried as."""
    old = await ended(by_hand)
    answers = await asyncio.gather(*(by_hand.queue.retry(old.id) for _ in range(20)), return_exceptions=True)
    (new,) = (answer for answer in answers if isinstance(answer, JobRecord))
    assert {answer.job_id for answer in answers if isinstance(answer, JobRetried)} == {new.id}
    assert len(await by_hand.claim()) == 1


async def test_a_retry_may_be_retried(by_hand: ByHand) -> None:
    """A job that was retried and failed again is retried again: each has one successor."""
    old = await ended(by_hand)
    middle = await by_hand.queue.retry(old.id)
    await by_hand.run(JobState.FAILED)
    new = await by_hand.queue.retry(middle.id)
    assert (await by_hand.queue.read(old.id)).retried_as == middle.id
    assert new.retry_of == middle.id


async def test_another_payload_is_checked(by_hand: ByHand) -> None:
    """A retry may come with another payload, which has to fit the kind as any payload has."""
    old = await ended(by_hand)
    for wrong in (b"{}", b'{"value": NaN}', b"nonsense"):
        with pytest.raises(InvalidPayload):
            await by_hand.queue.retry(old.id, payload_json=wrong)
    await by_hand.queue.retry(old.id, payload_json=b'{"value": 7}')
    (claim,) = await by_hand.claim()
    assert json.loads(claim.envelope)["a"] == [{"value": 7}]


async def test_a_job_that_lives_is_not_retried(by_hand: ByHand) -> None:
    """A job that waits, runs or is to be tried again is refused, and nothing is accepted."""
    (record,) = await by_hand.submit()
    for step in (None, JobState.RETRYING):
        with pytest.raises(JobNotFinished):
            await by_hand.queue.retry(record.id)
        if step is not None:
            await by_hand.run(step)
    (claim,) = await by_hand.claim()
    with pytest.raises(JobNotFinished):
        await by_hand.queue.retry(record.id)
    await by_hand.end(claim)


async def test_a_retry_fits_the_version_that_was_read(by_hand: ByHand) -> None:
    """A retry that names a version is refused for any other one."""
    old = await ended(by_hand)
    with pytest.raises(JobChanged):
        await by_hand.queue.retry(old.id, version=old.version - 1)
    assert (await by_hand.queue.retry(old.id, version=old.version)).retry_of == old.id


async def test_a_retry_does_not_take_a_unique_key_from_another_job(by_hand: ByHand) -> None:
    """While another job has the key the retry is refused and told which; afterwards it holds the key."""
    old = await ended(by_hand, unique_key="u")
    (holder,) = await by_hand.submit(unique_key="u")
    with pytest.raises(NotUnique) as refused:
        await by_hand.queue.retry(old.id)
    assert refused.value.job_id == holder.id
    await by_hand.run()
    new = await by_hand.queue.retry(old.id)
    with pytest.raises(NotUnique) as refused:
        await by_hand.submit(unique_key="u")
    assert refused.value.job_id == new.id


async def test_a_job_that_is_not_there_is_not_retried(by_hand: ByHand) -> None:
    """An unknown job, another tenant's, and one whose payload was not kept are all not found."""
    old = await ended(by_hand)
    with pytest.raises(JobNotFound):
        await by_hand.queue.retry("nobody")
    with pytest.raises(JobNotFound):
        await by_hand.queue.retry(old.id, tenant="acme")
    await by_hand.redis.hdel(keys.record(old.id), "envelope")
    with pytest.raises(JobNotFound):
        await by_hand.queue.retry(old.id)


async def test_a_retry_may_be_put_off(by_hand: ByHand) -> None:
    """A retry with a delay is scheduled."""
    old = await ended(by_hand)
    new = await by_hand.queue.retry(old.id, delay=timedelta(hours=1))
    assert (new.state, new.due_ms - new.created_ms) == (JobState.SCHEDULED, 3_600_000)


async def test_a_retried_job_is_no_dead_letter(by_hand: ByHand) -> None:
    """What was retried leaves its group of dead letters, and the group goes with its last job."""
    first, second = await ended(by_hand), await ended(by_hand)
    letters = DeadLetters(by_hand.queue)
    await by_hand.queue.retry(first.id)
    ((group, latest),) = (await letters.groups()).groups
    assert (group.jobs, latest.id) == (1, second.id)
    await by_hand.queue.retry(second.id)
    assert await letters.groups() == ([], 0)


async def test_a_retried_job_runs(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A worker runs the retry as any job."""
    registry = Registry([double])
    async with open_jobs(registry) as jobs:
        old = await jobs.cancel((await jobs.submit(double, Number(value=4))).id)
        new = await jobs.retry(old.id)
        async with run_worker(registry):
            assert (await jobs.wait(new.id, timeout_s=5)).result == 8


async def test_the_attempts_before_the_last_are_kept(by_hand: ByHand) -> None:
    """A record tells how its earlier attempts ended and when, in their order; of very many the latest."""
    (record,) = await by_hand.submit()
    for _ in range(3):
        await by_hand.run(JobState.RETRYING)
    await by_hand.run(JobState.QUEUED)
    attempts = (await by_hand.queue.read(record.id)).attempts
    assert [(one.attempt, one.outcome, one.code) for one in attempts] == [
        (1, "failed", "exception"),
        (2, "failed", "exception"),
        (3, "failed", "exception"),
        (4, "interrupted", None),
    ]
    assert all(one.worker == "hand" and one.started_ms <= one.ended_ms for one in attempts)
    for _ in range(ATTEMPTS_KEPT):
        await by_hand.run(JobState.RETRYING)
    attempts = (await by_hand.queue.read(record.id)).attempts
    assert [one.attempt for one in attempts] == list(range(4, 4 + ATTEMPTS_KEPT))
    assert [one.ended_ms for one in attempts] == sorted(one.ended_ms for one in attempts)
