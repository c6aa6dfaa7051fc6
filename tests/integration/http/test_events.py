"""``GET /jobs/{id}/events``: a job's life as a stream of events, on a real socket."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient

from arqway.service.app import create_app
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.events import EVENTS_KEPT, START, order_of
from arqway.workers.contract.states import JobState
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.api_keys import bearer, make_key, revoke
from tests.support.event_streams import listening, whole_stream
from tests.support.hand_run import HandRun
from tests.support.http import OpenApi, api_client, assert_problem, served, service_settings
from tests.support.http_jobs import JOBS, SECRET
from tests.support.waiting import wait_until

NEVER = "9999999999999-0"


@pytest.fixture
async def site(served_api: OpenApi) -> AsyncIterator[AsyncClient]:
    """A client of a service behind a real server."""
    async with served_api(JOBS) as client:
        yield client


async def test_a_jobs_life_is_told_as_it_happens(site: AsyncClient, hand: HandRun) -> None:
    """Each event is heard before the next one happens; the last one is the job as it is read, and ends the stream."""
    (job_id,) = await hand.submit()
    async with listening(site, f"/jobs/{job_id}/events") as listener:
        await listener.hears_names("queued")
        (claim,) = await hand.claim()
        await listener.hears_names("queued", "running")
        await hand.progress(claim, 1, "é\u2028")
        heard = await listener.hears_names("queued", "running", "progress")
        await hand.settle(claim)
        ended = await listener.ends()

    job = (await site.get(f"/jobs/{job_id}")).json()
    assert heard[0].json == {"id": job_id, "state": "queued", "attempt": 0, "at": job["created_at"]}
    assert heard[2].json["progress"] == {"current": 1, "total": None, "message": "é\u2028"}
    assert {(event.json["id"], event.json["state"], event.json["attempt"]) for event in heard[1:]} == {
        (job_id, "running", 1)
    }
    assert (ended[-1].name, ended[-1].json, len(ended)) == ("succeeded", job, 4)
    orders = [order_of(event.id) for event in ended]
    assert orders == sorted(set(orders))


async def test_an_open_stream_shows_at_once(site: AsyncClient, hand: HandRun) -> None:
    """Before anything happens it says how soon to come back, and has the headers that keep proxies from waiting."""
    async with listening(site, "/events") as listener:
        await listener.hears(lambda self: self.comments, "the stream is open")
    headers = listener.response.headers
    assert headers["content-type"] == "text/event-stream"
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert (listener.events, listener.retry_ms) == ([], 2000)


async def test_failed_attempts_are_told_without_their_secrets(site: AsyncClient, hand: HandRun) -> None:
    """A retry and a failure say code and message."""
    (job_id,) = await hand.submit()
    for state in (JobState.RETRYING, JobState.QUEUED, JobState.FAILED):
        (claim,) = await hand.claim()
        await hand.settle(claim, state=state)
    told = await whole_stream(site, f"/jobs/{job_id}/events")
    names = ["queued", "running", "retrying", "running", "queued", "running", "failed"]
    assert [event.name for event in told] == names
    failure = {"code": "exception", "message": "The job failed."}
    assert told[2].json["failure"] == told[-1].json["failure"] == failure


async def test_an_exceptions_text_is_in_no_stream(site: AsyncClient, run_worker: RunWorker) -> None:
    """Neither the stream of the job nor that of the tenant has what only operators may see."""
    async with listening(site, "/events") as everything, run_worker(JOBS):
        job_id = (await site.post("/jobs/test.leaky", json={"user_id": 5})).json()["id"]
        told = await whole_stream(site, f"/jobs/{job_id}/events")
        await everything.hears_names("queued", "running", "failed")
    assert told[-1].name == "failed"
    assert SECRET not in f"{told}{everything.events}"


@pytest.mark.parametrize("delay_ms", [0, 60_000])
async def test_a_job_that_is_cancelled_while_it_waits_ends(site: AsyncClient, hand: HandRun, delay_ms: int) -> None:
    """The stream of a job that never runs says how it waited, and that it was cancelled."""
    (job_id,) = await hand.submit(delay_ms=delay_ms)
    async with listening(site, f"/jobs/{job_id}/events") as listener:
        first = "scheduled" if delay_ms else "queued"
        await listener.hears_names(first)
        await site.post(f"/jobs/{job_id}:cancel")
        assert [event.name for event in await listener.ends()] == [first, "cancelled"]


async def test_a_client_that_comes_back_misses_nothing(site: AsyncClient, hand: HandRun) -> None:
    """A client that is away in the middle of a running job gets exactly what it missed, then what happens."""
    claim = await hand.begin()
    path = f"/jobs/{claim.id}/events"
    async with listening(site, path) as before:
        await hand.progress(claim, 1)
        await before.hears_names("queued", "running", "progress")
    await hand.progress(claim, 2)
    await hand.progress(claim, 3)
    async with listening(site, path, before.last_id) as after:
        missed = await after.hears_names("progress", "progress")
        assert [event.json["progress"]["current"] for event in missed] == [2, 3]
        await hand.progress(claim, 4)
        await hand.settle(claim)
        assert [event.name for event in await after.ends()] == ["progress"] * 3 + ["succeeded"]


async def test_a_stream_goes_on_behind_every_event(site: AsyncClient, hand: HandRun) -> None:
    """By header or by query: the rest, whichever event was the last; behind the end, a 204 that stops a browser."""
    claim = await hand.begin()
    await hand.progress(claim, 1)
    await hand.settle(claim)
    path = f"/jobs/{claim.id}/events"
    whole = await whole_stream(site, path)
    for number, last in enumerate(whole[:-1]):
        assert await whole_stream(site, path, last.id) == whole[number + 1 :]
        assert await whole_stream(site, f"{path}?last_event_id={last.id}") == whole[number + 1 :]
        assert await whole_stream(site, f"{path}?last_event_id={NEVER}", last.id) == whole[number + 1 :]
    for last_id in (whole[-1].id, NEVER):
        response = await site.get(path, headers={"last-event-id": last_id})
        assert (response.status_code, response.content) == (204, b"")


async def test_an_end_is_told_to_who_waits_behind_it(site: AsyncClient, hand: HandRun) -> None:
    """A running job's stream that was asked for behind an event of the future ends with the job all the same."""
    claim = await hand.begin()
    async with listening(site, f"/jobs/{claim.id}/events", NEVER) as listener:
        await listener.hears(lambda self: self.comments, "the stream is open")
        await hand.progress(claim, 1)
        await hand.settle(claim)
        assert [event.name for event in await listener.ends()] == ["succeeded"]


