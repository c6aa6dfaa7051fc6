"""Jobs run: results, retries, progress, steps, schedules."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from arqway import DiscardJob, JobContext, JobState, Registry, RetryJob, job
from arqway.workers.contract.errors import DuplicateJob, InvalidPayload, InvalidSubmission, JobNotFound, WaitTimeout
from arqway.workers.contract.record import Progress
from tests.conftest import OpenQueue, RunWorker
from tests.support.jobs import SOON, Empty, Number, double, retries
from tests.support.waiting import wait_for


async def test_a_job_runs_and_its_result_is_in_the_record(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """An accepted job is run once, and its record holds result, progress and times."""
    registry = Registry([double])
    async with run_worker(registry) as worker, open_jobs(registry) as jobs:
        accepted = await jobs.submit(double, Number(value=21))
        record = await jobs.wait(accepted.id, timeout_s=5)
    assert (record.state, record.result, record.attempt) == (JobState.SUCCEEDED, 42, 1)
    assert record.progress == Progress(1, 1, "Doubled")
    assert record.worker == worker.worker_id
    assert accepted.created_ms <= (record.started_ms or 0) <= (record.finished_ms or 0)


async def test_a_transient_failure_costs_an_attempt_not_the_job(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job whose first attempts raise a retryable error succeeds on a later one, under the same id."""
    attempts: list[int] = []

    @job("test.flaky", retry=retries(3))
    async def flaky(ctx: JobContext, payload: Empty) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError("reset by peer")
        return "done"

    registry = Registry([flaky])
    async with run_worker(registry), open_jobs(registry) as jobs:
        record = await jobs.wait((await jobs.submit(flaky, Empty())).id, timeout_s=5)
    assert (record.state, record.result, attempts) == (JobState.SUCCEEDED, "done", [1, 2, 3])


