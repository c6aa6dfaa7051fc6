"""The client when connections break, the service stops, Redis is away, and too much is asked."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arqway import JobContext, Registry, job
from arqway.service.app import create_app
from arqway.service.client import ArqwayClient, Event, NewJob, TooManyRequests, Unavailable, WaitTimeout
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.api_key import Rate
from arqway.workers.contract.states import JobState
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.api_keys import make_key
from tests.support.http import served, service_settings
from tests.support.http_client import Observed, OpenClient, behind_proxy, http_url, serving
from tests.support.http_jobs import JOBS, add_up, do_nothing
from tests.support.proxy import Proxy, proxy
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until

_STEPS = 6


class Baton:
    """Lets a job go on by one step."""

    def __init__(self) -> None:
        self.steps: asyncio.Queue[None] = asyncio.Queue()
        baton = self

        @job("test.stepping")
        async def stepping(ctx: JobContext, payload: int) -> int:
            for n in range(_STEPS):
                await baton.steps.get()
                await ctx.progress(n)
            await baton.steps.get()
            return payload

        self.job = stepping
        self.registry = Registry([stepping])


@pytest.fixture
def baton() -> Baton:
    """A job that takes a step when it is told to."""
    return Baton()


@pytest.fixture
async def between(settings: Settings) -> AsyncIterator[Proxy]:
    """A proxy before the service."""
    async with behind_proxy(service_settings(settings), JOBS) as between:
        yield between


async def collect(stream: AsyncIterator[Event[int]], events: list[Event[int]]) -> None:
    """Append the events of a stream as they come."""
    async for event in stream:
        events.append(event)  # noqa: PERF401 - the test looks at them meanwhile


async def stepped(events: list[Event[int]], baton: Baton) -> None:
    """Let the job take a step, and return once its event has come."""
    before = len(events)
    baton.steps.put_nowait(None)
    await wait_until(lambda: len(events) > before, "the event of the step comes")


async def test_a_broken_stream_goes_on_where_it_broke(settings: Settings, run_worker: RunWorker, baton: Baton) -> None:
    """Cut between events, in the middle of one, and while nobody listens: each event comes once, in order."""
    events: list[Event[int]] = []
    async with (
        behind_proxy(service_settings(settings), baton.registry) as between,
        run_worker(baton.registry),
        ArqwayClient(http_url(between)) as api,
    ):
        accepted = await api.submit(baton.job, 7)
        listening = asyncio.create_task(collect(api.stream(accepted), events))
        await wait_until(lambda: len(events) == 2, "the job runs")
        await stepped(events, baton)
        between.cut_all()
        await stepped(events, baton)
        between.cut_mid_reply()
        await stepped(events, baton)
        between.go_away()
        for _ in range(_STEPS - 3):
            baton.steps.put_nowait(None)
        await wait_until(lambda: between.attempts_s, "the client tries to come back")
        between.come_back()
        baton.steps.put_nowait(None)
        await listening

    names = [event.name for event in events]
    assert (names[:2], names[-1], events[-1].job and events[-1].job.result) == (["queued", "running"], "succeeded", 7)
    assert [event.progress.current for event in events if event.progress][:3] == [0, 1, 2]
    assert len({event.id for event in events}) == len(events)
    assert [event.at for event in events] == sorted(event.at for event in events if event.at)


async def test_a_stream_goes_on_when_another_service_has_taken_over(
    settings: Settings, run_worker: RunWorker, baton: Baton
) -> None:
    """The first one stops, and so ends its streams; the second one knows what comes next."""
    own = service_settings(settings)
    events: list[Event[int]] = []
    with tempfile.TemporaryDirectory(prefix="arqway-test-") as folder:
        path = Path(folder) / "s"
        async with proxy(path) as between, run_worker(baton.registry), ArqwayClient(http_url(between)) as api:
            async with serving(own, baton.registry, path):
                accepted = await api.submit(baton.job, 7)
                listening = asyncio.create_task(collect(api.stream(accepted), events))
                await wait_until(lambda: len(events) == 2, "the job runs")
                await stepped(events, baton)
            for _ in range(_STEPS):
                baton.steps.put_nowait(None)
            async with serving(own, baton.registry, path):
                await listening

    assert [event.name for event in events][:3] == ["queued", "running", "progress"]
    assert events[-1].name == "succeeded"
    assert len({event.id for event in events}) == len(events)


async def test_a_submission_whose_answer_is_lost_makes_one_job(between: Proxy) -> None:
    """The connection breaks in the middle of the answer; what is sent again is known by its key."""
    async with ArqwayClient(http_url(between)) as api:
        before = await api.submit(add_up, [1])
        between.cut_mid_reply()
        again = await api.submit(add_up, [2], tags=["again"])
        between.cut_mid_reply()
        batch = await api.submit_many([NewJob(add_up, [n]) for n in range(3)])
        jobs = {job.id async for job in api.list()}
    assert len(between.attempts_s) == 3
    assert jobs == {before.id, again.id, *(handle.id for handle in batch.jobs)}
    assert len(jobs) == 5


async def test_a_cancellation_whose_answer_is_lost_is_one(between: Proxy) -> None:
    """The second try finds the job cancelled, which is what was asked for; the same goes for submitting it again."""
    async with ArqwayClient(http_url(between)) as api:
        accepted = await api.submit(do_nothing, {})
        between.cut_mid_reply()
        cancelled = await api.cancel(accepted, if_unchanged=True)
        between.cut_mid_reply()
        again = await api.retry(cancelled)
        jobs = {job.id async for job in api.list()}
    assert (cancelled.state, again.retry_of) == (JobState.CANCELLED, accepted.id)
    assert jobs == {accepted.id, again.id}


async def test_a_service_that_falls_silent_is_asked_again(between: Proxy) -> None:
    """On another connection, after a third of the call's time."""
    async with ArqwayClient(http_url(between), timeout_s=3) as api:
        await api.submit(do_nothing, {})
        for link in between.links:
            link.open.clear()
        await api.submit(do_nothing, {}, unique_key="once")
        assert len([job async for job in api.list()]) == 2


