"""What a stream sends: the events of one job, of all jobs of a tenant, or of one batch; after what was received."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from arqway.service.access.callers import Caller
from arqway.service.sse.frames import (
    BEAT,
    HEARTBEAT,
    end_frame,
    feed_frame,
    gap_frame,
    id_frame,
    job_frame,
    submitted_frame,
    view_frame,
)
from arqway.service.sse.resumption import place_id
from arqway.workers.client import JobQueue
from arqway.workers.client.following import FeedFollower, FeedPlace, JobFollower, JobNews, follow_feed, follow_job
from arqway.workers.contract.errors import JobNotFound, StoreUnavailable
from arqway.workers.contract.events import FINISHED, START, batch_topic, order_of


class BatchState(NamedTuple):
    """A snapshot of a batch."""

    view: dict[str, Any]
    """A ``service.shapes.batches.BatchView``."""
    finished_ms: int | None


ReadBatch = Callable[[], Awaitable[BatchState]]


class JobFrames:
    """The frames of a job's stream.

    Args:
        follower: Returns the job's events.
        operator: Whether the client is an operator, who sees more of a failure.
    """

    def __init__(self, follower: JobFollower, *, operator: bool) -> None:
        self.news = follower.news
        self.first: list[bytes] = []
        self.ended = False
        self._follower = follower
        self._operator = operator

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return the frames since the last call."""
        try:
            return self.write(await self._follower.next(timeout_s=timeout_s))
        except JobNotFound:  # its record was deleted
            self.ended = True
            return []

    def write(self, news: JobNews) -> list[bytes]:
        """Encode events from the follower. The finished job takes the place of its final event."""
        frames = [gap_frame()] if news.gap else []
        frames += [job_frame(event) for event in news.events if not event.ends]
        if news.end is not None:
            frames.append(end_frame(news.end, self._follower.last, operator=self._operator))
            self.ended = True
        return frames

    def heartbeat(self) -> bytes:
        """Return a comment."""
        return HEARTBEAT


class FeedFrames:
    """The frames of a tenant's feed: the events with these names, or all of them."""

    def __init__(self, follower: FeedFollower, names: frozenset[str] = frozenset()) -> None:
        self.news = follower.news
        self.first = [id_frame(place_id(follower.place))]
        self.ended = False
        self._follower = follower
        self._names = names

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return the frames since the last call."""
        news = await self._follower.next(timeout_s=timeout_s)
        wanted = (told for told in news.events if not self._names or told.event.name in self._names)
        return [*([gap_frame()] if news.gap else []), *map(feed_frame, wanted)]

    def heartbeat(self) -> bytes:
        """Return a comment and an id, so that a client without recent events need not resume from far back."""
        self._follower.move_on()
        return id_frame(place_id(self._follower.place), BEAT)


class BatchFrames(FeedFrames):
    """The frames of a batch's stream, until the batch has finished.

    Args:
        follower: Returns the batch's events.
        read: Returns a snapshot of the batch.
    """

    def __init__(self, follower: FeedFollower, read: ReadBatch) -> None:
        super().__init__(follower)
        self._read = read
        self._unsure = False
        """Whether the event that the batch has finished may be among events that are no longer kept."""

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return the frames since the last call."""
        news = await self._follower.next(timeout_s=timeout_s)
        frames = [gap_frame()] if news.gap else []
        self._unsure |= news.gap
        for told in news.events:
            frames.append(feed_frame(told))
            if told.event.name == FINISHED:
                self.ended = True
                return frames
        if self._unsure:
            with suppress(StoreUnavailable):  # then the next call asks again
                batch = await self._read()
                self._unsure = False
                frames += self.describe(batch)
        return frames

    def describe(self, batch: BatchState) -> list[bytes]:
        """Return the batch's state and, if it has finished, its final event."""
        place, view = place_id(self._follower.place), batch.view
        frames = [view_frame("batch", view, place)]
        if batch.finished_ms is not None:
            self.ended = True
            figures = {name: view["counts"][name] for name in ("succeeded", "failed", "cancelled")}
            end = {"id": view["id"], "at": view["finished_at"], **figures, "total": view["total"]}
            frames.append(view_frame(FINISHED, end, place))
        return frames


@asynccontextmanager
async def job_frames(
    queue: JobQueue, caller: Caller, job_id: str, after: str | None
) -> AsyncIterator[JobFrames | None]:
    """Yield the frames of a job, from its submission on or after an event; None if nothing follows that event.

    Raises JobNotFound, also for another tenant's job, or StoreUnavailable.
    """
    async with follow_job(queue.feed, queue.streams, caller.tenant, job_id, after or START) as follower:
        record, kept = await follower.first()
        if after is not None and record.finished and not kept.events:
            yield None
            return
        frames = JobFrames(follower, operator=caller.is_operator)
        frames.first = frames.write(kept)
        if after is None:
            frames.first.insert(0, submitted_frame(record, START))
        yield frames


@asynccontextmanager
async def tenant_frames(
    queue: JobQueue, tenant: str, place: FeedPlace | None, names: frozenset[str]
) -> AsyncIterator[FeedFrames]:
    """Yield the frames of all jobs of a tenant, from now on or after a place. Raises StoreUnavailable."""
    async with follow_feed(queue.feed, queue.streams, tenant) as follower:
        if place is not None:
            follower.resume(place)
        yield FeedFrames(follower, names)


@asynccontextmanager
async def batch_frames(
    queue: JobQueue, tenant: str, batch_id: str, place: FeedPlace | None, read: ReadBatch
) -> AsyncIterator[BatchFrames | None]:
    """Yield the frames of a batch, from its current state on or after a place.

    Yields None if the client has already received the event that the batch has finished. Raises BatchNotFound or
    StoreUnavailable.
    """
    async with follow_feed(queue.feed, queue.streams, tenant, batch_topic(batch_id)) as follower:
        batch = await read()
        if place is None:
            frames = BatchFrames(follower, read)
            frames.first = frames.describe(batch)
            yield frames
        elif batch.finished_ms is None or await _is_ahead(follower, place, batch.finished_ms):
            follower.resume(place)
            yield BatchFrames(follower, read)
        else:
            yield None


async def _is_ahead(follower: FeedFollower, place: FeedPlace, finished_ms: int) -> bool:
    """Return whether a batch's final event comes after a place: by the feed or, where that is trimmed, by time."""
    found, cut = await follower.finds(FINISHED, place)
    return found or (cut and order_of(place.entry_id)[0] <= finished_ms)
