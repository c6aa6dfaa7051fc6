"""How the queues are: depth, age, rates, running jobs and workers; and what pausing one does."""

import asyncio
import time
from datetime import timedelta

import pytest

from arqway import JobContext, JobState, Registry, job
from arqway.workers.client import JobQueue, Queues
from arqway.workers.client.queues import QueueStatus
from arqway.workers.contract import keys
from arqway.workers.contract.errors import QueueFull
from arqway.workers.store.jobs import JobStore
from arqway.workers.store.queues import QueueStore
from tests.conftest import OpenQueue, RunWorker
from tests.support.by_hand import ByHand, first
from tests.support.jobs import Empty, Number, double
from tests.support.plain_jobs import submission
from tests.support.waiting import wait_for, wait_until

POLL_S = 0.05


async def status(queue: JobQueue, name: str = "default") -> QueueStatus:
    """Return how a queue is."""
    return next(found for found in await Queues(queue).all() if found.figures.name == name)


async def test_a_queue_tells_what_waits_and_what_runs(by_hand: ByHand) -> None:
    """Due jobs, all jobs, running ones and the age of the oldest due one are those of the moment."""
    empty = await status(by_hand.queue)
    assert (empty.figures.due, empty.figures.held, empty.figures.running, empty.age_ms) == (0, 0, 0, 0)
    await by_hand.submit(4)
    await by_hand.submit(1, delay=timedelta(hours=1))
    await by_hand.claim(1)
    await wait_until(lambda: _is_older_than(by_hand, 5), "the jobs have waited for a while")
    view = await status(by_hand.queue)
    assert (view.figures.due, view.figures.held, view.figures.running) == (3, 5, 1)
    oldest = view.figures.oldest_due_ms
    assert oldest is not None
    assert view.age_ms == view.now_ms - oldest
    assert (await status(by_hand.queue, "slow")).figures.held == 0


async def _is_older_than(by_hand: ByHand, ms: int) -> bool:
    return (await status(by_hand.queue)).age_ms >= ms


async def test_a_queue_counts_what_happened(by_hand: ByHand) -> None:
    """Each submission, start and end counts once, by its outcome, also a retry and a cancellation."""
    await by_hand.submit(4)
    (waiting,) = await by_hand.submit(1, delay=timedelta(hours=1))
    one, two, three, four = await by_hand.claim()
    await by_hand.end(one, two)
    await by_hand.end(three, state=JobState.FAILED)
    await by_hand.end(four, state=JobState.RETRYING)
    await by_hand.queue.cancel(waiting.id)
    await by_hand.run(JobState.QUEUED)
    view = await status(by_hand.queue)
    figures = view.figures
    assert (figures.submitted, figures.started) == (5, 5)
    assert (figures.succeeded, figures.failed, figures.cancelled, figures.retrying) == (2, 1, 1, 1)
    assert view.in_rate == pytest.approx(5 / (240 + view.now_ms % 60_000 / 1000))
    assert view.out_rate == pytest.approx(4 / (240 + view.now_ms % 60_000 / 1000))
    assert view.drain_s == pytest.approx(1 / view.out_rate)


async def test_rates_are_of_the_last_minutes(by_hand: ByHand) -> None:
    """What happened longer ago than the window counts no more; what happened in it does, minute by minute."""
    now_ms = [1_000_000 * 60_000]
    redis = by_hand.redis
    store, queues = JobStore(redis, clock=lambda: now_ms[0]), QueueStore(redis, clock=lambda: now_ms[0])
    seen = []
    for minute in range(4):
        await store.submit([submission(f"j{minute}", "default", "k", "default", 0, {})])
        _, (figures,) = await queues.figures(["default"], minutes=2)
        seen.append(figures.submitted)
        now_ms[0] += 60_000
    assert seen == [1, 2, 3, 3]


async def test_every_queue_is_shown(by_hand: ByHand, run_worker: RunWorker) -> None:
    """Queues that a job goes to, that a worker serves or that are paused are all there, each once, with its workers."""
    await Queues(by_hand.queue).pause("aside", paused=True)
    async with run_worker(Registry([double]), queues=("default", "other")):
        await wait_until(lambda: _has_queue(by_hand.queue, "other"), "the worker has told its queues")
        views = {view.figures.name: view.workers for view in await Queues(by_hand.queue).all()}
    assert views == {"aside": 0, "default": 1, "other": 1, "slow": 0}


async def _has_queue(queue: JobQueue, name: str) -> bool:
    return any(view.figures.name == name for view in await Queues(queue).all())


