"""``GET /batches/{id}/events`` and ``GET /events``: what happens to many jobs, as one stream, on a real socket."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from redis import Redis

from arqway.workers.contract import keys
from arqway.workers.contract.events import FEED_KEPT, START
from arqway.workers.contract.states import JobState
from arqway.workers.settings import Settings
from tests.support.api_keys import bearer, make_key
from tests.support.event_streams import listening, whole_stream
from tests.support.feeds import end_all
from tests.support.hand_run import HandRun
from tests.support.http import OpenApi, assert_problem
from tests.support.http_jobs import JOBS

BATCH = "b" * 32
PATH = f"/batches/{BATCH}/events"


@pytest.fixture
async def site(served_api: OpenApi) -> AsyncIterator[AsyncClient]:
    """A client of a service behind a real server."""
    async with served_api(JOBS) as client:
        yield client


async def test_a_batch_is_told_from_how_it_is_to_its_end(site: AsyncClient, hand: HandRun) -> None:
    """First how the batch is, then what happens to its jobs and to no other, and at last how they ended."""
    await hand.submit(3, batch=BATCH)
    await hand.submit()
    async with listening(site, PATH) as listener:
        (batch,) = await listener.hears_names("batch")
        assert batch.json == (await site.get(f"/batches/{BATCH}")).json()
        claims = sorted(await hand.claim(), key=lambda claim: claim.id)
        await listener.hears_names("batch", *["running"] * 3)
        ours = [claim for claim in claims if claim.id.startswith(BATCH)]
        await hand.settle(ours[0], state=JobState.FAILED)
        await hand.settle(*[claim for claim in claims if claim is not ours[0]])
        told = await listener.ends()

    assert batch.json["counts"]["queued"] == 3
    assert [event.name for event in told] == [
        "batch", "running", "running", "running", "failed", "succeeded", "succeeded", "finished",
    ]  # fmt: skip
    assert {event.json["id"] for event in told[1:-1]} == {f"{BATCH}.{n}" for n in range(3)}
    end = told[-1].json
    assert (end["id"], end["succeeded"], end["failed"], end["cancelled"], end["total"]) == (BATCH, 2, 1, 0, 3)


async def test_a_batch_goes_on_behind_every_event(site: AsyncClient, hand: HandRun) -> None:
    """Whichever event was the last, exactly the rest follows; behind the end, a 204."""
    await hand.submit(4, batch=BATCH)
    async with listening(site, PATH) as listener:
        await listener.hears_names("batch")
        await end_all(hand)
        whole = await listener.ends()
    assert len(whole) == 10
    for number, last in enumerate(whole[:-1]):
        assert await whole_stream(site, PATH, last.id) == whole[number + 1 :]
    assert (await site.get(PATH, params={"last_event_id": whole[-1].id})).status_code == 204


async def test_a_finished_batch_is_told_as_it_is(site: AsyncClient, hand: HandRun) -> None:
    """Who comes late gets the batch and its end, and nothing when coming back; a batch that lives again is told on."""
    await hand.submit(1, batch=BATCH)
    (claim,) = await hand.claim()
    await hand.settle(claim, state=JobState.FAILED)
    whole = await whole_stream(site, PATH)
    assert [event.name for event in whole] == ["batch", "finished"]
    assert whole[1].json == {
        "id": BATCH, "at": whole[0].json["finished_at"], "succeeded": 0, "failed": 1, "cancelled": 0, "total": 1
    }  # fmt: skip
    assert (await site.get(PATH, headers={"last-event-id": whole[-1].id})).status_code == 204


@pytest.mark.parametrize("finished", [True, False])
async def test_a_batch_whose_events_are_gone_is_told_as_it_is(
    site: AsyncClient, hand: HandRun, redis_client: Redis, finished: bool
) -> None:
    """Behind a place that the feed no longer has: a gap, how the batch is, and its end if it has come meanwhile."""
    await hand.submit(2, batch=BATCH)
    async with listening(site, PATH) as before:
        await before.hears_names("batch")
        first, second = await hand.claim()
        await before.hears_names("batch", "running", "running")
    await hand.settle(first)
    if finished:
        await hand.settle(second)
    redis_client.xtrim(keys.feed("default"), maxlen=0, approximate=False)
    async with listening(site, PATH, before.last_id) as after:
        if not finished:
            heard = await after.hears_names("gap", "batch")
            assert heard[1].json["counts"]["running"] == 1
            await hand.settle(second)
        told = await after.ends()
    rest = [] if finished else ["succeeded"]
    assert [event.name for event in told] == ["gap", "batch", *rest, "finished"]
    assert (await site.get(PATH, headers={"last-event-id": told[-1].id})).status_code == 204


async def test_an_end_that_was_told_long_ago_is_not_told_again(
    site: AsyncClient, hand: HandRun, redis_client: Redis
) -> None:
    """A client that has seen a batch's end gets a 204 although the feed has lost it since."""
    await hand.submit(1, batch=BATCH)
    async with listening(site, PATH) as listener:
        await listener.hears_names("batch")
        await end_all(hand)
        await listener.ends()
    await hand.submit()
    async with listening(site, "/events") as everything:
        await everything.hears(lambda self: self.last_id, "the place of now")
    redis_client.xtrim(keys.feed("default"), maxlen=0, approximate=False)
    assert (await site.get(PATH, headers={"last-event-id": everything.last_id})).status_code == 204
    await end_all(hand)


