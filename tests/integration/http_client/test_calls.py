"""The client on a real service and worker: what each of its calls promises."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from typing import assert_type

import pytest

from arqway import JobContext, Registry, job
from arqway.service.client import (
    Event,
    Invalid,
    Job,
    JobFailed,
    JobHandle,
    NewJob,
    Progress,
    WaitTimeout,
)
from arqway.workers.contract.states import JobState
from tests.conftest import RunWorker
from tests.support.http_client import Observed, OpenClient
from tests.support.http_jobs import JOBS, SECRET, Customer, MadeReport, add_up, make_report


async def test_a_definition_types_what_goes_in_and_what_comes_out(
    open_client: OpenClient, run_worker: RunWorker
) -> None:
    """The payload is the job's, and so is the result; the type checker of this repository checks these lines."""
    async with open_client(JOBS) as api, run_worker(JOBS):
        accepted = await api.submit(make_report, Customer(user_id=5))
        made = await api.result(accepted, timeout_s=5)
        seen = await api.get(accepted)

    assert_type(accepted, Job[MadeReport])
    assert_type(made, MadeReport)
    assert_type(seen.result, MadeReport | None)
    assert made == seen.result == MadeReport(user_id=5, report_url=f"/reports/{seen.id}/file", object_name="5/v1.pdf")


async def test_a_kind_takes_and_gives_plain_json(open_client: OpenClient, run_worker: RunWorker) -> None:
    """Also by the id alone, as another program may have got it."""
    async with open_client(JOBS) as api, run_worker(JOBS):
        accepted = await api.submit("test.sum", [1, 2])
        ended = await api.wait(accepted.id, timeout_s=5)
        typed = await api.wait(JobHandle(accepted.id, add_up), timeout_s=5)

    assert (accepted.state, accepted.etag is not None) == (JobState.QUEUED, True)
    assert (ended.state, ended.result, ended.progress and ended.progress.message) == (JobState.SUCCEEDED, 3, "Read")
    assert_type(typed, Job[int])
    assert typed.result == 3


async def test_every_option_arrives(open_client: OpenClient) -> None:
    """The accepted job has what was asked for."""
    run_at, deadline = datetime(2100, 1, 1, 12, 0, 0, 250_000, UTC), datetime(2100, 1, 2, tzinfo=UTC)
    async with open_client(JOBS) as api:
        later = await api.submit("test.sum", [1], run_at=run_at, deadline=deadline, tags=["a", "b"], unique_key="u")
        delayed = await api.submit("test.sum", [1], delay=timedelta(minutes=2), queue="default")
        with pytest.raises(Invalid) as refused:
            await api.submit("test.sum", [1], queue="elsewhere")

    assert (later.state, later.due_at, later.deadline_at) == (JobState.SCHEDULED, run_at, deadline)
    assert (later.tags, later.unique_key) == (("a", "b"), "u")
    assert delayed.due_at - delayed.created_at == timedelta(minutes=2)
    assert refused.value.code == "queue_not_allowed"


async def test_a_failed_job_raises_with_its_code(open_client: OpenClient, run_worker: RunWorker) -> None:
    """Asking for its result does; waiting for it does not, for it has ended. The exception's text is not told."""
    async with open_client(JOBS) as api, run_worker(JOBS):
        unknown = await api.submit(make_report, Customer(user_id=0))
        with pytest.raises(JobFailed) as failed:
            await api.result(unknown, timeout_s=5)
        with pytest.raises(JobFailed) as raised:
            await api.result(await api.submit("test.leaky", {"user_id": 1}), timeout_s=5)
        ended = await api.wait(unknown)

    assert (failed.value.code, failed.value.message) == ("unknown_customer", "There is no customer 0.")
    assert failed.value.job == ended
    assert raised.value.code == "exception"
    assert SECRET not in f"{raised.value!r} {raised.value.job}"


async def test_a_cancelled_job_has_no_result_either(open_client: OpenClient) -> None:
    """The code says why."""
    async with open_client(JOBS) as api:
        job = await api.cancel(await api.submit("test.sum", [1]))
        with pytest.raises(JobFailed) as failed:
            await api.result(job)

    assert (job.state, failed.value.code) == (JobState.CANCELLED, "cancelled")


async def test_the_service_waits_and_is_not_asked_again_and_again(
    open_client: OpenClient, run_worker: RunWorker
) -> None:
    """While a job runs, one request is open; it is answered at the job's end, whatever progress it has made."""
    go_on, begun = asyncio.Event(), asyncio.Event()

    @job("test.chatty")
    async def chatty(ctx: JobContext, payload: int) -> int:
        begun.set()
        await go_on.wait()
        for n in range(20):
            await ctx.progress(n)
        return payload

    registry, connections = Registry([chatty]), Observed()
    async with open_client(registry, connect=connections) as api, run_worker(registry):
        accepted = await api.submit(chatty, 7)
        waiting = asyncio.create_task(api.result(accepted, timeout_s=10))
        await begun.wait()
        go_on.set()
        assert await waiting == 7

    assert [request.method for request in connections.requests] == ["POST", "GET"]
    assert connections.requests[1].headers["prefer"] == "wait=10"


