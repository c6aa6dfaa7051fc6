"""Following a job or a feed: first the stored events, then new ones, each exactly once, in order, and none skipped.

A follower subscribes before it reads what is stored, so events in between arrive twice and are reported once. Whenever
its subscription has missed events, because it was slow or Redis was away, it reads again after the last one reported.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from arqway.workers.client.feed import EventFeed, Subscription
from arqway.workers.client.queue import possible_id
from arqway.workers.contract.errors import JobNotFound, StoreUnavailable
from arqway.workers.contract.events import START, FeedEvent, JobEvent, order_of, topics_of
from arqway.workers.contract.record import JobRecord
from arqway.workers.store.events import FeedPortion, JobLook, Streams

_LOOK_AGAIN_S = 1.0
"""Time until the next look after one that failed, while the feed is silent."""


class FeedPlace(NamedTuple):
    """A place in a feed: just after one line of an entry, or after the whole entry."""

    entry_id: str
    line: int | None = None

    def covers(self, event: FeedEvent) -> bool:
        """Return whether the event is at this place or before it."""
        here, there = order_of(self.entry_id), order_of(event.entry_id)
        return there < here or (there == here and (self.line is None or event.line <= self.line))


class JobNews(NamedTuple):
    """What a job follower reports at a time."""

    events: list[JobEvent]
    gap: bool = False
    """Whether events before these are no longer kept."""
    end: JobRecord | None = None
    """The record, once the job has ended; its last event has then been reported. Nothing follows."""


class JobFollower:
    """Reports the events of one job; made by ``follow_job``."""

    def __init__(self, streams: Streams, news: Subscription, job_id: str, tenant: str, after: str) -> None:
        self.news = news
        self.last = after
        """Id of the last event reported."""
        self._streams = streams
        self._job_id = job_id
        self._tenant = tenant
        self._behind = True

    async def first(self) -> tuple[JobRecord, JobNews]:
        """Return the job's current record and its stored events. Raises JobNotFound or StoreUnavailable."""
        look = await self._streams.look(self._job_id, self.last)
        return self._found(look), self._take(look)

    async def next(self, *, timeout_s: float) -> JobNews:
        """Return the news since the last call, waiting up to ``timeout_s``. Raises JobNotFound if the job is gone."""
        heard = await self.news.next(timeout_s=min(timeout_s, _LOOK_AGAIN_S) if self._behind else timeout_s)
        if heard is None or self._behind or any(one.event.ends for one in heard):
            self._behind = True
            try:
                return self._take(await self._streams.look(self._job_id, self.last))
            except StoreUnavailable:
                return JobNews([])
        last = order_of(self.last)
        fresh = [one.event for one in heard if one.event.order > last and not one.event.submits]
        if fresh:
            self.last = fresh[-1].id
        return JobNews(fresh)

    def _take(self, look: JobLook) -> JobNews:
        record = self._found(look)
        self._behind = False
        if look.events:
            self.last = look.events[-1].id
        return JobNews(look.events, look.cut, record if record.finished else None)

    def _found(self, look: JobLook) -> JobRecord:
        if look.record is None or look.record.tenant != self._tenant:
            raise JobNotFound(f"There is no job {self._job_id[:128]}.")
        return look.record


class FeedNews(NamedTuple):
    """What a feed follower reports at a time."""

    events: list[FeedEvent]
    gap: bool = False
    """Whether events before these are no longer kept."""


class FeedFollower:
    """Reports the events of a feed, or of one topic of it; made by ``follow_feed``."""

    def __init__(self, feed: EventFeed, streams: Streams, news: Subscription, tenant: str, topic: str) -> None:
        self.news = news
        self.place = FeedPlace(feed.position(tenant))
        """Just after the last event reported, or after entries known to hold nothing on the topic."""
        self._feed = feed
        self._streams = streams
        self._tenant = tenant
        self._topic = topic
        self._behind = False

    def resume(self, place: FeedPlace) -> None:
        """Continue from a place that was reached earlier."""
        self.place, self._behind = place, True

    async def next(self, *, timeout_s: float) -> FeedNews:
        """Return the news since the last call, waiting up to ``timeout_s``."""
        if self._behind:
            return await self._catch_up(timeout_s)
        heard = await self.news.next(timeout_s=timeout_s)
        if heard is None:
            self._behind = True
            return FeedNews([])
        return FeedNews(self._fresh(heard))

    def move_on(self) -> None:
        """Advance ``place`` past events of other topics, if everything on this topic was reported."""
        if not self._behind and self.news.idle:
            position = FeedPlace(self._feed.position(self._tenant))
            if order_of(position.entry_id) >= order_of(self.place.entry_id):
                self.place = position

    async def finds(self, name: str, place: FeedPlace) -> tuple[bool, bool]:
        """Return whether an event of this name is stored after a place, and whether some that were there may be gone.

        Raises StoreUnavailable.
        """
        portion = await self._streams.portion(self._tenant, place.entry_id)
        cut = portion.cut
        while True:
            if any(told.event.name == name and not place.covers(told) for told in self._of_topic(portion)):
                return True, cut
            if not portion.more:
                return False, cut
            portion = await self._streams.portion(self._tenant, portion.entries[-1].id)
            cut |= portion.cut

    async def _catch_up(self, timeout_s: float) -> FeedNews:
        try:
            portion = await self._streams.portion(self._tenant, self.place.entry_id)
        except StoreUnavailable:
            await self.news.next(timeout_s=min(timeout_s, _LOOK_AGAIN_S))
            return FeedNews([])
        self._behind = portion.more
        told = self._fresh(self._of_topic(portion))
        if portion.entries:
            self.place = FeedPlace(portion.entries[-1].id)
        elif portion.cut:  # the place is no longer in this feed, or never was, and nothing may follow it for long
            self.place = FeedPlace(self._feed.position(self._tenant))
        return FeedNews(told, portion.cut)

    def _of_topic(self, portion: FeedPortion) -> list[FeedEvent]:
        return [
            FeedEvent(entry.id, number, JobEvent.from_line(line))
            for entry in portion.entries
            for number, line in enumerate(entry.lines)
            if self._topic in topics_of(line)
        ]

    def _fresh(self, heard: list[FeedEvent]) -> list[FeedEvent]:
        fresh = [event for event in heard if not self.place.covers(event)]
        if fresh:
            self.place = FeedPlace(fresh[-1].entry_id, fresh[-1].line)
        return fresh


@asynccontextmanager
async def follow_job(
    feed: EventFeed, streams: Streams, tenant: str, job_id: str, after: str = START
) -> AsyncIterator[JobFollower]:
    """Follow a tenant's job from just after one of its events. Raises StoreUnavailable, or JobNotFound for a bad id."""
    async with feed.listen(tenant, possible_id(job_id)) as news:
        yield JobFollower(streams, news, job_id, tenant, after)


@asynccontextmanager
async def follow_feed(feed: EventFeed, streams: Streams, tenant: str, topic: str = "") -> AsyncIterator[FeedFollower]:
    """Follow a tenant's feed, or one topic of it, from now on. Raises StoreUnavailable."""
    async with feed.listen(tenant, topic) as news:
        yield FeedFollower(feed, streams, news, tenant, topic)
