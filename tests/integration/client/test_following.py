"""Followers of jobs and feeds, on a real server: whatever happens, each event is told once and in order."""

import asyncio
from contextlib import suppress
from itertools import pairwise
from random import Random

import pytest
from redis import Redis

from arqway.workers.client.feed import EventFeed, Subscription
from arqway.workers.client.following import FeedFollower, FeedPlace, follow_feed, follow_job
from arqway.workers.contract import keys
from arqway.workers.contract.errors import JobNotFound, StoreUnavailable
from arqway.workers.contract.events import EVENTS_KEPT, FEED_KEPT, START, FeedEvent, batch_topic, order_of
from arqway.workers.contract.states import JobState
from arqway.workers.store.attempts import Claim
from arqway.workers.store.events import Streams
from tests.support.feeds import AT_ONCE_S, connections, end_all, heard
from tests.support.hand_run import HandRun
from tests.support.waiting import wait_until


async def test_any_number_of_followers_use_two_connections(
    feed: EventFeed, streams: Streams, hand: HandRun, redis_client: Redis
) -> None:
    """500 jobs and 100 feeds are looked at and listened to at once, and followed, over the reader's and one more."""
    ids = await hand.submit(500)
    before = connections(redis_client)

    async def follow(job_id: str) -> list[str]:
        names = []
        async with follow_job(feed, streams, "default", job_id) as follower:
            news = (await follower.first())[1]
            while True:
                names += [event.name for event in news.events]
                if news.end is not None:
                    return names
                news = await follower.next(timeout_s=30)

    async def resume(number: int) -> None:
        async with follow_feed(feed, streams, f"t{number}") as follower:
            follower.resume(FeedPlace(f"{number}-0"))
            assert (await follower.next(timeout_s=30)).gap

    following = [asyncio.create_task(follow(job_id)) for job_id in ids]
    await asyncio.gather(*map(resume, range(1, 101)))
    await wait_until(lambda: len(feed._listeners.get("default", {})) == 500, "all follow")
    await end_all(hand)
    assert await asyncio.gather(*following) == [["running", "succeeded"]] * 500
    assert connections(redis_client) <= before + 2


async def told_by(follower: FeedFollower, count: int) -> list[FeedEvent]:
    """Return so many events of a follower; none of them may follow a gap."""
    told: list[FeedEvent] = []
    async with asyncio.timeout(AT_ONCE_S):
        while len(told) < count:
            news = await follower.next(timeout_s=AT_ONCE_S)
            assert not news.gap
            told += news.events
    return told


async def test_a_feed_goes_on_behind_every_place(feed: EventFeed, streams: Streams, hand: HandRun) -> None:
    """Whichever event was told last, what follows it is told once: also where several came in one write."""
    batch = "c" * 32
    async with follow_feed(feed, streams, "default") as follower:
        await hand.submit(3, batch=batch)
        await hand.submit(2)
        await end_all(hand)
        told = await told_by(follower, 16)
    assert all(one.order < next_one.order for one, next_one in pairwise(told))
    for topic in ("", batch_topic(batch)):
        asked = [event for event in told if not topic or event.event.job_id.startswith(batch)]
        for number, last in enumerate(asked):
            async with follow_feed(feed, streams, "default", topic) as follower:
                follower.resume(FeedPlace(last.entry_id, last.line))
                rest = asked[number + 1 :]
                assert await told_by(follower, len(rest)) == rest
                await hand.submit(tenant="other")
                assert (await follower.next(timeout_s=0.01)).events == []
    await end_all(hand)


@pytest.mark.parametrize("place", [START, "1-0", "9999999999999-0"])
async def test_a_feed_that_no_longer_reaches_back_has_a_gap(
    feed: EventFeed, streams: Streams, hand: HandRun, redis_client: Redis, place: str
) -> None:
    """A place whose entry is gone, or never was, is told as a gap, and the follower goes on with what there is."""
    for _ in range(FEED_KEPT + 150):
        redis_client.xadd(keys.feed("default"), {"events": "a 1-0 running 1"})
    redis_client.xtrim(keys.feed("default"), maxlen=FEED_KEPT, approximate=False)
    redis_client.expire(keys.feed("default"), 60)
    async with follow_feed(feed, streams, "default") as follower:
        follower.resume(FeedPlace(place))
        first = await follower.next(timeout_s=AT_ONCE_S)
        assert first.gap
        if order_of(place) < (2, 0):
            await told_by(follower, FEED_KEPT - len(first.events))
        await hand.submit()
        await told_by(follower, 1)
    await end_all(hand)


