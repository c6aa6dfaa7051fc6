"""Sending an event stream: raw ASGI, since each event is paid for by each of its listeners."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from random import Random
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from arqway.service.problems.answers import KNOWN, problem_of
from arqway.service.problems.errors import TooManyStreams
from arqway.service.settings import ServiceSettings
from arqway.service.sse.frames import OPENING
from arqway.workers.client.feed import Subscription

MEDIA_TYPE = "text/event-stream"
_HEADERS = (
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx's, else it would hold events back
)
_WRITE_BYTES = 65_536


class Frames(Protocol):
    """What one stream sends."""

    news: Subscription
    """Its ``end`` ends the stream."""
    first: list[bytes]
    ended: bool
    """Whether nothing follows what ``first`` or ``next`` gave."""

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return what is to be sent, at the latest after ``timeout_s``."""

    def heartbeat(self) -> bytes:
        """Return what is to be sent from time to time."""


class OpenStreams:
    """The event streams that this process has open.

    Args:
        settings: How many there may be, and how often each says something.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._max = settings.max_streams
        self._heartbeat_s = settings.sse_heartbeat_s
        self._random = Random().uniform  # noqa: S311 - jitter, not a secret
        self._open: set[EventStream] = set()
        self.closed = False
        self.turn = asyncio.Lock()
        """To be held by a stream that asks Redis for itself alone, so that many do not each take a connection."""

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def place(self, stream: "EventStream") -> Iterator[None]:
        """Count the stream among the open ones inside the block. Raises TooManyStreams."""
        if len(self._open) >= self._max:
            raise TooManyStreams
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    def close(self) -> list[Scope]:
        """End all streams, and those that will be opened; return the scopes of those that are open."""
        self.closed = True
        for stream in self._open:
            stream.end()
        return [stream.scope for stream in self._open]

    def next_heartbeat_s(self) -> float:
        """Return when a stream's next heartbeat is due, from now: streams opened together do not beat together."""
        return self._random(self._heartbeat_s * 0.75, self._heartbeat_s)


class EventStream(Response):
    """The answer to a request for events.

    Args:
        streams: Where to be counted.
        source: Gives what to send; None: there is nothing more, a 204, which keeps a browser from asking again. What
            it raises is the answer.
        admitted: Tells whether the client may still listen.
    """

    def __init__(
        self,
        streams: OpenStreams,
        source: AbstractAsyncContextManager[Frames | None],
        admitted: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__()
        self.scope: Scope = {}
        self._streams = streams
        self._source = source
        self._admitted = admitted
        self._news: Subscription | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        self.scope = scope
        try:
            with self._streams.place(self):
                async with self._source as frames:
                    await self._answer(frames, receive, send)
        except KNOWN as error:
            if self._news is not None:
                raise  # the answer has begun: only cutting the connection tells the client
            await problem_of(error)(scope, receive, send)

    async def _answer(self, frames: Frames | None, receive: Receive, send: Send) -> None:
        if frames is None:
            await Response(status_code=204)(self.scope, receive, send)
            return
        self._news = frames.news
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if "arqway_head" in self.scope:
            await send({"type": "http.response.body", "body": b""})
            return
        watching = asyncio.create_task(_watch(receive, frames.news))
        try:
            await self._send_all(frames, send)
        finally:
            watching.cancel()

    def end(self) -> None:
        """Send nothing more."""
        if self._news is not None:
            self._news.end()

    async def _send_all(self, frames: Frames, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        beat_s = clock() + self._streams.next_heartbeat_s()
        await _send([OPENING, *frames.first], send)
        while not (frames.ended or frames.news.over or self._streams.closed):
            await _send(await frames.next(timeout_s=beat_s - clock()), send)
            if clock() >= beat_s:
                if not await self._admitted():
                    break
                await _send([frames.heartbeat()], send)
                beat_s = clock() + self._streams.next_heartbeat_s()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _watch(receive: Receive, news: Subscription) -> None:
    """End the stream when its client is gone."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        news.end()


async def _send(frames: Iterable[bytes], send: Send) -> None:
    """Send frames in few writes, but no large ones: what a client does not take is kept in memory a write at a time."""
    for body in _joined(frames):
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _joined(frames: Iterable[bytes]) -> Iterator[bytes]:
    portion: list[bytes] = []
    size = 0
    for one in frames:
        portion.append(one)
        size += len(one)
        if size >= _WRITE_BYTES:
            yield b"".join(portion)
            portion, size = [], 0
    if portion:
        yield b"".join(portion)