async def test_a_paused_queue_is_not_claimed(by_hand: ByHand) -> None:
    """No job of a paused queue begins, neither a due one nor one whose worker was lost; those that run go on."""
    queues = Queues(by_hand.queue)
    await by_hand.submit(2)
    running, lost = await by_hand.claim()
    await by_hand.submit(1)
    await by_hand.redis.zadd(keys.queue("default"), {lost.id: 1})
    await by_hand.redis.delete(keys.lease(lost.id))
    assert await queues.pause("default", paused=True)
    assert not await queues.pause("default", paused=True)
    assert await by_hand.claim() == []
    await by_hand.end(running)
    view = await status(by_hand.queue)
    assert view.figures.paused_ms is not None
    assert view.figures.paused_ms <= view.now_ms
    assert view.drain_s is None
    assert await queues.pause("default", paused=False)
    assert not await queues.pause("default", paused=False)
    assert len(await by_hand.claim()) == 2


async def test_the_others_go_on(by_hand: ByHand) -> None:
    """A paused queue stops no other queue."""
    await Queues(by_hand.queue).pause("default", paused=True)
    await by_hand.submit(1, queue="slow")
    assert len(await by_hand.claim(queue="slow")) == 1


async def test_a_worker_looks_at_a_paused_queue_no_more_than_at_an_empty_one(
    run_worker: RunWorker, open_jobs: OpenQueue
) -> None:
    """Due jobs in a paused queue make its idle worker look once in a poll interval, and claim once for each look."""
    registry = Registry([double])
    async with open_jobs(registry) as jobs:
        await Queues(jobs).pause("default", paused=True)
        await jobs.submit(double, Number(value=1))
        async with run_worker(registry, poll_s=POLL_S):
            await wait_until(lambda: _looks_at_least(jobs, 2), "the worker waits")
            before, began_s = await _calls(jobs), time.monotonic()
            await wait_until(lambda: _looks_at_least(jobs, before["blpop"] + 6), "the worker has looked often")
            after, took_s = await _calls(jobs), time.monotonic() - began_s
        await Queues(jobs).pause("default", paused=False)
    looks = after["blpop"] - before["blpop"]
    assert took_s >= (looks - 1) * POLL_S * 0.9
    assert after["hexists"] - before["hexists"] <= looks + 1


async def _calls(jobs: JobQueue) -> dict[str, int]:
    told = await jobs.redis.info("commandstats")
    return {name: told.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("blpop", "hexists")}


async def _looks_at_least(jobs: JobQueue, count: int) -> bool:
    return (await _calls(jobs))["blpop"] >= count


async def test_a_running_job_outlasts_a_pause(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Pausing a queue interrupts none of its jobs."""
    release = asyncio.Event()

    @job("test.held")
    async def held(ctx: JobContext, payload: Empty) -> None:
        await release.wait()

    registry = Registry([held])
    async with run_worker(registry), open_jobs(registry) as jobs:
        accepted = await jobs.submit(held, Empty())
        await wait_for(jobs, accepted.id, lambda record: record.state is JobState.RUNNING, "runs")
        await Queues(jobs).pause("default", paused=True)
        release.set()
        assert (await jobs.wait(accepted.id, timeout_s=5)).state is JobState.SUCCEEDED
        await Queues(jobs).pause("default", paused=False)


async def test_a_full_queue_refuses_submissions(by_hand: ByHand) -> None:
    """With a limit on depth or age a queue beyond it refuses, with a time to come again; the others do not."""
    await by_hand.submit(3)
    await wait_until(lambda: _is_older_than(by_hand, 5), "the jobs have waited for a while")
    for queues in (Queues(by_hand.queue, max_due=3), Queues(by_hand.queue, max_age_s=0.001)):
        await queues.all()
        with pytest.raises(QueueFull) as refused:
            queues.refuse_full("default")
        assert refused.value.retry_after_s >= 1
        queues.refuse_full("slow")
    roomy = Queues(by_hand.queue, max_due=4, max_age_s=1_000)
    await roomy.all()
    roomy.refuse_full("default")


async def test_polling_follows_how_long_a_kind_runs(by_hand: ByHand) -> None:
    """Who asks for a running job is told to come again when its kind is usually done; nobody asks for an ended one."""
    queues = Queues(by_hand.queue)
    (record,) = await by_hand.submit()
    await by_hand.redis.hset(keys.RUN_TIMES, first.kind, 30_000)
    await queues.all()
    (claim,) = await by_hand.claim()
    running = await by_hand.queue.read(record.id)
    assert 28 <= (queues.retry_after_s(running) or 0) <= 31
    await by_hand.end(claim)
    assert queues.retry_after_s(await by_hand.queue.read(record.id)) is None
    assert 0 < (await QueueStore(by_hand.redis).run_times())[first.kind] < 30_000
