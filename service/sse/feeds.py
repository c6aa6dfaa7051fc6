"""The streams of many jobs: all of a tenant, or those of one batch. They can resume from a place in the feed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from arqway.service.sse.frames import BEAT, feed_frame, gap_frame, id_frame, view_frame
from arqway.service.sse.resumption import place_id
from arqway.workers.client import JobQueue
from arqway.workers.client.following import FeedFollower, FeedPlace, follow_feed
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.events import FINISHED, batch_topic, order_of


class BatchState(NamedTuple):
    """A snapshot of a batch."""

    view: dict[str, Any]
    """A ``service.shapes.batches.BatchView``."""
    finished_ms: int | None


ReadBatch = Callable[[], Awaitable[BatchState]]


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
        return _heartbeat(self._follower)


class BatchFrames:
    """The frames of a batch's stream, until the batch has finished.

    Args:
        follower: Returns the batch's events.
        read: Returns a snapshot of the batch.
    """

    def __init__(self, follower: FeedFollower, read: ReadBatch) -> None:
        self.news = follower.news
        self.first = [id_frame(place_id(follower.place))]
        self.ended = False
        self._follower = follower
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
        return frames + await self._reassure() if self._unsure else frames

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

    def heartbeat(self) -> bytes:
        """Return a comment and an id, as ``FeedFrames`` does."""
        return _heartbeat(self._follower)

    async def _reassure(self) -> list[bytes]:
        try:
            batch = await self._read()
        except StoreUnavailable:
            return []
        self._unsure = False
        return self.describe(batch)


def _heartbeat(follower: FeedFollower) -> bytes:
    follower.move_on()
    return id_frame(place_id(follower.place), BEAT)


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