async def test_a_wait_outlives_an_outage(settings: Settings, run_worker: RunWorker) -> None:
    """The service cannot be reached for a while; without a time limit, the wait gives up with its retries."""
    async with (
        behind_proxy(service_settings(settings), JOBS) as between,
        ArqwayClient(http_url(between), retries=1) as api,
    ):
        accepted = await api.submit(add_up, [1])
        patient = asyncio.create_task(api.wait(accepted, timeout_s=20))
        await wait_until(lambda: any(b"GET /jobs/" in link.sent for link in between.links), "the wait has begun")
        between.go_away()
        with pytest.raises(Unavailable):
            await api.wait(accepted)
        with pytest.raises(WaitTimeout) as late:
            await api.wait(accepted, timeout_s=0.5)
        between.come_back()
        async with run_worker(JOBS):
            assert (await patient).result == 1
    assert isinstance(late.value.__cause__, Unavailable)


async def test_a_submission_waits_for_redis(tmp_path: Path) -> None:
    """The service answers 503 and when to come back, and the client does; once Redis is there, the job is accepted."""
    connections = Observed()
    with tempfile.TemporaryDirectory(prefix="arqway-test-") as folder:
        server = Valkey(Path(folder))
        settings = ServiceSettings.model_validate({"redis_url": server.url, "home": tmp_path})
        try:
            async with (
                served(create_app(settings, JOBS), settings) as service,
                ArqwayClient(service.url, connect=connections) as api,
            ):
                submitting = asyncio.create_task(api.submit(add_up, [1]))
                await wait_until(lambda: 503 in connections.statuses, "the service refuses")
                await asyncio.to_thread(server.start)
                assert (await submitting).state is JobState.QUEUED
        finally:
            server.stop()
    assert set(connections.statuses) == {503, 202}


async def test_a_rate_limit_is_kept(open_client: OpenClient, settings: Settings) -> None:
    """After a 429 the client comes back when it is told to, not sooner; what would take too long is told instead."""
    key, slow = [await make_key(settings, rate=Rate(per_s, 1)) for per_s in (1, 0.01)]
    connections = Observed()
    async with open_client(JOBS, key=key, connect=connections, auth="keys") as api:
        began_s = time.monotonic()
        for _ in range(2):
            await api.submit(do_nothing, {})
        took_s = time.monotonic() - began_s
    async with open_client(JOBS, key=slow, auth="keys") as api:
        await api.submit(do_nothing, {})
        with pytest.raises(TooManyRequests) as limited:
            await api.submit(do_nothing, {})

    assert connections.statuses == [202, 429, 202]
    assert took_s >= 1
    assert limited.value.retry_after_s is not None
    assert 90 < limited.value.retry_after_s <= 100


async def test_where_streams_are_refused_changes_still_come(open_client: OpenClient, run_worker: RunWorker) -> None:
    """A service with as many streams as it may have says so; long polls are no streams."""
    async with (
        open_client(JOBS, max_streams=1) as api,
        ArqwayClient(api.base_url, retries=0) as impatient,
        run_worker(JOBS),
    ):
        holding = asyncio.create_task(collect(api.stream_all(events=["finished"]), []))
        accepted = await api.submit(add_up, [1])

        async def refused() -> bool:
            try:
                await anext(impatient.stream(accepted))
            except Unavailable as error:
                return error.code == "too_many_streams"
            return False

        await wait_until(refused, "the stream is refused")
        states = [job.state async for job in impatient.changes(accepted)]
        holding.cancel()
    assert states[-1] is JobState.SUCCEEDED
