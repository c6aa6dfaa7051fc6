"""Batches: many jobs accepted at once, and followed, cancelled and retried as one."""

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from arqway.workers.client import Batches, BatchItem, BatchRecord, JobFilter, Listing, SubmitOptions
from arqway.workers.contract import keys
from arqway.workers.contract.errors import (
    BatchNotFound,
    BatchRefused,
    InvalidPayload,
    InvalidSubmission,
    NotUnique,
    QueueNotAllowed,
    UnknownKind,
)
from arqway.workers.contract.events import batch_topic
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from tests.support.by_hand import ByHand
from tests.support.feeds import heard


def item(value: object = 1, *, kind: str = "hand.first", **options: Any) -> BatchItem:
    """Return one job to submit."""
    return BatchItem(kind, f'{{"value":{value}}}'.encode(), cast(SubmitOptions, options))


def counts(batch: BatchRecord) -> dict[str, int]:
    """Return the states of its jobs that there are."""
    return {state.value: count for state, count in batch.counts.items() if count}


async def test_the_ids_of_a_batch_are_known_at_once(by_hand: ByHand) -> None:
    """Each job's id is the batch's with its place, and what is accepted is what the record says."""
    accepted = await Batches(by_hand.queue).submit([item(n, tags=["t"]) for n in range(3)])
    for n, outcome in enumerate(accepted.outcomes):
        assert isinstance(outcome, JobRecord)
        assert outcome.id == f"{accepted.id}.{n}"
        assert await by_hand.queue.read(outcome.id) == outcome
    assert accepted.accepted == 3


async def test_an_atomic_batch_is_accepted_as_a_whole(by_hand: ByHand) -> None:
    """If one job cannot be accepted no job is, and each item is told whether it was in the way."""
    await by_hand.submit(unique_key="taken")
    batch = [item(unique_key="free"), item(unique_key="taken"), item()]
    with pytest.raises(BatchRefused) as refused:
        await Batches(by_hand.queue).submit(batch, atomic=True)
    assert [type(error) for error in refused.value.errors] == [type(None), NotUnique, type(None)]
    assert len(await by_hand.claim()) == 1
    assert await by_hand.redis.keys("batch*") == []
    assert await by_hand.redis.keys("unique:*free") == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (item('"no number"'), InvalidPayload),
        (item("NaN"), InvalidPayload),
        (item(kind="no.such"), UnknownKind),
        (item(queue="elsewhere"), QueueNotAllowed),
        (item(tags=["a b"]), InvalidSubmission),
    ],
)
async def test_a_wrong_item_refuses_an_atomic_batch(by_hand: ByHand, wrong: BatchItem, error: type[Exception]) -> None:
    """An item that fits no job refuses an atomic batch before anything is written, and only itself in another one."""
    with pytest.raises(BatchRefused) as refused:
        await Batches(by_hand.queue).submit([item(), wrong], atomic=True)
    assert [type(found) for found in refused.value.errors] == [type(None), error]
    assert await by_hand.claim() == []
    accepted = await Batches(by_hand.queue).submit([wrong, item()])
    assert [type(outcome) for outcome in accepted.outcomes] == [error, JobRecord]
    assert counts(await Batches(by_hand.queue).read(accepted.id)) == {"queued": 1}


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_unique_key_may_be_in_a_batch_once(by_hand: ByHand, atomic: bool) -> None:
    """Of two jobs of a batch with the same unique key the second is refused, and told of the first; so is the batch."""
    submitted = Batches(by_hand.queue).submit([item(unique_key="u"), item(unique_key="u"), item()], atomic=atomic)
    if atomic:
        with pytest.raises(BatchRefused) as refused:
            await submitted
        first, second, third = refused.value.errors
        assert first is third is None
    else:
        accepted = await submitted
        first, second, third = accepted.outcomes  # type: ignore[assignment]
        assert accepted.accepted == 2
        assert isinstance(second, NotUnique)
        assert isinstance(first, JobRecord)
        assert second.job_id == first.id
    assert isinstance(second, NotUnique)


async def test_a_batch_without_a_single_job_is_refused(by_hand: ByHand) -> None:
    """A batch of which nothing can be accepted is no batch; neither is one that is empty or too large."""
    await by_hand.submit(unique_key="u")
    batches = Batches(by_hand.queue)
    with pytest.raises(BatchRefused):
        await batches.submit([item(unique_key="u"), item(unique_key="u")])
    for size in (0, 1_001):
        with pytest.raises(InvalidSubmission):
            await batches.submit([item()] * size)
    assert await by_hand.redis.keys("batch*") == []