async def test_patience_ends(open_client: OpenClient) -> None:
    """After the given time, or at once; a submission that waits gives the job as it is then."""
    async with open_client(JOBS) as api:
        job = await api.submit("test.sum", [1], wait_s=0.2)
        assert job.state is JobState.QUEUED
        for timeout_s in (0.3, 0, -1):
            with pytest.raises(WaitTimeout, match=job.id) as late:
                await api.wait(job, timeout_s=timeout_s)
        assert late.value.job_id == job.id


async def test_a_submission_may_wait_for_the_end(open_client: OpenClient, run_worker: RunWorker) -> None:
    """It gives the finished job."""
    async with open_client(JOBS) as api, run_worker(JOBS):
        job = await api.submit(add_up, [1, 2, 3], wait_s=5)
    assert (job.state, job.result) == (JobState.SUCCEEDED, 6)


async def test_the_changes_of_a_job_come_up_to_its_end(open_client: OpenClient, run_worker: RunWorker) -> None:
    """By long polls: it waits, then it has ended, and every answer is another one."""
    seen: list[Job[int]] = []
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_client(JOBS))
        async for job in api.changes(await api.submit(add_up, [1])):
            seen.append(job)
            if len(seen) == 1:
                await stack.enter_async_context(run_worker(JOBS))

    assert (seen[0].state, seen[-1].state, seen[-1].result) == (JobState.QUEUED, JobState.SUCCEEDED, 1)
    assert len({job.etag for job in seen}) == len(seen) > 1


async def test_the_events_of_a_job_end_with_the_whole_job(open_client: OpenClient, run_worker: RunWorker) -> None:
    """From its submission on, also for who comes late; behind a given event only what follows it."""
    go_on = asyncio.Event()

    @job("test.reporting")
    async def reporting(ctx: JobContext, payload: int) -> int:
        await ctx.progress(1, total=2, message="Half")
        await go_on.wait()
        return payload

    registry = Registry([reporting])
    async with open_client(registry) as api, run_worker(registry):
        accepted = await api.submit(reporting, 7)
        events: list[Event[int]] = []
        async for event in api.stream(accepted):
            events.append(event)
            if event.progress:
                go_on.set()
        late = [event async for event in api.stream(accepted.id)]
        rest = [event async for event in api.stream(accepted, after=events[1].id)]
        nothing = [event async for event in api.stream(accepted, after=events[-1].id)]

    assert [event.name for event in events] == ["queued", "running", "progress", "succeeded"]
    assert events[2].progress == Progress(1, 2, "Half")
    end = events[-1].job
    assert end is not None
    assert_type(end, Job[int])
    assert end.result == 7
    assert [event.id for event in late] == [event.id for event in events]
    assert rest == events[2:]
    assert nothing == []


async def test_all_events_of_the_caller_come(open_client: OpenClient, run_worker: RunWorker) -> None:
    """Those of any job, from now on; only the names that are asked for."""
    async with open_client(JOBS) as api, run_worker(JOBS), aclosing(api.stream_all(events=["succeeded"])) as events:
        coming = asyncio.create_task(anext(events))
        ids = []
        while not coming.done():  # the stream shows nothing of what was before it
            ids.append((await api.submit(add_up, [1], wait_s=5)).id)
        event = await coming
    assert (event.name, event.state, event.job) == ("succeeded", JobState.SUCCEEDED, None)
    assert event.job_id in ids


async def test_a_list_gives_every_job_once(open_client: OpenClient) -> None:
    """Over several pages, the latest first, and only those that the filter means."""
    async with open_client(JOBS) as api:
        for tag in ("even", "odd"):
            await api.submit_many([NewJob(add_up, [n], {"tags": [tag]}) for n in range(230)])
        jobs = [job async for job in api.list()]
        odd = [job async for job in api.list(tag="odd", state=JobState.QUEUED, kind="test.sum")]
        none = [job async for job in api.list(state="failed")]
        since = [job async for job in api.list(created_from=datetime(2100, 1, 1, tzinfo=UTC))]

    assert len(jobs) == len({job.id for job in jobs}) == 460
    assert [job.created_at for job in jobs] == sorted((job.created_at for job in jobs), reverse=True)
    assert {job.id for job in odd} == {job.id for job in jobs if job.tags == ("odd",)}
    assert len(odd) == 230
    assert none == since == []
