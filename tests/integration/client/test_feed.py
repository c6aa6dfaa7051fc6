"""The event feed, on a real server: nobody misses anything without learning it, and nothing is left of who has gone."""

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest
from redis import Redis

from arqway.workers.client import feed as feed_module
from arqway.workers.client.feed import EventFeed
from arqway.workers.contract import keys
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.events import FINISHED, START, batch_topic, order_of
from arqway.workers.contract.states import JobState
from arqway.workers.store.connection import open_redis
from arqway.workers.store.events import Streams
from tests.support.feeds import AT_ONCE_S, connections, end_all, heard
from tests.support.hand_run import HandRun
from tests.support.waiting import wait_until


async def test_each_hears_what_is_meant_for_them(feed: EventFeed, hand: HandRun) -> None:
    """Listeners hear all of their tenant, one job or one batch, and nothing of another tenant."""
    batch = "b" * 32
    (one,) = await hand.submit()
    async with (
        feed.listen("default") as everything,
        feed.listen("default", one) as of_job,
        feed.listen("default", batch_topic(batch)) as of_batch,
        feed.listen("other") as of_other,
    ):
        await hand.submit(2, batch=batch)
        await hand.submit(1, tenant="other")
        await end_all(hand)
        told = [event.event for event in await heard(everything, 9)]
        assert [event.name for event in told].count("queued") == 2
        assert [event.event.name for event in await heard(of_job, 2)] == ["running", "succeeded"]
        batched = [(event.event.job_id, event.event.name) for event in await heard(of_batch, 7)]
        assert {job_id for job_id, _ in batched} == {batch, f"{batch}.0", f"{batch}.1"}
        assert batched[-1] == (batch, FINISHED)
        assert [event.event.name for event in await heard(of_other, 3)] == ["queued", "running", "succeeded"]


async def test_an_event_is_the_same_in_the_feed_and_in_its_jobs_stream(
    feed: EventFeed, streams: Streams, hand: HandRun
) -> None:
    """Ids, names, attempts and data agree, so what is in both can be told once."""
    (job_id,) = await hand.submit()
    async with feed.listen("default", job_id) as news:
        (claim,) = await hand.claim()
        await hand.progress(claim, 1, "é\u2028 {}")
        await hand.settle(claim, state=JobState.FAILED)
        told = [event.event for event in await heard(news, 3)]
    look = await streams.look(job_id, START)
    assert look.events == told
    assert [event.name for event in told] == ["running", "progress", "failed"]
    assert told[1].data["message"] == "é\u2028 {}"


async def test_newcomers_need_not_wait_for_the_read_under_way(
    feed: EventFeed, hand: HandRun, redis_client: Redis
) -> None:
    """While the reader is blocked 200 listeners to as many feeds come; each hears at once, over two connections."""
    tenants = [f"t{n}" for n in range(200)]
    async with feed.listen("quiet"), AsyncExitStack() as stack:
        before = connections(redis_client)
        joining = (stack.enter_async_context(feed.listen(tenant)) for tenant in tenants)
        async with asyncio.timeout(AT_ONCE_S):
            subscriptions = await asyncio.gather(*joining)
        assert connections(redis_client) <= before + 1
        for tenant in tenants:
            await hand.submit(tenant=tenant)
        for news in subscriptions:
            await heard(news, 1)
    await end_all(hand)


@pytest.mark.parametrize("leaves_at", range(12))
async def test_a_listener_that_is_cancelled_disturbs_nobody(feed: EventFeed, hand: HandRun, leaves_at: int) -> None:
    """Whenever the first of two newcomers gives up, the other hears all the same, and nothing is left of the first."""
    entered = asyncio.Event()

    async def listen() -> None:
        async with feed.listen("default"):
            entered.set()
            await asyncio.Event().wait()

    async with feed.listen("quiet"):
        gone = asyncio.create_task(listen())
        other = asyncio.create_task(listen())
        for _ in range(leaves_at):
            await asyncio.sleep(0)
        gone.cancel()
        async with asyncio.timeout(AT_ONCE_S):
            await entered.wait()
            async with feed.listen("default") as news:
                await hand.submit()
                await heard(news, 1)
        other.cancel()
        await asyncio.wait([gone, other])
        assert list(feed._listeners) == ["quiet"]
    await end_all(hand)


