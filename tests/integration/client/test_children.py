"""Jobs that submit jobs, on a real worker: what a child inherits, and that a retried parent has it once."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arqway import DiscardJob, JobContext, JobQueue, JobRecord, JobState, Registry, StoreUnavailable, job
from arqway.workers.client import JobFilter, Listing
from arqway.workers.contract.errors import DuplicateJob, InvalidPayload, InvalidSubmission, LeaseLost, NotUnique
from arqway.workers.contract.states import EndReason
from arqway.workers.runners.attempt import Attempt
from tests.conftest import OpenQueue, RunWorker
from tests.support.jobs import Empty, Number, double, retries

Body = Callable[[JobContext], Coroutine[Any, Any, list[str]]]


def parent_of(body: Body, *, attempts: int = 1) -> tuple[Any, Registry]:
    """Return a job with this body, and a registry of it and of ``double``."""

    @job("test.parent", retry=retries(attempts))
    async def parent(ctx: JobContext, payload: Empty) -> list[str]:
        return await body(ctx)

    return parent, Registry([parent, double])


async def children(jobs: JobQueue, tenant: str = "default") -> list[JobRecord]:
    """Return all jobs of the second kind."""
    return [record async for record in Listing(jobs, tenant).all(JobFilter(kind="test.double"))]


async def outcome(jobs: JobQueue, parent: Any, **options: Any) -> JobRecord:
    """Submit the parent, and return its record at its end."""
    return await jobs.wait((await jobs.submit(parent, Empty(), **options)).id, timeout_s=10)


async def test_a_child_runs(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """What ``ctx.submit`` returns is an accepted job; the worker runs it as any other."""

    async def body(ctx: JobContext) -> list[str]:
        return [(await ctx.submit(double, Number(value=21))).id]

    parent, registry = parent_of(body)
    async with open_jobs(registry) as jobs, run_worker(registry):
        (child_id,) = (await outcome(jobs, parent)).result
        assert (await jobs.wait(child_id, timeout_s=10)).result == 42


async def test_a_child_inherits(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Tenant, tags and deadline are the parent's, to the millisecond; batch, unique key and delay are not."""

    async def body(ctx: JobContext) -> list[str]:
        return [(await ctx.submit(double, Number(value=1))).id]

    parent, registry = parent_of(body)
    deadline = datetime.now(UTC) + timedelta(hours=1, microseconds=1_234)
    async with open_jobs(registry) as jobs, run_worker(registry):
        record = await outcome(jobs, parent, tenant="shop", tags=["a", "b"], deadline=deadline, unique_key="k")
        child = await jobs.read(record.result[0])
        assert (child.tenant, child.tags, child.deadline_ms) == ("shop", ("a", "b"), record.deadline_ms)
        assert child.deadline_ms is not None
        assert (child.unique_key, child.batch) == (None, None)