async def test_a_batch_that_is_not_the_callers_is_not_found(site: AsyncClient, hand: HandRun) -> None:
    """Another tenant's batch is like one that there never was; so it is behind an event."""
    await hand.submit(1, batch=BATCH, tenant="other")
    for name in (BATCH, "0" * 32, "a%20b"):
        for last_id in ({}, {"last-event-id": START}):
            assert_problem(await site.get(f"/batches/{name}/events", headers=last_id), 404, "batch_not_found")
    await end_all(hand)


async def test_all_jobs_are_told(site: AsyncClient, hand: HandRun) -> None:
    """Whatever happens to any job of the caller from then on, its submission included; no other tenant's."""
    await hand.submit()
    async with listening(site, "/events") as listener:
        await listener.hears(lambda self: self.last_id, "the place of now")
        await hand.submit(tenant="other")
        (later,) = await hand.submit()
        await end_all(hand)
        await listener.hears(lambda self: len(self.events) == 5, "all events")
    assert sorted(listener.names) == ["queued", "running", "running", "succeeded", "succeeded"]
    assert [event.name for event in listener.events if event.json["id"] == later] == ["queued", "running", "succeeded"]


async def test_each_key_hears_its_own_tenant(served_api: OpenApi, settings: Settings, hand: HandRun) -> None:
    """With keys, a stream is that of the key's tenant."""
    async with served_api(JOBS, auth="keys") as site:
        site.headers.update(bearer(await make_key(settings, tenant="other")))
        async with listening(site, "/events") as listener:
            await listener.hears(lambda self: self.last_id, "the place of now")
            await hand.submit()
            (own,) = await hand.submit(tenant="other")
            (heard,) = await listener.hears_names("queued")
            assert heard.json["id"] == own
    await end_all(hand)


async def test_a_client_of_all_jobs_misses_nothing(site: AsyncClient, hand: HandRun) -> None:
    """Also one that left before the first event: the place was told as the stream was opened."""
    async with listening(site, "/events") as before:
        await before.hears(lambda self: self.last_id, "the place of now")
    assert before.events == []
    await hand.submit(2)
    await end_all(hand)
    async with listening(site, "/events", before.last_id) as after:
        whole = await after.hears_names("queued", "queued", "running", "running", "succeeded", "succeeded")
    for number, last in enumerate(whole):
        async with listening(site, "/events", last.id) as again:
            rest = whole[number + 1 :]
            await again.hears_names(*[event.name for event in rest])
            assert again.events == rest


async def test_only_some_names_are_told(served_api: OpenApi, hand: HandRun) -> None:
    """The names in the query choose; what is not told moves on the place from which a client will go on."""
    async with (
        served_api(JOBS, sse_heartbeat_s=0.05) as site,
        listening(site, "/events?event=failed&event=cancelled") as listener,
    ):
        await listener.hears(lambda self: self.last_id, "the place of now")
        begun = listener.last_id
        await hand.submit()
        await end_all(hand)
        await listener.hears(lambda self: self.last_id > begun, "the place moves on")
        (job_id,) = await hand.submit()
        await site.post(f"/jobs/{job_id}:cancel")
        (heard,) = await listener.hears_names("cancelled")
        assert heard.json["id"] == job_id


@pytest.mark.parametrize("query", ["event=nope", "event=failed&event=", "event=FAILED"])
async def test_a_name_that_no_event_has_is_refused(site: AsyncClient, query: str) -> None:
    """422, and the answer says which names there are."""
    problem = assert_problem(await site.get(f"/events?{query}"), 422, "invalid_request")
    assert "succeeded" in problem["errors"][0]["msg"]
    assert_problem(await site.get("/events?last_event_id=x"), 400, "invalid_event_id")


async def test_a_feed_that_does_not_reach_back_has_a_gap(site: AsyncClient, hand: HandRun, redis_client: Redis) -> None:
    """A client that was away for too long is told so, gets what is kept, and then what happens."""
    for _ in range(FEED_KEPT + 300):
        redis_client.xadd(keys.feed("default"), {"events": "a 1-0 running 1"})
    redis_client.xtrim(keys.feed("default"), maxlen=FEED_KEPT, approximate=False)
    async with listening(site, "/events", "1-0") as listener:
        await listener.hears(lambda self: len(self.events) == FEED_KEPT + 1, "what is kept")
        await hand.submit()
        await listener.hears(lambda self: self.names[-1] == "queued", "what happens")
    assert listener.names.count("gap") == 1
    assert listener.names[0] == "gap"
    await end_all(hand)