async def test_the_last_to_leave_lets_the_connection_go(
    feed: EventFeed, hand: HandRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once nobody listens any more nothing is read; whoever comes later hears again."""
    monkeypatch.setattr(feed_module, "_BLOCK_MS", 50)
    for _ in range(3):
        async with feed.listen("default") as news:
            await hand.submit()
            await heard(news, 1)
        await wait_until(lambda: feed._reading is None, "the reading ends")
        assert (feed._positions, feed._listeners, feed._newcomers) == ({}, {}, [])
    await end_all(hand)


async def test_who_comes_as_the_reading_ends_is_heard(
    feed: EventFeed, hand: HandRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However close a listener follows on the last one's leaving, it hears what happens from then on."""
    monkeypatch.setattr(feed_module, "_BLOCK_MS", 1)
    for turns in range(60):
        async with feed.listen("default") as news:
            await hand.submit()
            await heard(news, 1)
        for _ in range(turns):
            await asyncio.sleep(0)
    await end_all(hand)


async def test_a_slow_listener_is_told_that_it_has_missed_some(feed: EventFeed, hand: HandRun) -> None:
    """No more than 1,000 events wait: the listener learns that it missed some, and hears later ones."""
    async with feed.listen("default") as slow, feed.listen("default") as quick:
        for _ in range(11):
            await hand.submit(100)
            await heard(quick, 100)
        assert await slow.next(timeout_s=0) is None
        assert await slow.next(timeout_s=0) == []
        assert slow.idle
        await hand.submit()
        await heard(slow, 1)
    await end_all(hand)


async def test_a_reader_that_is_too_slow_says_so(feed: EventFeed, hand: HandRun, redis_client: Redis) -> None:
    """Where a feed lost entries before they were read, its listeners learn it; where it lost none, they hear all."""

    def write(count: int) -> None:
        for _ in range(count):  # the loop is blocked, and with it the reader
            redis_client.xadd(keys.feed("default"), {"events": "a 1-0 running 1"})

    async with feed.listen("default") as news:
        await hand.submit()
        await heard(news, 1)
        write(700)
        await heard(news, 700)
        write(700)
        redis_client.xtrim(keys.feed("default"), maxlen=600, approximate=False)
        await wait_until(lambda: not news.idle, "news come")
        assert await news.next(timeout_s=AT_ONCE_S) is None
    await end_all(hand)
    redis_client.expire(keys.feed("default"), 60)


async def test_after_a_lost_connection_listeners_look_for_themselves(
    feed: EventFeed, hand: HandRun, redis_client: Redis
) -> None:
    """Another server may know less, and its clock be behind: listeners learn it, and hear what it tells from then."""
    async with feed.listen("default") as news:
        await hand.submit()
        ahead = (await heard(news, 1))[0]
        redis_client.flushall()
        redis_client.xadd(keys.feed("default"), {"events": "a 5-0 running 1"}, id="5-0")
        redis_client.client_kill_filter(_type="normal", skipme=True)
        async with asyncio.timeout(AT_ONCE_S):
            assert await news.next(timeout_s=AT_ONCE_S) is None
        redis_client.xadd(keys.feed("default"), {"events": "a 6-0 running 1"}, id="6-0")
        (behind,) = await heard(news, 1)
    assert order_of(behind.entry_id) == (6, 0) < order_of(ahead.entry_id)
    redis_client.flushall()


async def test_a_line_that_cannot_be_read_ends_nothing(
    feed: EventFeed, hand: HandRun, redis_client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged as the bug it is; listeners look for themselves, and hear what comes then."""
    async with feed.listen("default") as news:
        redis_client.xadd(keys.feed("default"), {"events": "gibberish"})
        with caplog.at_level(logging.CRITICAL, "arqway.workers.client"):
            assert await news.next(timeout_s=AT_ONCE_S) is None
        await hand.submit()
        await heard(news, 1)
    await end_all(hand)


async def test_an_entry_of_a_later_version_is_passed_over(feed: EventFeed, hand: HandRun, redis_client: Redis) -> None:
    """An entry without our field tells nothing, and stops nobody."""
    async with feed.listen("default") as news:
        redis_client.xadd(keys.feed("default"), {"later": "?"})
        await hand.submit()
        await heard(news, 1)
    await end_all(hand)


async def test_nobody_listens_where_redis_is_away() -> None:
    """Listening fails within seconds, again and again, and leaves nothing."""
    redis = open_redis("redis://127.0.0.1:1")
    feed = EventFeed(Streams(redis))
    for _ in range(3):
        async with asyncio.timeout(AT_ONCE_S):
            with pytest.raises(StoreUnavailable):
                async with feed.listen("default"):
                    raise AssertionError("nobody can listen")
    await feed.close()
    assert (feed._listeners, feed._newcomers) == ({}, [])
    await redis.aclose()


async def test_closing_turns_newcomers_away(streams: Streams) -> None:
    """Whoever waits to listen as the feed is closed gets an error, and does not wait for ever."""
    feed = EventFeed(streams)

    async def listen() -> None:
        async with feed.listen("default"):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await feed.close()
    with pytest.raises(StoreUnavailable):
        await waiting