async def test_attempts_run_out(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job that fails each time runs max_attempts times, and its last failure is kept."""
    attempts: list[int] = []

    @job("test.broken", retry=retries(3))
    async def broken(ctx: JobContext, payload: Empty) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("secret text")

    registry = Registry([broken])
    async with run_worker(registry), open_jobs(registry) as jobs:
        record = await jobs.wait((await jobs.submit(broken, Empty())).id, timeout_s=5)
    assert (record.state, attempts) == (JobState.FAILED, [1, 2, 3])
    assert record.failure is not None
    assert (record.failure.code, record.failure.error) == ("exception", "builtins.ValueError")
    assert "secret" not in record.failure.message


async def test_a_discarded_job_is_not_tried_again(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """DiscardJob fails the job for good, with its code and message, whatever attempts are left."""

    @job("test.discard", retry=retries(5))
    async def discard(ctx: JobContext, payload: Empty) -> None:
        raise DiscardJob("unknown_customer", "There is no such customer.")

    registry = Registry([discard])
    async with run_worker(registry), open_jobs(registry) as jobs:
        record = await jobs.wait((await jobs.submit(discard, Empty())).id, timeout_s=5)
    assert record.failure is not None
    assert (record.state, record.attempt) == (JobState.FAILED, 1)
    assert (record.failure.code, record.failure.message) == ("unknown_customer", "There is no such customer.")


async def test_a_waiting_retry_says_when(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Between attempts the record is retrying, with the time of the next one and the failure of the last."""

    @job("test.later", retry=retries(2))
    async def later(ctx: JobContext, payload: Empty) -> None:
        raise RetryJob("not yet", after=timedelta(hours=1))

    registry = Registry([later])
    async with run_worker(registry), open_jobs(registry) as jobs:
        accepted = await jobs.submit(later, Empty())
        record = await wait_for(jobs, accepted.id, lambda r: r.failure is not None, "has failed once")
        await jobs.cancel(accepted.id)
    assert record.state is JobState.RETRYING
    assert record.failure is not None
    assert record.failure.code == "retry_asked"
    assert record.next_retry_ms == pytest.approx(accepted.created_ms + 3_600_000, abs=5_000)


async def test_a_waiting_retry_holds_no_slot(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """While a job waits for its next attempt, the only slot of its worker runs another job."""

    @job("test.tomorrow", retry=retries(2))
    async def tomorrow(ctx: JobContext, payload: Empty) -> None:
        raise RetryJob("not yet", after=timedelta(days=1))

    registry = Registry([tomorrow, double])
    async with run_worker(registry, max_jobs=1), open_jobs(registry) as jobs:
        waiting = await jobs.submit(tomorrow, Empty())
        await wait_for(jobs, waiting.id, lambda r: r.state is JobState.RETRYING, "waits for its next attempt")
        record = await jobs.wait((await jobs.submit(double, Number(value=2))).id, timeout_s=5)
        await jobs.cancel(waiting.id)
    assert record.result == 4


async def test_a_delayed_job_starts_no_sooner(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A job with a delay is scheduled, and starts after its due time."""
    registry = Registry([double])
    async with run_worker(registry), open_jobs(registry) as jobs:
        accepted = await jobs.submit(double, Number(value=1), delay=SOON)
        record = await jobs.wait(accepted.id, timeout_s=5)
    assert accepted.state is JobState.SCHEDULED
    assert accepted.due_ms == accepted.created_ms + 50
    assert (record.started_ms or 0) >= accepted.due_ms


async def test_run_at_is_a_moment(open_jobs: OpenQueue) -> None:
    """run_at sets the due time exactly; without a time zone it is refused."""
    moment = datetime(2200, 1, 1, tzinfo=UTC)
    async with open_jobs(Registry([double])) as jobs:
        accepted = await jobs.submit(double, Number(value=1), run_at=moment)
        assert accepted.due_ms == int(moment.timestamp() * 1000)
        with pytest.raises(InvalidSubmission):
            await jobs.submit(double, Number(value=1), run_at=moment.replace(tzinfo=None))
        await jobs.cancel(accepted.id)


async def test_an_id_is_accepted_once(open_jobs: OpenQueue) -> None:
    """A second job with the same id is refused and changes nothing; of many at once one is accepted."""
    async with open_jobs(Registry([double])) as jobs:
        calls = (jobs.submit(double, Number(value=n), job_id="mine") for n in range(20))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        record = await jobs.read("mine")
        await jobs.cancel("mine")
    assert sum(not isinstance(answer, DuplicateJob) for answer in answers) == 1
    assert (record.state, record.version) == (JobState.QUEUED, 1)


async def test_many_jobs_are_accepted_in_order(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """submit_many accepts each payload as a job of its own; the ids come in the order of the payloads."""
    registry = Registry([double])
    async with run_worker(registry), open_jobs(registry) as jobs:
        ids = await jobs.submit_many(double, [Number(value=n) for n in range(1200)])
        records = [await jobs.wait(job_id, timeout_s=20) for job_id in (ids[0], ids[700], ids[-1])]
        for job_id in ids:
            await jobs.wait(job_id, timeout_s=20)
    assert [record.result for record in records] == [0, 1400, 2398]


async def test_many_jobs_are_accepted_only_if_all_fit(open_jobs: OpenQueue) -> None:
    """One payload that does not fit keeps all of submit_many from being stored."""
    async with open_jobs(Registry([double])) as jobs:
        with pytest.raises(InvalidPayload):
            await jobs.submit_many(double, [Number(value=1), Number.model_construct(value="x")])


async def test_steps_run_once_across_attempts(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A step that has run is not run again by the next attempt, which gets its kept result."""
    calls: list[int] = []

    async def charge(amount: int) -> Number:
        calls.append(amount)
        return Number(value=amount)

    @job("test.steps", retry=retries(2))
    async def steps(ctx: JobContext, payload: Empty) -> int:
        receipt = await ctx.step("charge", charge, 5)
        if ctx.attempt == 1:
            raise ConnectionError
        return receipt.value

    registry = Registry([steps])
    async with run_worker(registry), open_jobs(registry) as jobs:
        record = await jobs.wait((await jobs.submit(steps, Empty())).id, timeout_s=5)
    assert (record.result, calls) == (5, [5])


async def test_fast_progress_ends_with_the_latest(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A thousand reports in a row are written as few, and the record ends with the last."""

    @job("test.chatty")
    async def chatty(ctx: JobContext, payload: Empty) -> None:
        for n in range(1, 1001):
            await ctx.progress(n, 1000)

    registry = Registry([chatty])
    async with run_worker(registry), open_jobs(registry) as jobs:
        record = await jobs.wait((await jobs.submit(chatty, Empty())).id, timeout_s=5)
    assert record.progress == Progress(1000, 1000)
    assert record.version < 100


async def test_resources_are_opened_once_and_closed(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """All jobs of a worker share what the registry opened; it is closed when the worker stops."""
    log: list[str] = []

    @asynccontextmanager
    async def open_log() -> AsyncIterator[list[str]]:
        log.append("open")
        yield log
        log.append("close")

    @job("test.use")
    async def use(ctx: JobContext[list[str]], payload: Empty) -> None:
        ctx.resources.append("use")

    registry = Registry([use], resources=open_log)
    async with run_worker(registry), open_jobs(registry) as jobs:
        for record in [await jobs.submit(use, Empty()) for _ in range(2)]:
            await jobs.wait(record.id, timeout_s=5)
    assert log == ["open", "use", "use", "close"]


async def test_waiting_has_an_end(open_jobs: OpenQueue) -> None:
    """Waiting gives up after its time, and says at once that an unknown job is unknown."""
    async with open_jobs(Registry([double])) as jobs:
        accepted = await jobs.submit(double, Number(value=1))
        with pytest.raises(WaitTimeout):
            await jobs.wait(accepted.id, timeout_s=0.05)
        with pytest.raises(JobNotFound):
            await jobs.wait("nobody", timeout_s=5)
        await jobs.cancel(accepted.id)
