"""The streams of many jobs: all of a tenant, or those of one batch. They go on from a place in the tenant's feed."""

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
    """How a batch is."""

    view: dict[str, Any]
    """``service.shapes.batches.BatchView``."""
    finished_ms: int | None


ReadBatch = Callable[[], Awaitable[BatchState]]


class FeedFrames:
    """What the stream of a feed sends: the events with these names, or all."""

    def __init__(self, follower: FeedFollower, names: frozenset[str] = frozenset()) -> None:
        self.news = follower.news
        self.first = [id_frame(place_id(follower.place))]
        self.ended = False
        self._follower = follower
        self._names = names

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return what came since the last call."""
        news = await self._follower.next(timeout_s=timeout_s)
        wanted = (told for told in news.events if not self._names or told.event.name in self._names)
        return [*([gap_frame()] if news.gap else []), *map(feed_frame, wanted)]

    def heartbeat(self) -> bytes:
        """Return a comment, and an id: a client that got no event for long need not go on from far back."""
        return _heartbeat(self._follower)


class BatchFrames:
    """What the stream of a batch sends, until the batch has finished.

    Args:
        follower: Tells the batch's events.
        read: Returns how the batch is.
    """

    def __init__(self, follower: FeedFollower, read: ReadBatch) -> None:
        self.news = follower.news
        self.first = [id_frame(place_id(follower.place))]
        self.ended = False
        self._follower = follower
        self._read = read
        self._unsure = False
        """Whether the batch may have finished among events that are gone."""

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return what came since the last call."""
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
        """Return how the batch is, and its end if it has ended."""
        place, view = place_id(self._follower.place), batch.view
        frames = [view_frame("batch", view, place)]
        if batch.finished_ms is not None:
            self.ended = True
            figures = {name: view["counts"][name] for name in ("succeeded", "failed", "cancelled")}
            end = {"id": view["id"], "at": view["finished_at"], **figures, "total": view["total"]}
            frames.append(view_frame(FINISHED, end, place))
        return frames

    def heartbeat(self) -> bytes:
        """Return a comment and an id, as for all jobs."""
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
    """Give the frames of all jobs of a tenant, from now on or behind a place. Raises StoreUnavailable."""
    async with follow_feed(queue.feed, queue.streams, tenant) as follower:
        if place is not None:
            follower.resume(place)
        yield FeedFrames(follower, names)


@asynccontextmanager
async def batch_frames(
    queue: JobQueue, tenant: str, batch_id: str, place: FeedPlace | None, read: ReadBatch
) -> AsyncIterator[BatchFrames | None]:
    """Give the frames of a batch, from how it is now or behind a place; None if it has finished and that was told.

    Raises BatchNotFound or StoreUnavailable.
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
    """Tell whether the end of a finished batch is behind a place: by the feed or, where that is gone, by the time."""
    found, cut = await follower.finds(FINISHED, place)
    return found or (cut and order_of(place.entry_id)[0] <= finished_ms)
