"""The event feed: job events as they happen, for any number of listeners over one connection to Redis.

Reading starts at the end of a feed when its first listener arrives. Each listener looks up by itself what happened
before, and what it missed while Redis was away or it was too slow: ``workers.client.following``.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from arqway.workers.background import Backoff, end
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.events import FeedEntry, FeedEvent, JobEvent, topics_of
from arqway.workers.store.events import FeedReader, Streams

logger = logging.getLogger("arqway.workers.client")

_BLOCK_MS = 10_000
_INTERRUPT_AGAIN_S = 0.005
_KEPT = 1_000
"""Events buffered for one listener; a slower one is told to look up what it has missed."""


class Subscription:
    """The events that one listener has not received yet."""

    def __init__(self) -> None:
        self.over = False
        """Whether ``end`` was called."""
        self._waiting: list[FeedEvent] = []
        self._missed = False
        self._woken = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether the listener has received everything."""
        return not self._waiting and not self._missed

    async def next(self, *, timeout_s: float) -> list[FeedEvent] | None:
        """Return the events since the last call; none after ``timeout_s`` or ``end``; None if some were missed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        if not self.over:
            self._woken.clear()
        heard, self._waiting = self._waiting, []
        missed, self._missed = self._missed, False
        return None if missed else heard

    def put(self, event: FeedEvent) -> None:
        """Buffer one event for the listener."""
        if len(self._waiting) >= _KEPT:
            self.lose()
            return
        self._waiting.append(event)
        self._woken.set()

    def lose(self) -> None:
        """Report to the listener that events were lost."""
        self._waiting, self._missed = [], True
        self._woken.set()

    def end(self) -> None:
        """Tell the listener to stop."""
        self.over = True
        self._woken.set()


class EventFeed:
    """Hands out the events of tenants' feeds to listeners. Reads only feeds that have a listener.

    Args:
        streams: Where the feeds are stored.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._listeners: dict[str, dict[str, set[Subscription]]] = {}
        self._positions: dict[str, str] = {}
        """The last entry of each feed that was handed out, after which the next read continues."""
        self._newcomers: list[tuple[str, asyncio.Future[None]]] = []
        """Listeners whose feed has no position yet."""
        self._reader: FeedReader | None = None
        self._reading: asyncio.Task[None] | None = None
        self._interrupting: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self, tenant: str, topic: str = "") -> AsyncIterator[Subscription]:
        """Subscribe to one job by its id, to one batch by its ``batch_topic``, or to all jobs of the tenant.

        From here on, no event is lost without the subscription reporting it. Raises StoreUnavailable.
        """
        subscription = Subscription()
        topics = self._listeners.setdefault(tenant, {})
        topics.setdefault(topic, set()).add(subscription)
        try:
            if tenant not in self._positions:
                await self._join(tenant)
            yield subscription
        finally:
            topics[topic].discard(subscription)
            if not topics[topic]:
                del topics[topic]
            if not topics:
                del self._listeners[tenant]

    def position(self, tenant: str) -> str:
        """Return the last entry up to which the tenant's listeners have received everything."""
        return self._positions[tenant]

    async def close(self) -> None:
        """Stop reading."""
        await end(task for task in (self._reading, self._interrupting) if task is not None)
        self._reading = self._interrupting = None
        self._refuse_newcomers(StoreUnavailable())

    async def _join(self, tenant: str) -> None:
        """Wait until the reader has found the end of this feed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._newcomers.append((tenant, waiter))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        elif self._interrupting is None:
            self._interrupting = asyncio.create_task(self._interrupt())
        await waiter

    async def _interrupt(self) -> None:
        """Make the reader notice newcomers. An interrupt may reach the server before the read that it is meant for."""
        try:
            while self._newcomers and self._reader is not None:
                with suppress(StoreUnavailable):  # then the reader gets no answer either, and starts over
                    await self._reader.interrupt()
                await asyncio.sleep(_INTERRUPT_AGAIN_S)
        finally:
            self._interrupting = None

    async def _read(self) -> None:
        """Read while anybody listens, and up to 10 s longer; then release the connection."""
        backoff = Backoff()
        try:
            while self._listeners:
                try:
                    async with self._streams.reader() as self._reader:
                        await self._hand_out(self._reader, backoff)
                except Exception as error:
                    if not isinstance(error, StoreUnavailable):
                        logger.exception("The event feed met a bug")
                    elif backoff.waits == 1:  # a single connection that breaks is replaced at once
                        logger.warning("Redis is away; listeners to events wait")
                    self._reader = None
                    self._refuse_newcomers(error)
                    await asyncio.sleep(backoff.next_s())
        finally:
            self._reading = self._reader = None
            self._positions.clear()

    async def _hand_out(self, reader: FeedReader, backoff: Backoff) -> None:
        """Find the ends of all feeds, and read on from there.

        After a lost connection this may be another server, one that lacks the last events handed out or whose clock is
        behind. So no earlier position is reused, and the listeners look up what they have missed.
        """
        before = list(self._positions)
        await self._find({*before, *self._listeners})
        if not backoff.fresh:
            logger.info("Redis is back; listeners to events look for what they have missed")
        for tenant in before:
            self._lose(tenant)
        while self._listeners:
            while self._newcomers:
                await self._find({tenant for tenant, _ in self._newcomers} - self._positions.keys())
            for tenant in self._positions.keys() - self._listeners.keys():
                del self._positions[tenant]
            for tenant, entries, cut in await reader.read(self._positions, block_ms=_BLOCK_MS):
                self._dispatch(tenant, entries)
                if cut:
                    self._lose(tenant)
            backoff.reset()

    async def _find(self, tenants: set[str]) -> None:
        self._positions |= await self._streams.tails(list(tenants))
        waiting, self._newcomers = self._newcomers, []
        for tenant, waiter in waiting:
            if tenant not in self._positions:
                self._newcomers.append((tenant, waiter))
            elif not waiter.done():
                waiter.set_result(None)

    def _refuse_newcomers(self, error: Exception) -> None:
        refused, self._newcomers = self._newcomers, []
        for _, waiter in refused:
            if not waiter.done():
                waiter.set_exception(error)

    def _dispatch(self, tenant: str, entries: Iterable[FeedEntry]) -> None:
        topics = self._listeners.get(tenant, {})
        for entry in entries:
            self._positions[tenant] = entry.id
            for number, line in enumerate(entry.lines):
                hearing = [one for topic in topics_of(line) for one in topics.get(topic, ())]
                if hearing:
                    event = FeedEvent(entry.id, number, JobEvent.from_line(line))
                    for subscription in hearing:
                        subscription.put(event)

    def _lose(self, tenant: str) -> None:
        for group in self._listeners.get(tenant, {}).values():
            for subscription in group:
                subscription.lose()
