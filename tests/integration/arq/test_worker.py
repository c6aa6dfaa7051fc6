"""What arq documents about its worker holds for ours: functions, hooks, burst, cron, check."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from signal import Signals
from typing import Any

import pytest
from arq import Retry, cron, func
from arq.connections import ArqRedis
from arq.worker import FailedJobs

from arqway.workers.contract.errors import JobFailed
from arqway.workers.engine.worker import JobWorker
from tests.support.arq_workers import MakeWorker, add, fail, submitted
from tests.support.waiting import wait_until


async def test_run_check_raises_for_failed_jobs(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """run_check counts completed jobs, and raises FailedJobs if one failed."""
    await submitted(arq, "add", 1)
    worker = make_worker(add, fail)
    assert await worker.run_check() == 1
    await submitted(arq, "fail")
    with pytest.raises(FailedJobs) as failed:
        await worker.run_check()
    assert failed.value.count == 1


async def test_a_burst_ends_when_the_queue_is_empty_or_at_its_limit(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """max_burst_jobs is how many are begun; the rest stay queued. A burst waits for a deferred job."""
    for n in range(5):
        await submitted(arq, "add", n)
    assert await make_worker(add).run_check(max_burst_jobs=3) == 3
    await submitted(arq, "add", 9, _defer_by=timedelta(milliseconds=50))
    assert await make_worker(add).run_check() == 3


async def test_retry_is_the_functions_own_wish(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """Only Retry runs a function again, after its own delay, at most max_tries times."""
    tries: list[int] = []

    async def again(ctx: dict[str, Any]) -> int:
        tries.append(ctx["job_try"])
        if len(tries) < 3:
            raise Retry(defer=timedelta(milliseconds=10))
        return len(tries)

    job = await submitted(arq, "again")
    worker = make_worker(func(again, name="again"))
    await worker.async_run()
    assert (await job.result(timeout=1), tries, worker.jobs_retried) == (3, [1, 2, 3], 2)


async def test_tries_run_out(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """A function that always asks for another try fails after max_tries runs."""
    tries: list[int] = []

    async def never(ctx: dict[str, Any]) -> None:
        tries.append(ctx["job_try"])
        raise Retry

    await submitted(arq, "never")
    worker = make_worker(func(never, name="never", max_tries=2))
    await worker.async_run()
    assert (tries, worker.jobs_failed) == ([1, 2], 1)


async def test_a_functions_own_timeout_ends_it(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """func(timeout=…) is the hard limit."""

    async def slow(ctx: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    job = await submitted(arq, "slow")
    await make_worker(func(slow, name="slow", timeout=0.05)).async_run()
    with pytest.raises(JobFailed, match="timeout"):
        await job.result(timeout=1)


async def test_hooks_share_one_ctx_and_may_fail(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """on_job_start, the function, on_job_end and after_job_end see one dict; a hook's error harms nothing."""
    seen: list[str] = []

    async def start(ctx: dict[str, Any]) -> None:
        ctx["mark"] = ctx["job_id"]
        seen.append("start")

    async def body(ctx: dict[str, Any]) -> str:
        seen.append("body")
        return str(ctx["mark"])

    async def end(ctx: dict[str, Any]) -> None:
        seen.append("end")
        raise RuntimeError("a hook's error")

    async def after(ctx: dict[str, Any]) -> None:
        assert ctx["mark"] == ctx["job_id"]
        seen.append("after")

    job = await submitted(arq, "body")
    worker = make_worker(func(body, name="body"), on_job_start=start, on_job_end=end, after_job_end=after)
    await worker.async_run()
    assert (await job.result(timeout=1), seen) == (job.job_id, ["start", "body", "end", "after"])


async def test_no_hook_is_called_for_a_job_that_is_refused_unrun(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """An unreadable envelope and an expired one fail without on_job_start, on_job_end or after_job_end, as with arq."""
    seen: list[str] = []

    async def hook(ctx: dict[str, Any]) -> None:
        seen.append(ctx["job_id"])

    await arq.set("arq:job:garbage", b"\x00", ex=60)
    await arq.zadd("arq:queue", {"garbage": 1, "expired": 1})
    job = await submitted(arq, "add", 1)
    worker = make_worker(add, on_job_start=hook, on_job_end=hook, after_job_end=hook)
    await worker.async_run()
    assert (worker.jobs_failed, seen) == (2, [job.job_id] * 3)


async def test_startup_and_shutdown_are_called_with_the_workers_ctx(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """on_startup fills ctx for the functions, on_shutdown empties it when the worker is closed."""
    log: list[str] = []

    async def startup(ctx: dict[str, Any]) -> None:
        ctx["db"] = "open"

    async def shutdown(ctx: dict[str, Any]) -> None:
        log.append(f"{ctx['db']} and shut")

    async def use(ctx: dict[str, Any]) -> str:
        assert isinstance(ctx["redis"], ArqRedis)
        return str(ctx["db"])

    job = await submitted(arq, "use")
    worker = make_worker(func(use, name="use"), on_startup=startup, on_shutdown=shutdown)
    await worker.async_run()
    await worker.close()
    assert (await job.result(timeout=1), log) == ("open", ["open and shut"])


async def test_a_cron_job_runs_once_on_five_workers(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """Five workers with the same cron job run each time of it once."""
    runs: list[str] = []

    async def tick(ctx: dict[str, Any]) -> None:
        runs.append(ctx["job_id"])

    def start() -> JobWorker:
        jobs = [cron(tick, name="tick", second=set(range(60)), microsecond=0)]
        return make_worker(cron_jobs=jobs, burst=False)

    workers = [start() for _ in range(5)]
    tasks = [asyncio.create_task(worker.async_run()) for worker in workers]
    await wait_until(lambda: len(set(runs)) >= 2, "the second time has come")
    for worker in workers:
        worker.handle_sig(Signals.SIGTERM)
    await asyncio.gather(*tasks)
    assert len(runs) == len(set(runs))


@asynccontextmanager
async def _running(worker: JobWorker) -> AsyncIterator[None]:
    run = asyncio.create_task(worker.async_run())
    try:
        yield
    finally:
        worker.handle_sig(Signals.SIGTERM)
        await run


async def test_the_health_key_is_written_and_removed(arq: ArqRedis, make_worker: MakeWorker) -> None:
    """Arq's health line, with its counts, lies beside the queue while the worker lives."""
    worker = make_worker(add, burst=False)
    async with _running(worker):
        await wait_until(lambda: arq.exists("arq:queue:health-check"), "it is written")
        line = await arq.get("arq:queue:health-check")
    await worker.close()
    assert b"j_complete=0 j_failed=0" in line
    assert await arq.exists("arq:queue:health-check") == 0
