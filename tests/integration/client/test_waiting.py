"""Why a job waits: each reason is given when it holds, and not when it does not."""

import asyncio
from datetime import timedelta

import pytest

from arqway import JobContext, JobState, Registry, job
from arqway.workers.client import JobQueue, Queues
from arqway.workers.client.queues import Reason, reasons_for
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.store.workers import ArqHealth, Fleet
from tests.conftest import OpenQueue, RunWorker
from tests.support.by_hand import ByHand, first
from tests.support.jobs import Empty, Number, double
from tests.support.plain_jobs import settlement
from tests.support.waiting import wait_for, wait_until


async def reasons(queue: JobQueue, record: JobRecord) -> dict[str, Reason]:
    """Return why a job waits now, by code."""
    now = await queue.read(record.id)
    found = await reasons_for(now, Queues(queue))
    assert len({reason.code for reason in found}) == len(found)
    return {reason.code: reason for reason in found}


async def beat(
    by_hand: ByHand, *, queues: tuple[str, ...] = ("default",), kinds: tuple[str, ...] = (first.kind,), running: int = 0
) -> None:
    """Let a worker say how it is."""
    worker = WorkerRecord(
        id="w", host="h", pid=1, version="1", queues=queues, kinds=kinds, max_jobs=10, running=running
    )
    health = ArqHealth("arq:queue:health-check", "arq:queue", "", 60_000)
    await Fleet(by_hand.redis).beat(worker, life_ms=60_000, arq_health=health)


async def test_a_job_for_later_is_scheduled(by_hand: ByHand) -> None:
    """A job that was submitted for later waits for its time, which is told, and for no place in the queue."""
    await beat(by_hand)
    (record,) = await by_hand.submit(delay=timedelta(hours=1))
    found = await reasons(by_hand.queue, record)
    assert list(found) == ["scheduled"]
    assert found["scheduled"].until_ms == record.due_ms


async def test_a_job_between_attempts_is_retrying(by_hand: ByHand) -> None:
    """A job whose attempt failed waits for the next one, whose time is told."""
    await beat(by_hand)
    (record,) = await by_hand.submit()
    (claim,) = await by_hand.claim()
    await by_hand.store.settle([settlement(claim, JobState.RETRYING, 60_000, "f0")])
    found = await reasons(by_hand.queue, record)
    assert list(found) == ["retrying"]
    assert found["retrying"].until_ms == (await by_hand.queue.read(record.id)).due_ms


async def test_a_job_whose_time_has_come_waits_in_the_queue(by_hand: ByHand) -> None:
    """A scheduled job that is due waits for its turn, as those do that were submitted for at once."""
    await beat(by_hand)
    (record,) = await by_hand.submit(delay=timedelta(milliseconds=1))

    async def waits_for_its_turn() -> bool:
        return list(await reasons(by_hand.queue, record)) == ["backlog"]

    await wait_until(waits_for_its_turn, "the job is due")
    assert (await by_hand.queue.read(record.id)).state is JobState.SCHEDULED


async def test_a_job_of_a_paused_queue_is_told_so(by_hand: ByHand) -> None:
    """A job waits for its queue to go on, also one that has a later time to wait for; its end cannot be told."""
    await beat(by_hand)
    await by_hand.submit()
    await by_hand.run()
    (queued,) = await by_hand.submit()
    (later,) = await by_hand.submit(delay=timedelta(hours=1))
    await Queues(by_hand.queue).pause("default", paused=True)
    found = await reasons(by_hand.queue, queued)
    assert list(found) == ["queue_paused", "backlog"]
    assert found["backlog"].estimate_s is None
    assert list(await reasons(by_hand.queue, later)) == ["scheduled", "queue_paused"]
    await Queues(by_hand.queue).pause("default", paused=False)
    assert list(await reasons(by_hand.queue, queued)) == ["backlog"]


@pytest.mark.parametrize(
    ("worker", "code"),
    [
        ({"queues": ("slow",)}, "no_worker"),
        ({"kinds": ("another.kind",)}, "unknown_kind"),
        ({"running": 10}, "workers_busy"),
        ({"running": 9}, None),
    ],
)
async def test_the_workers_may_be_the_reason(by_hand: ByHand, worker: dict[str, object], code: str | None) -> None:
    """No worker for the queue, none that knows the kind, and none with a free slot are told apart."""
    (record,) = await by_hand.submit()
    assert list(await reasons(by_hand.queue, record)) == ["no_worker", "backlog"]
    await beat(by_hand, **worker)  # type: ignore[arg-type]
    assert list(await reasons(by_hand.queue, record)) == ([code, "backlog"] if code else ["backlog"])


async def test_a_job_knows_its_place(by_hand: ByHand) -> None:
    """A queued job is told how many are due before it, and how long they take where jobs have ended lately."""
    await beat(by_hand)
    records = [record for name in "abcde" for record in await by_hand.submit(job_id=name)]
    found = [(await reasons(by_hand.queue, record))["backlog"] for record in records]
    assert [(reason.position, reason.estimate_s) for reason in found] == [(n, None) for n in range(5)]
    await by_hand.end(*await by_hand.claim(2))
    place = (await reasons(by_hand.queue, records[-1]))["backlog"]
    rate = next(one.out_rate for one in await Queues(by_hand.queue).all() if one.figures.name == "default")
    assert place.position == 2
    assert place.estimate_s == pytest.approx(2 / rate, rel=0.05)


async def test_a_job_that_runs_or_has_ended_waits_for_nothing(by_hand: ByHand) -> None:
    """Neither a running job nor a final one is told any reason."""
    (record,) = await by_hand.submit()
    (claim,) = await by_hand.claim()
    assert await reasons(by_hand.queue, record) == {}
    await by_hand.end(claim)
    assert await reasons(by_hand.queue, record) == {}


async def test_a_real_worker_is_known_by_what_it_serves(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job is told that the workers of its queue know other kinds only, by what they say themselves."""
    release = asyncio.Event()

    @job("test.held")
    async def held(ctx: JobContext, payload: Empty) -> None:
        await release.wait()

    async with run_worker(Registry([held])), open_jobs(Registry([held, double])) as jobs:
        running = await jobs.submit(held, Empty())
        await wait_for(jobs, running.id, lambda record: record.state is JobState.RUNNING, "runs")
        foreign = await jobs.submit(double, Number(value=1))
        await wait_until(lambda: _says(jobs, foreign, "unknown_kind"), "the worker has told its kinds")
        release.set()
        await jobs.wait(running.id, timeout_s=5)


async def _says(jobs: JobQueue, record: JobRecord, code: str) -> bool:
    return code in await reasons(jobs, record)