async def test_a_place_moves_on_while_nothing_is_told(feed: EventFeed, streams: Streams, hand: HandRun) -> None:
    """A follower of a quiet topic knows that it has missed nothing up to now, so it can go on from here later."""
    async with follow_feed(feed, streams, "default", "quiet") as follower, feed.listen("default") as news:
        before = follower.place
        await hand.submit()
        last = (await heard(news, 1))[0]
        follower.move_on()
        assert follower.place == FeedPlace(last.entry_id) != before
        follower.move_on()
        assert follower.place == FeedPlace(last.entry_id)
    await end_all(hand)


async def test_a_job_is_followed_by_its_tenant_alone(feed: EventFeed, streams: Streams, hand: HandRun) -> None:
    """Another tenant's job, an unknown one and an odd id are not found."""
    (job_id,) = await hand.submit(tenant="other")
    for name in (job_id, "nobody", "a b", ""):
        with pytest.raises(JobNotFound):
            async with follow_job(feed, streams, "default", name) as follower:
                await follower.first()
    async with follow_job(feed, streams, "other", job_id) as follower:
        record, news = await follower.first()
    assert (record.state, news.events, news.end, news.gap) == (JobState.QUEUED, [], None, False)
    await end_all(hand)


async def test_the_oldest_events_of_a_long_job_are_gone(feed: EventFeed, streams: Streams, hand: HandRun) -> None:
    """Where a job's stream no longer reaches back there is a gap, and none behind an event that it still has."""
    claim = await hand.begin()
    for number in range(EVENTS_KEPT * 2):
        await hand.progress(claim, number)
    async with follow_job(feed, streams, "default", claim.id) as follower:
        _, kept = await follower.first()
    async with follow_job(feed, streams, "default", claim.id, kept.events[0].id) as follower:
        _, rest = await follower.first()
    await hand.settle(claim)
    assert kept.gap
    assert EVENTS_KEPT <= len(kept.events) < EVENTS_KEPT * 2
    assert (rest.gap, rest.events) == (False, kept.events[1:])


class Trouble:
    """A follower of a job that goes through all kinds of trouble; every event must be told once, in order."""

    def __init__(self, feed: EventFeed, streams: Streams, redis_client: Redis, claim: Claim) -> None:
        self.told: list[str] = []
        self._feed, self._streams, self._client = feed, streams, redis_client
        self._claim = claim
        self._news: Subscription | None = None
        self._following: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        """Begin behind what was told last, and go on to the job's end."""
        after = self.told[-1] if self.told else START
        async with follow_job(self._feed, self._streams, "default", self._claim.id, after) as follower:
            self._news = follower.news
            news = (await follower.first())[1]
            while True:
                assert not news.gap
                self.told += [event.id for event in news.events]
                if news.end is not None:
                    return
                news = await follower.next(timeout_s=0.2)

    async def meet(self, trouble: str) -> None:
        """Let something happen."""
        if trouble == "kill":
            self._client.client_kill_filter(_type="normal", skipme=True)
        elif trouble == "lose" and self._news is not None:
            self._news.lose()
        elif trouble == "leave" and self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        elif trouble == "turn":
            await asyncio.sleep(0)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._again())

    async def _again(self) -> None:
        """Follow until the end, as a client does that comes back after an error."""
        while True:
            with suppress(StoreUnavailable):
                return await self.follow()

    async def end(self) -> list[str]:
        """Return what was told once the job has ended."""
        await self.meet("turn")
        assert self._following is not None
        async with asyncio.timeout(10):
            await self._following
        return self.told


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_each_event_is_told_once(
    feed: EventFeed, streams: Streams, hand: HandRun, redis_client: Redis, seed: int
) -> None:
    """Connections are killed, listeners too slow, clients leave and come back: the ids told are those of the stream."""
    claim = await hand.begin()
    trouble, random = Trouble(feed, streams, redis_client, claim), Random(seed)
    for number in range(120):
        what = random.choice(["progress"] * 6 + ["turn"] * 4 + ["lose", "leave", "kill"])
        if what != "progress":
            await trouble.meet(what)
            continue
        written = False
        while not written:
            with suppress(StoreUnavailable):
                await hand.progress(claim, number)
                written = True
    settled = False
    while not settled:
        with suppress(StoreUnavailable):
            await hand.settle(claim)
            settled = True
    told = await trouble.end()
    entries: list[tuple[bytes, object]] = redis_client.xrange(keys.events(claim.id))  # type: ignore[assignment]
    assert told == [entry_id.decode() for entry_id, _ in entries]
    assert len(told) > 30