async def test_a_batch_counts_its_jobs(by_hand: ByHand) -> None:
    """At each moment the counts are those of its jobs, and add up; it is finished when the last one is."""
    batches = Batches(by_hand.queue)
    accepted = await batches.submit([*[item() for _ in range(4)], item(delay=timedelta(hours=1))])
    one, two, three, four = await by_hand.claim()
    await by_hand.end(one)
    await by_hand.end(two, state=JobState.FAILED)
    await by_hand.end(three, state=JobState.RETRYING)
    batch = await batches.read(accepted.id)
    assert counts(batch) == {"succeeded": 1, "failed": 1, "retrying": 1, "running": 1, "scheduled": 1}
    assert (batch.total, batch.finished_ms) == (5, None)
    await by_hand.end(four)
    await by_hand.run(JobState.CANCELLED)
    await by_hand.queue.cancel(f"{accepted.id}.4")
    batch = await batches.read(accepted.id)
    assert counts(batch) == {"succeeded": 2, "failed": 1, "cancelled": 2}
    assert batch.finished_ms is not None
    assert await by_hand.redis.pttl(f"batch:{accepted.id}") > 0
    assert await by_hand.redis.pttl(keys.batch_jobs(accepted.id)) > 0


async def test_cancelling_a_batch_cancels_what_lives(by_hand: ByHand) -> None:
    """Waiting jobs are cancelled at once, running ones are told, and those that have ended stay as they are."""
    batches = Batches(by_hand.queue)
    accepted = await batches.submit([item() for _ in range(120)])
    claims = await by_hand.claim(3)
    await by_hand.end(claims[0])
    assert await batches.cancel(accepted.id) == 119
    assert counts(await batches.read(accepted.id)) == {"succeeded": 1, "running": 2, "cancelled": 117}
    await by_hand.end(*claims[1:], state=JobState.CANCELLED)
    assert (await batches.read(accepted.id)).finished_ms is not None
    assert await batches.cancel(accepted.id) == 0


async def test_the_failed_jobs_of_a_batch_are_retried_in_their_places(by_hand: ByHand) -> None:
    """Each failed job is followed by one other, once; the batch lives again, and counts as if they had never failed."""
    batches = Batches(by_hand.queue)
    accepted = await batches.submit([item(n) for n in range(5)])
    claims = await by_hand.claim()
    await by_hand.end(*claims[:3], state=JobState.FAILED)
    await by_hand.end(*claims[3:])
    assert sum(await asyncio.gather(*(batches.retry_failed(accepted.id) for _ in range(2)))) == 3
    batch = await batches.read(accepted.id)
    assert (counts(batch), batch.total, batch.finished_ms) == ({"queued": 3, "succeeded": 2}, 5, None)
    assert [await by_hand.redis.pttl(f"{prefix}:{accepted.id}") for prefix in ("batch", "batch-jobs")] == [-1, -1]
    jobs = [record.id async for record in Listing(by_hand.queue).all(JobFilter(batch=accepted.id))]
    failed = {claim.id for claim in claims[:3]}
    assert set(jobs) == {f"{job_id}.r1" for job_id in failed} | {claim.id for claim in claims[3:]}
    await by_hand.run(JobState.FAILED)
    assert await batches.retry_failed(accepted.id) == 3
    await by_hand.run()
    batch = await batches.read(accepted.id)
    assert counts(batch) == {"succeeded": 5}
    assert batch.finished_ms is not None
    assert await batches.retry_failed(accepted.id) == 0


async def test_the_end_of_a_batch_is_told_last(by_hand: ByHand) -> None:
    """Who listens to a batch hears of its end, with the counts, after the end of its last job."""
    accepted = await Batches(by_hand.queue).submit([item(), item()])
    async with by_hand.queue.feed.listen("default", batch_topic(accepted.id)) as news:
        one, two = await by_hand.claim()
        await by_hand.end(one, two)
        told = [(line.event.job_id, line.event.name) for line in await heard(news, 5)]
    assert sorted(told[:4]) == sorted((c.id, name) for c in (one, two) for name in ("running", "succeeded"))
    assert told[4] == (accepted.id, "finished")


async def test_a_batch_is_its_tenants(by_hand: ByHand) -> None:
    """A batch of another tenant is not there, nor is one that never was or whose id is no id."""
    accepted = await Batches(by_hand.queue, "acme").submit([item()])
    assert (await by_hand.queue.read(f"{accepted.id}.0")).tenant == "acme"
    for batches, batch_id in ((Batches(by_hand.queue), accepted.id), (Batches(by_hand.queue, "acme"), "a b")):
        for call in (batches.read, batches.cancel, batches.retry_failed):
            with pytest.raises(BatchNotFound):
                await call(batch_id)


async def test_a_thousand_jobs_are_one_batch(by_hand: ByHand) -> None:
    """A batch of the largest size is accepted, run, and finished with all of its jobs."""
    batches = Batches(by_hand.queue)
    accepted = await batches.submit([item(n) for n in range(1_000)], atomic=True)
    assert counts(await batches.read(accepted.id)) == {"queued": 1_000}
    await by_hand.run()
    batch = await batches.read(accepted.id)
    assert (counts(batch), batch.finished_ms is not None) == ({"succeeded": 1_000}, True)
