"""``Streams``: the event streams in Redis, one per job and one feed per tenant."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from redis.asyncio import Redis

from arqway.workers.contract import keys
from arqway.workers.contract.events import EVENTS_KEPT, FEED_KEPT, START, FeedEntry, JobEvent
from arqway.workers.contract.record import RECORD_FIELDS, JobRecord
from arqway.workers.store.batcher import Batcher, distinct
from arqway.workers.store.connection import Facade, rows, store_errors

_PORTION = 200
"""Maximum number of feed entries in one reply. An entry has a line for each event written by its script call."""
_PORTIONS = 4

RawEntry = tuple[bytes, Mapping[bytes, bytes]]


class JobLook(NamedTuple):
    """A consistent snapshot of a job's record and its recent events."""

    record: JobRecord | None
    events: list[JobEvent]
    """The events after the requested one."""
    cut: bool
    """Whether some of these events may be missing, since only a job's latest events are kept."""


class FeedPortion(NamedTuple):
    """A part of a tenant's feed, starting with the requested entry if it still exists."""

    entries: list[FeedEntry]
    cut: bool
    """Whether entries between the requested one and these may be missing."""
    more: bool


class Streams(Facade):
    """Reads the streams of one server, over one connection shared by all callers and one per reader."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._turn = asyncio.Lock()
        self._looks = Batcher(distinct(self._look_all))
        self._portions = Batcher(distinct(self._read_portions), max_items=_PORTIONS)

    async def look(self, job_id: str, after: str) -> JobLook:
        """Return a job's record and its events after one. Atomic; concurrent calls share a round trip."""
        return await self._looks((job_id, after))

    async def portion(self, tenant: str, entry_id: str) -> FeedPortion:
        """Return a part of a feed, starting with an entry. Concurrent calls share a round trip."""
        return await self._portions((tenant, entry_id))

    async def tails(self, tenants: Sequence[str]) -> dict[str, str]:
        """Return the id of the latest entry in each tenant's feed; ``START`` for an empty feed."""
        found = await self._read(("xrevrange", keys.feed(tenant), "+", "-", 1) for tenant in tenants)
        last_ids = (entries[0][0].decode() if entries else START for entries in found)
        return dict(zip(tenants, last_ids, strict=True))

    async def unblock(self, client_id: int) -> None:
        """Make a blocked command on another connection return."""
        async with self._turn:
            with store_errors():
                await self.redis.client_unblock(client_id)

    @asynccontextmanager
    async def reader(self) -> "AsyncIterator[FeedReader]":
        """Yield a reader with its own connection."""
        client = self.redis.client()
        try:
            with store_errors():
                reader = FeedReader(client, self, int(await client.client_id()))
            yield reader
        finally:
            await client.aclose()

    async def _look_all(self, asked: Sequence[tuple[str, str]]) -> list[JobLook]:
        flat = await self._read(
            command
            for job_id, after in asked
            for command in (
                ("hmget", keys.record(job_id), RECORD_FIELDS),
                ("xrange", keys.events(job_id), after),
                ("xlen", keys.events(job_id)),
            )
        )
        return [_look(*one, *replies) for one, replies in zip(asked, rows(flat, 3), strict=True)]

    async def _read_portions(self, asked: Sequence[tuple[str, str]]) -> list[FeedPortion]:
        flat = await self._read(
            command
            for tenant, entry_id in asked
            for command in (("xrange", keys.feed(tenant), entry_id, "+", _PORTION), ("xlen", keys.feed(tenant)))
        )
        return [_portion(entry_id, *replies) for (_, entry_id), replies in zip(asked, rows(flat, 2), strict=True)]

    async def _read(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        async with self._turn:
            return await self._pipe(commands)


class FeedRead(NamedTuple):
    """The result of reading one tenant's feed."""

    tenant: str
    entries: list[FeedEntry]
    cut: bool
    """Whether entries may have been dropped before they were read, since the reader was too slow."""


class FeedReader:
    """Waits for new entries in the feeds of several tenants over one connection."""

    def __init__(self, client: Redis, streams: Streams, client_id: int) -> None:
        self._client = client
        self._streams = streams
        self._id = client_id

    async def read(self, positions: Mapping[str, str], *, block_ms: int) -> list[FeedRead]:
        """Return the entries after ``positions``; an empty list after ``block_ms`` or when interrupted."""
        with store_errors():
            feeds = {keys.feed(tenant): entry_id for tenant, entry_id in positions.items()}
            found = await self._client.xread(feeds, count=_PORTION, block=block_ms)  # type: ignore[arg-type]
            return [await self._news(key, raw, positions) for key, raw in found]

    async def interrupt(self) -> None:
        """Make a ``read`` in progress return, so that the next one can read other feeds."""
        await self._streams.unblock(self._id)

    async def _news(self, key: bytes, raw: list[RawEntry], positions: Mapping[str, str]) -> FeedRead:
        """Check for a gap if the reply is full: the feed may have been trimmed before it was read."""
        tenant = key.decode().removeprefix(keys.FEED_PREFIX)
        after, cut = positions[tenant], False
        if len(raw) == _PORTION and after == START:
            cut = int(await self._client.xlen(key)) >= FEED_KEPT
        elif len(raw) == _PORTION:  # a feed that still has an entry also has all later ones
            cut = not await self._client.xrange(key, after, after)
        return FeedRead(tenant, _entries(raw), cut)


def _look(job_id: str, after: str, values: list[bytes | None], raw: list[RawEntry], length: int) -> JobLook:
    record = JobRecord.from_values(job_id, values)
    decoded = (
        (entry_id, {name.decode(): value.decode() for name, value in fields.items()}) for entry_id, fields in raw
    )
    events = [JobEvent.from_entry(job_id, one_id.decode(), fields) for one_id, fields in decoded]
    known = bool(events) and events[0].id == after
    return JobLook(record, events[known:], cut=not known and length >= EVENTS_KEPT)


def _portion(entry_id: str, raw: list[RawEntry], length: int) -> FeedPortion:
    entries = _entries(raw)
    known = length < FEED_KEPT if entry_id == START else bool(entries) and entries[0].id == entry_id
    return FeedPortion(entries, cut=not known, more=len(entries) == _PORTION)


def _entries(raw: Iterable[RawEntry]) -> list[FeedEntry]:
    """Parse entries of a feed; one without the field ``events`` comes from a later version."""
    texts = ((entry_id.decode(), fields.get(b"events", b"").decode(errors="replace")) for entry_id, fields in raw)
    return [FeedEntry(entry_id, text.split("\n") if text else []) for entry_id, text in texts]
