"""Requests that are sent twice: an idempotency key makes one job, whoever repeats it and however often."""

import asyncio

import pytest

from arqway.workers.client import Accepted, Batches, BatchItem, JobQueue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import IdempotencyHeld, IdempotencyMismatch, NotUnique
from arqway.workers.store.jobs import Idempotency
from tests.conftest import OpenQueue
from tests.support.by_hand import REGISTRY, ByHand
from tests.support.waiting import wait_until

HOUR_MS = 3_600_000


def key(name: str = "k", *, fingerprint: str = "p", life: int = HOUR_MS, hold: int = 0) -> Idempotency:
    """Return what a request with an idempotency key says."""
    return Idempotency(key=name, fingerprint=fingerprint, life=life, hold=hold)


async def post(queue: JobQueue, claim: Idempotency, value: int = 1, **options: str) -> Accepted:
    """Submit as the service does."""
    return await queue.submit_json("hand.first", b'{"value":%d}' % value, idempotency=claim, **options)  # type: ignore[arg-type]


async def test_a_hundred_identical_requests_at_once_make_one_job(by_hand: ByHand, open_jobs: OpenQueue) -> None:
    """One is accepted and the others are told of it, though they come through several clients and script calls."""
    async with open_jobs(REGISTRY) as second, open_jobs(REGISTRY) as third:
        clients = [by_hand.queue, second, third]
        answers = await asyncio.gather(*(post(clients[n % 3], key()) for n in range(100)))
    assert len({answer.record.id for answer in answers}) == 1
    assert sum(answer.replay is None for answer in answers) == 1
    assert len({(answer.record.created_ms, answer.record.due_ms) for answer in answers}) == 1
    assert await by_hand.redis.zcard(keys.queue("default")) == 1


async def test_the_same_key_for_another_request_is_refused(by_hand: ByHand) -> None:
    """A key that came with another payload is no key for this one, and nothing is accepted."""
    await post(by_hand.queue, key())
    with pytest.raises(IdempotencyMismatch):
        await post(by_hand.queue, key(fingerprint="other"), 2)
    assert len(await by_hand.claim()) == 1


async def test_other_keys_make_other_jobs(by_hand: ByHand) -> None:
    """The same request with another key is another request."""
    first, second = await post(by_hand.queue, key("a")), await post(by_hand.queue, key("b"))
    assert first.record.id != second.record.id


async def test_who_repeats_too_soon_is_told_to_wait(by_hand: ByHand) -> None:
    """While the first request is being answered, others learn for how long at most; then they get its very answer."""
    accepted = await post(by_hand.queue, key(hold=2_500))
    with pytest.raises(IdempotencyHeld) as held:
        await post(by_hand.queue, key(hold=2_500))
    assert held.value.retry_after_s == 3
    await by_hand.queue.keep_answer("k", accepted.record.id, b"200 the answer")
    repeated = await post(by_hand.queue, key(hold=2_500))
    assert repeated.replay is not None
    assert (repeated.record.id, repeated.replay.answer) == (accepted.record.id, b"200 the answer")


async def test_a_request_that_was_never_answered_holds_nobody_for_ever(by_hand: ByHand) -> None:
    """If the service dies before its answer, those who repeat the request learn of the job when the hold is over."""
    accepted = await post(by_hand.queue, key(hold=40))
    replayed: list[Accepted] = []

    async def is_replayed() -> bool:
        try:
            replayed.append(await post(by_hand.queue, key(hold=40)))
        except IdempotencyHeld:
            return False
        return True

    await wait_until(is_replayed, "the hold is over")
    assert replayed[0].record.id == accepted.record.id
    assert replayed[0].replay is not None
    assert replayed[0].replay.answer == b""


async def test_an_answer_is_kept_for_its_own_request_only(by_hand: ByHand) -> None:
    """An answer that comes when the key has become another request's, or nobody's, is dropped."""
    accepted = await post(by_hand.queue, key())
    await by_hand.queue.keep_answer("k", "another job", b"wrong")
    await by_hand.queue.keep_answer("unknown", accepted.record.id, b"wrong")
    repeated = await post(by_hand.queue, key())
    assert repeated.replay is not None
    assert repeated.replay.answer == b""
    assert await by_hand.redis.exists("idempotency:unknown") == 0


async def test_a_key_outlives_the_record_of_its_job(by_hand: ByHand) -> None:
    """The life of a key does not depend on how long the job's record is kept: a late repetition makes no second job."""
    accepted = await post(by_hand.queue, key())
    await by_hand.run()
    await by_hand.redis.delete(keys.record(accepted.record.id))
    repeated = await post(by_hand.queue, key())
    assert repeated.record.id == accepted.record.id
    assert await by_hand.claim() == []


async def test_a_key_ends_before_the_record_of_its_job(by_hand: ByHand) -> None:
    """When a key's life is over the same request is a new one, though the first job is still there."""
    accepted = await post(by_hand.queue, key(life=20))
    made: list[str] = []

    async def is_new() -> bool:
        made.append((await post(by_hand.queue, key(life=20))).record.id)
        return made[-1] != accepted.record.id

    await wait_until(is_new, "the key's life is over")
    assert await by_hand.queue.read(accepted.record.id)


async def test_a_refused_request_uses_up_no_key(by_hand: ByHand) -> None:
    """A submission that was refused may be repeated with its key, and is accepted when nothing is in its way."""
    await by_hand.submit(unique_key="u")
    with pytest.raises(NotUnique):
        await post(by_hand.queue, key(), unique_key="u")
    await by_hand.run()
    assert (await post(by_hand.queue, key(), unique_key="u")).replay is None


async def test_a_batch_that_is_sent_twice_is_one_batch(by_hand: ByHand) -> None:
    """Twenty identical batches at once make one; another one with the key is refused."""
    batches, items = Batches(by_hand.queue), [BatchItem("hand.first", b'{"value":1}', {}) for _ in range(3)]
    answers = await asyncio.gather(*(batches.submit(items, idempotency=key()) for _ in range(20)))
    assert len({answer.id for answer in answers}) == 1
    assert sorted(answer.accepted for answer in answers) == [0] * 19 + [3]
    with pytest.raises(IdempotencyMismatch):
        await batches.submit(items[:2], idempotency=key(fingerprint="other"))
    assert len(await by_hand.claim()) == 3
