"""Lists do not keep jobs that are gone, and never lose one that is there."""

import asyncio
from typing import Any

import pytest
from arqway.workers.engine.tidier import Tidier

from arqway import Registry
from arqway.workers.background import end
from arqway.workers.contract import keys
from arqway.workers.contract.errors import StoreUnavailable
from tests.conftest import OpenQueue, RunWorker
from tests.support.by_hand import ByHand
from tests.support.jobs import Number, double
from tests.support.waiting import wait_until

ENDED = "jobs:succeeded:default:default:hand.first"


async def make(by_hand: ByHand, count: int, *, gone: slice, **options: Any) -> set[str]:
    """Let jobs end and the records of some of them, and return the others."""
    records = [record.id for record in await by_hand.submit(count, **options)]
    await by_hand.run()
    listed = [job_id.decode() for job_id in await by_hand.redis.zrange(ENDED, 0, -1)]
    assert set(records) <= set(listed)
    for job_id in listed[gone]:
        await by_hand.redis.delete(keys.record(job_id))
    return set(listed) - set(listed[gone])


async def listed(by_hand: ByHand, key: str = ENDED) -> set[str]:
    """Return the ids that a list holds."""
    return {job_id.decode() for job_id in await by_hand.redis.zrange(key, 0, -1)}


async def test_jobs_that_are_gone_leave_their_lists(by_hand: ByHand) -> None:
    """Jobs at the beginning of a list, which came first and have gone first, are removed in one round; no other is."""
    there = await make(by_hand, 300, gone=slice(250))
    await by_hand.submit(3)
    assert await Tidier("w").tidy(by_hand.queue.catalogue) >= 250
    assert await listed(by_hand) == there
    assert len(await listed(by_hand, "jobs:queued:default:default:hand.first")) == 3


async def test_jobs_that_went_out_of_order_are_found(by_hand: ByHand) -> None:
    """Jobs that are gone in the middle of a long list, where nobody looks first, are found by and by."""
    there = await make(by_hand, 400, gone=slice(250, 300))

    async def is_tidy() -> bool:
        await Tidier("w").tidy(by_hand.queue.catalogue)
        return await listed(by_hand) == there

    await wait_until(is_tidy, "all that is gone is found")


async def test_lists_by_tag_are_tidied_and_forgotten(by_hand: ByHand) -> None:
    """A tag whose jobs are all gone leaves nothing behind; neither does a tenant."""
    for n in range(12):
        await by_hand.submit(1, tags=[f"t{n}"], tenant="acme")
    await by_hand.submit(1, tags=["kept"])
    await by_hand.run()
    kept = {record.id for record in (await by_hand.submit(1, tags=["kept"]))}
    redis = by_hand.redis
    for key in await redis.keys("job:*"):
        if key.decode().removeprefix("job:") not in kept:
            await redis.delete(key)

    async def is_tidy() -> bool:
        await Tidier("w").tidy(by_hand.queue.catalogue)
        found = {key.decode() for pattern in ("tag*", "lists:*", "jobs:*") for key in await redis.keys(pattern)}
        return found == {"tag:default:kept", "tags:default", "lists:default", "jobs:queued:default:default:hand.first"}

    await wait_until(is_tidy, "only what is there is left")
    assert await redis.smembers("tenants") == {b"default"}
    assert await listed(by_hand, "tag:default:kept") == kept


async def test_one_worker_at_a_time_tidies(by_hand: ByHand) -> None:
    """While one worker has the office others do nothing; when it has not come for a while another one takes over."""
    there = await make(by_hand, 120, gone=slice(60))
    catalogue, redis = by_hand.queue.catalogue, by_hand.redis
    assert await catalogue.tidy("first", office_ms=60_000, count=10, random=0) is not None
    assert await Tidier("second").tidy(catalogue) == 0
    assert 30_000 < await redis.pttl(keys.TIDIER) <= 60_000
    await redis.pexpire(keys.TIDIER, 1)
    await wait_until(lambda: _takes_over(by_hand, "second"), "the office is free")
    assert await redis.get(keys.TIDIER) == b"second"
    assert await listed(by_hand) == there


async def _takes_over(by_hand: ByHand, worker: str) -> bool:
    return await Tidier(worker).tidy(by_hand.queue.catalogue) > 0


async def test_a_tidy_server_costs_little(by_hand: ByHand) -> None:
    """Where nothing is gone a round is one script call of some commands, however many jobs there are."""
    await make(by_hand, 500, gone=slice(0))
    before = await _commands(by_hand)
    assert await Tidier("w").tidy(by_hand.queue.catalogue) == 0
    after = await _commands(by_hand)
    assert after["evalsha"] - before["evalsha"] == 1
    assert sum(after.values()) - sum(before.values()) <= 25


async def _commands(by_hand: ByHand) -> dict[str, int]:
    told = await by_hand.redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): counted["calls"] for name, counted in told.items()}


async def test_a_worker_tidies(by_hand: ByHand, run_worker: RunWorker) -> None:
    """A worker tidies from its start on, beside its jobs."""
    there = await make(by_hand, 200, gone=slice(150))
    async with run_worker(Registry([double])):

        async def is_tidy() -> bool:
            return await listed(by_hand) == there

        await wait_until(is_tidy, "the worker has tidied")


async def test_tidying_outlasts_an_outage(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tidier that finds Redis away, or meets a bug, is back with its next round."""
    monkeypatch.setattr("arqway.workers.engine.tidier.PERIOD_S", 0.005)
    there = await make(by_hand, 30, gone=slice(20))
    troubles = iter([StoreUnavailable(), ValueError("a bug")])
    tidy = by_hand.queue.catalogue.tidy

    async def troubled(*args: object, **options: object) -> object:
        for trouble in troubles:
            raise trouble
        return await tidy(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(by_hand.queue.catalogue, "tidy", troubled)
    running = asyncio.create_task(Tidier("w").run(by_hand.queue.catalogue))

    async def is_tidy() -> bool:
        return await listed(by_hand) == there

    await wait_until(is_tidy, "the tidier has come back")
    await end([running])


async def test_no_job_leaves_a_list_while_others_come_and_go(
    by_hand: ByHand, run_worker: RunWorker, open_jobs: OpenQueue
) -> None:
    """With a worker at work and a tidier that never rests, every job with a record stays in its list."""
    registry = Registry([double])
    done = asyncio.Event()

    async def tidy_all_the_time() -> None:
        while not done.is_set():
            await by_hand.queue.catalogue.tidy("w", office_ms=10_000, count=1_000, random=0.5)

    async with run_worker(registry), open_jobs(registry) as jobs:
        tidying = asyncio.create_task(tidy_all_the_time())
        records = [await jobs.submit(double, Number(value=n), tags=["t"]) for n in range(100)]
        for record in records:
            await jobs.wait(record.id, timeout_s=5)
        done.set()
        await tidying
    found = {
        job_id.decode() for job_id in await by_hand.redis.zrange("jobs:succeeded:default:default:test.double", 0, -1)
    }
    assert found == {record.id for record in records} == await listed(by_hand, "tag:default:t")