async def test_a_gap_is_told(site: AsyncClient, hand: HandRun) -> None:
    """Where the job's first events are no longer kept, the stream says so, and goes on with those that are."""
    claim = await hand.begin()
    for number in range(EVENTS_KEPT * 2):
        await hand.progress(claim, number)
    await hand.settle(claim)
    whole = await whole_stream(site, f"/jobs/{claim.id}/events")
    assert [event.name for event in whole[:3]] == ["queued", "gap", "progress"]
    assert whole[1].id == START
    assert whole[-2].json["progress"]["current"] == EVENTS_KEPT * 2 - 1
    resumed = await whole_stream(site, f"/jobs/{claim.id}/events", whole[2].id)
    assert resumed == whole[3:]


@pytest.mark.parametrize("last_id", ["1", "x-0", "1-0.0", "-1-0", f"{2**64}-0"])
async def test_an_id_that_is_none_is_refused(site: AsyncClient, hand: HandRun, last_id: str) -> None:
    """400 by header and by query, and Redis is not asked."""
    (job_id,) = await hand.submit()
    path = f"/jobs/{job_id}/events"
    for response in (
        await site.get(path, headers={"last-event-id": last_id}),
        await site.get(path, params={"last_event_id": last_id}),
    ):
        assert_problem(response, 400, "invalid_event_id")


async def test_a_job_that_is_not_the_callers_is_not_found(site: AsyncClient, hand: HandRun) -> None:
    """Another tenant's job is like one that there never was."""
    (job_id,) = await hand.submit(tenant="other")
    answers = [await site.get(f"/jobs/{name}/events") for name in (job_id, "0" * 16, "a%20b")]
    told = [assert_problem(answer, 404, "job_not_found")["detail"] for answer in answers]
    assert told[0].replace(job_id, "0" * 16) == told[1]


