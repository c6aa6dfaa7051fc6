"""Stock arq clients: what they enqueue runs, and what they are told is true."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from arq import func
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus

from arqway import JobState, Registry
from arqway.workers.contract.errors import JobFailed
from tests.conftest import OpenQueue, RunWorker
from tests.support.arq_workers import MakeWorker, add, fail, submitted
from tests.support.jobs import Number, double
from tests.support.waiting import wait_until


async def test_a_stock_producers_job_runs_and_gets_a_record(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """A job of a plain enqueue_job runs with its arguments; stock clients read its result, and so do ours."""
    job = await submitted(arq, "add", 1, b=2)
    assert await job.status() is JobStatus.queued
    worker = make_worker(add)
    await worker.async_run()
    record = await worker.store.read(job.job_id)
    assert (await job.result(timeout=1), await job.status()) == (3, JobStatus.complete)
    assert record is not None
    assert (record.kind, record.result, record.attempt) == ("add", 3, 1)
    assert worker.jobs_complete == 1


async def test_a_stock_client_sees_a_running_job(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """Status and info tell the truth while a job runs and after it."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def wait(ctx: dict[str, Any]) -> None:
        begun.set()
        await finish.wait()

    job = await submitted(arq, "wait")
    run = asyncio.create_task(make_worker(func(wait, name="wait")).async_run())
    await begun.wait()
    running, info = await job.status(), await job.info()
    finish.set()
    await run
    result = await job.result_info()
    assert running is JobStatus.in_progress
    assert info is not None
    assert info.function == "wait"
    assert result is not None
    assert (result.success, result.queue_name, result.job_id) == (True, "arq:queue", job.job_id)


async def test_a_failure_is_raised_by_result_without_its_text(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """A failed function raises JobFailed at the client, with a safe message."""
    job = await submitted(arq, "fail")
    await make_worker(fail).async_run()
    with pytest.raises(JobFailed) as failure:
        await job.result(timeout=1)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(("keep", "left"), [(0, False), (30, True)])
async def test_results_are_kept_as_asked(arq: ArqRedis, make_worker: MakeWorker, keep: int, left: bool) -> None:
    """keep_result of a function wins; 0 keeps nothing for stock clients, and the id may be used again at once."""
    job = await submitted(arq, "add", 1, _job_id="mine")
    await make_worker(func(add, keep_result=keep)).async_run()
    assert (await job.result_info() is not None) is left
    assert (await arq.enqueue_job("add", 2, _job_id="mine") is None) is left
    worker = make_worker(add)
    await worker.async_run()
    record = await worker.store.read("mine")
    assert record is not None
    assert record.result == (1 if left else 2)


async def test_results_may_be_kept_for_ever(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """keep_result_forever sets no time to live, as its name says."""
    job = await submitted(arq, "add", 1)
    await make_worker(func(add, keep_result_forever=True)).async_run()
    assert await arq.ttl(f"arq:result:{job.job_id}") == -1
    await arq.delete(f"arq:result:{job.job_id}")


@pytest.mark.parametrize("defer", [None, timedelta(hours=1)])
async def test_abort_of_a_waiting_job(arq: ArqRedis, make_worker: MakeWorker, defer: timedelta | None) -> None:
    """Job.abort() of a queued or deferred job returns True, and the job never runs."""
    ran: list[int] = []

    async def note(ctx: dict[str, Any]) -> None:
        ran.append(1)

    job = await submitted(arq, "note", _defer_by=defer)
    abort = asyncio.create_task(job.abort(timeout=5, poll_delay=0.02))
    await wait_until(lambda: arq.exists("arq:abort"), "the abort is asked for")
    await make_worker(func(note, name="note")).async_run()
    assert (await abort, ran) == (True, [])


async def test_abort_of_a_running_job(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """Job.abort() cancels a running job, whose record ends cancelled, once."""
    begun = asyncio.Event()

    async def hang(ctx: dict[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    job = await submitted(arq, "hang")
    worker = make_worker(func(hang, name="hang"))
    run = asyncio.create_task(worker.async_run())
    await begun.wait()
    assert await job.abort(timeout=5, poll_delay=0.02)
    await run
    record = await worker.store.read(job.job_id)
    assert record is not None
    assert (record.state, record.rescues) == ("cancelled", 0)
    assert await arq.exists("arq:abort") == 0


async def test_abort_of_an_ended_job_changes_nothing(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """A late abort leaves the result alone, and does not hit a later job of the same id."""
    job = await submitted(arq, "add", 1, _job_id="mine")
    await make_worker(func(add, keep_result=0)).async_run()
    await arq.zadd("arq:abort", {"mine": int(datetime.now(UTC).timestamp() * 1000) - 5_000})
    await arq.zadd("arq:queue", {"mine": 1})
    worker = make_worker(add)
    await worker.async_run()
    first = await worker.store.read("mine")
    await submitted(arq, "add", 5, _job_id="mine")
    await worker.async_run()
    second = await worker.store.read(job.job_id)
    assert first is not None
    assert second is not None
    assert (first.result, second.result) == (1, 5)


async def test_another_queue_of_any_name(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """A queue that stock arq was told to call otherwise is served under that very key."""
    job = await submitted(arq, "add", 1, _queue_name="our:jobs")
    await make_worker(add, queue_name="our:jobs").async_run()
    result = await job.result_info()
    assert result is not None
    assert result.queue_name == "our:jobs"


async def test_stock_clients_are_told_the_truth_about_our_jobs(
    arq: ArqRedis, run_worker: RunWorker, open_jobs: OpenQueue
) -> None:
    """Status, info and result of a job that was submitted through Arqway are those that arq's own would have."""
    registry = Registry([double])
    async with open_jobs(registry) as jobs:
        record = await jobs.submit(double, Number(value=21))
        job = Job(record.id, arq, _deserializer=arq.job_deserializer)
        waiting, info = await job.status(), await job.info()
        async with run_worker(registry):
            result = await job.result(timeout=5, poll_delay=0.02)
    assert (waiting, await job.status(), result) == (JobStatus.queued, JobStatus.complete, 42)
    assert info is not None
    assert (info.function, list(info.args)) == ("test.double", [{"value": 21}])


async def test_stock_clients_abort_our_jobs(arq: ArqRedis, run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Job.abort() of a scheduled job that was submitted through Arqway cancels it; its record says so."""
    registry = Registry([double])
    async with open_jobs(registry) as jobs:
        record = await jobs.submit(double, Number(value=21), delay=timedelta(hours=1))
        job = Job(record.id, arq, _deserializer=arq.job_deserializer)
        # arq makes the job due before it asks to abort it: a worker that looks in between would run it
        abort = asyncio.create_task(job.abort(timeout=5, poll_delay=0.02))
        await wait_until(lambda: arq.exists("arq:abort"), "the abort is asked for")
        async with run_worker(registry):
            assert await abort
        ended = await jobs.read(record.id)
    assert (ended.state, ended.attempt) == (JobState.CANCELLED, 1)