async def test_a_given_option_wins_over_what_is_inherited(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Other values win, and so does None, which means the usual default."""
    sooner = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)

    async def body(ctx: JobContext) -> list[str]:
        other = await ctx.submit(double, Number(value=1), tenant="other", tags=["c"], deadline=sooner)
        none = await ctx.submit(double, Number(value=2), tenant=None, tags=None, deadline=None)
        return [other.id, none.id]

    parent, registry = parent_of(body)
    async with open_jobs(registry) as jobs, run_worker(registry):
        record = await outcome(jobs, parent, tenant="shop", tags=["a"], deadline=datetime.now(UTC) + timedelta(hours=1))
        other, none = [await jobs.read(child_id) for child_id in record.result]
        assert (other.tenant, other.tags, other.deadline_ms) == ("other", ("c",), int(sooner.timestamp()) * 1000)
        assert (none.tenant, none.tags, none.deadline_ms) == ("default", (), None)


@pytest.mark.parametrize("key", [None, "receipt"])
async def test_a_retried_parent_submits_once(run_worker: RunWorker, open_jobs: OpenQueue, key: str | None) -> None:
    """Every attempt gets the same child, as it is by then."""
    seen: list[JobRecord] = []

    async def body(ctx: JobContext) -> list[str]:
        child = await ctx.submit(double, Number(value=1), key=key)
        seen.append(child)
        async with open_jobs(registry) as jobs:
            await jobs.wait(child.id, timeout_s=5)
        if ctx.attempt < 3:
            raise ValueError
        return [child.id]

    parent, registry = parent_of(body, attempts=3)
    async with open_jobs(registry) as jobs, run_worker(registry):
        assert (await outcome(jobs, parent)).state is JobState.SUCCEEDED
        assert len(await children(jobs)) == 1
    assert [record.id for record in seen] == [seen[0].id] * 3
    assert [record.state for record in seen] == [JobState.QUEUED, JobState.SUCCEEDED, JobState.SUCCEEDED]


async def test_what_a_later_attempt_submits_in_another_order_is_not_mixed_up(
    run_worker: RunWorker, open_jobs: OpenQueue
) -> None:
    """Attempt 2 sees other things than attempt 1 did: nothing is submitted twice, and nothing is left out."""

    async def body(ctx: JobContext) -> list[str]:
        for value in [1, 2, 2] if ctx.attempt == 1 else [3, 2, 1, 2, 2]:
            await ctx.submit(double, Number(value=value))
        if ctx.attempt == 1:
            raise ValueError
        return []

    parent, registry = parent_of(body, attempts=2)
    async with open_jobs(registry) as jobs, run_worker(registry):
        await outcome(jobs, parent)
        results = [(await jobs.wait(child.id, timeout_s=5)).result for child in await children(jobs)]
    assert sorted(results) == [2, 4, 4, 4, 6]


async def test_children_of_different_parents_are_different(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Two parents with equal payloads have a child each, and so has a person's retry of one of them."""

    async def body(ctx: JobContext) -> list[str]:
        return [(await ctx.submit(double, Number(value=1), key="one")).id]

    parent, registry = parent_of(body)
    async with open_jobs(registry) as jobs, run_worker(registry):
        first = await outcome(jobs, parent)
        second = await outcome(jobs, parent)
        again = await jobs.wait((await jobs.retry(first.id)).id, timeout_s=5)
        assert len({*first.result, *second.result, *again.result}) == 3


async def test_many_children_of_one_payload_at_once_are_as_many(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Equal submissions that are under way at the same time are not taken for repeats of each other."""

    async def body(ctx: JobContext) -> list[str]:
        accepted = await asyncio.gather(*(ctx.submit(double, Number(value=1)) for _ in range(100)))
        return [child.id for child in accepted]

    parent, registry = parent_of(body)
    async with open_jobs(registry) as jobs, run_worker(registry):
        assert len(set((await outcome(jobs, parent)).result)) == 100


async def test_what_cannot_be_submitted_is_refused(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """With the errors of ``JobQueue.submit``; an own ``job_id`` that is taken, and a key beside it, included."""
    refused: list[type[Exception]] = []

    async def body(ctx: JobContext) -> list[str]:
        await ctx.submit(double, Number(value=1), job_id="mine", unique_key="k")
        attempts: list[Coroutine[Any, Any, JobRecord]] = [
            ctx.submit(double, Number(value=1), job_id="mine"),
            ctx.submit(double, Number(value=1), unique_key="k"),
            ctx.submit(double, Number(value=1), job_id="other", key="other"),
            ctx.submit(double, Number(value=1), tags=["no tag"]),
            ctx.submit(double, Number.model_construct(value="x")),
        ]
        for attempt in attempts:
            try:
                await attempt
            except Exception as error:
                refused.append(type(error))
        return []

    parent, registry = parent_of(body)
    async with open_jobs(registry) as jobs:
        accepted = await jobs.submit(parent, Empty())
        async with run_worker(registry, queues=("default",), max_jobs=1):
            await jobs.wait(accepted.id, timeout_s=5)
    assert refused == [DuplicateJob, NotUnique, InvalidSubmission, InvalidSubmission, InvalidPayload]


async def test_an_attempt_that_lost_its_job_submits_nothing(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Whoever owns the job now submits the child."""

    async def body(ctx: JobContext) -> list[str]:
        assert isinstance(ctx.link, Attempt)
        ctx.link.reason = EndReason.LOST
        try:
            with pytest.raises(LeaseLost):
                await ctx.submit(double, Number(value=1))
        finally:
            ctx.link.reason = None
        raise DiscardJob("seen", "It was refused.")

    parent, registry = parent_of(body)
    async with open_jobs(registry) as jobs, run_worker(registry):
        failure = (await outcome(jobs, parent)).failure
        assert failure is not None
        assert failure.code == "seen"
        assert await children(jobs) == []


async def test_a_submission_without_an_answer_may_be_repeated(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Within one attempt: the call that found Redis away did not use up the child's id."""
    ids: list[str] = []

    async def body(ctx: JobContext) -> list[str]:
        link, attempt = ctx.link, ctx.link.submit

        async def unanswered(*args: Any) -> JobRecord:
            ids.append((await attempt(*args)).id)
            raise StoreUnavailable

        link.submit = unanswered  # type: ignore[assignment, method-assign]
        with pytest.raises(StoreUnavailable):
            await ctx.submit(double, Number(value=1))
        link.submit = attempt  # type: ignore[method-assign]
        return [(await ctx.submit(double, Number(value=1))).id]

    parent, registry = parent_of(body)
    async with open_jobs(registry) as jobs, run_worker(registry):
        assert (await outcome(jobs, parent)).result == ids
        assert len(await children(jobs)) == 1