async def test_a_silent_stream_has_a_heartbeat(served_api: OpenApi, hand: HandRun) -> None:
    """A comment comes from time to time while nothing happens, and no event."""
    (job_id,) = await hand.submit()
    async with (
        served_api(JOBS, sse_heartbeat_s=0.05) as site,
        listening(site, f"/jobs/{job_id}/events") as listener,
    ):
        await listener.hears(lambda self: self.comments.count("heartbeat") >= 5, "five heartbeats")
        assert (listener.names, listener.last_id) == (["queued"], START)


async def test_only_so_many_streams_are_served(served_api: OpenApi, hand: HandRun) -> None:
    """One more is a 503 that says when to ask again; all other requests are served; one that leaves makes room."""
    (job_id,) = await hand.submit()
    path = f"/jobs/{job_id}/events"
    async with served_api(JOBS, max_streams=2) as site, listening(site, path) as first:
        async with listening(site, "/events") as second:
            await second.hears(lambda self: self.comments, "the stream is open")
            refused = await site.get(path)
            assert_problem(refused, 503, "too_many_streams")
            assert refused.headers["retry-after"] == "5"
            assert (await site.get(f"/jobs/{job_id}")).status_code == 200

        async def serves_another() -> bool:
            async with site.stream("GET", "/events") as response:
                return response.status_code == 200

        await wait_until(serves_another, "the one that left makes room")
        assert not first.ended


async def test_nothing_is_left_of_a_client_that_is_gone(settings: Settings, hand: HandRun) -> None:
    """Clients that leave in the middle are forgotten at once: as streams, as listeners, and as connections."""
    own = service_settings(settings)
    app = create_app(own, JOBS)
    claim = await hand.begin()
    async with served(app, own) as server, AsyncClient(base_url=server.url) as site:
        for path in (f"/jobs/{claim.id}/events", "/events"):
            for _ in range(3):
                async with listening(site, path) as listener:
                    await listener.hears(lambda self: self.comments, "the stream is open")
                    await hand.progress(claim, 1)
                    await listener.hears(lambda self: self.events, "an event")
                await wait_until(lambda: len(app.state.arqway.streams) == 0, "the stream is forgotten", timeout_s=2)
                assert app.state.arqway.jobs.feed._listeners == {}
        await wait_until(lambda: not server.state.tasks, "no request is served", timeout_s=2)
    await hand.settle(claim)


async def test_a_stream_ends_with_the_right_to_it(served_api: OpenApi, settings: Settings, hand: HandRun) -> None:
    """A key that is revoked while its stream is open loses the stream, within 5 s and a heartbeat."""
    token = await make_key(settings, Scope.READ)
    (job_id,) = await hand.submit()
    async with served_api(JOBS, auth="keys", sse_heartbeat_s=0.2) as site:
        site.headers.update(bearer(token))
        async with listening(site, f"/jobs/{job_id}/events") as listener:
            await listener.hears_names("queued")
            await revoke(settings, token)
            assert [event.name for event in await listener.ends()] == ["queued"]
        assert_problem(await site.get(f"/jobs/{job_id}/events"), 401, "unauthenticated")


async def test_operators_see_all_of_a_failure(served_api: OpenApi, settings: Settings, run_worker: RunWorker) -> None:
    """The end of a failed job has the exception's text for a key with the scope, and for no other."""
    keys = {scope: await make_key(settings, scope, Scope.READ, Scope.SUBMIT) for scope in (Scope.OPERATE, Scope.READ)}
    async with served_api(JOBS, auth="keys") as site, run_worker(JOBS):
        told = {}
        for scope, token in keys.items():
            site.headers.update(bearer(token))
            job_id = (await site.post("/jobs/test.leaky", json={"user_id": 5})).json()["id"]
            told[scope] = (await whole_stream(site, f"/jobs/{job_id}/events"))[-1]
    assert told[Scope.OPERATE].json["failure"]["detail"] == SECRET
    assert SECRET not in told[Scope.READ].data


async def test_openapi_tells_of_the_streams(nowhere: ServiceSettings) -> None:
    """Each stream is documented with its media type, how to go on, its end, and its problems."""
    async with api_client(nowhere, JOBS) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    for path in ("/jobs/{job_id}/events", "/batches/{batch_id}/events", "/events"):
        operation = paths[path]["get"]
        assert set(operation["responses"]["200"]["content"]) == {"text/event-stream"}
        assert {"Last-Event-ID", "last_event_id"} <= {one["name"] for one in operation["parameters"]}
        assert {"400", "503", "default"} <= set(operation["responses"])
        assert ("204" in operation["responses"]) == (path != "/events")
