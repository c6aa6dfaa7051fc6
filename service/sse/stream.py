"""Sends event streams. It is raw ASGI, since any cost per event is multiplied by the number of listeners."""

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
    (b"x-accel-buffering", b"no"),  # keeps nginx from buffering events
)
_WRITE_BYTES = 65_536


class Frames(Protocol):
    """The source of what one stream sends."""

    news: Subscription
    """Calling its ``end`` ends the stream."""
    first: list[bytes]
    ended: bool
    """Whether nothing follows the frames that ``first`` or ``next`` returned."""

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return the next frames to send, possibly none; after ``timeout_s`` at the latest."""

    def heartbeat(self) -> bytes:
        """Return a frame that keeps an idle connection open."""


class OpenStreams:
    """The event streams that are open in this process.

    Args:
        settings: Limit their number, and set the interval of their heartbeats.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._max = settings.max_streams
        self._heartbeat_s = settings.sse_heartbeat_s
        self._random = Random().uniform  # noqa: S311 - jitter, not a secret
        self._open: set[EventStream] = set()
        self.closed = False
        self.turn = asyncio.Lock()
        """Held by a stream while it reads from Redis for itself, so that many streams do not each take a connection."""

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def place(self, stream: "EventStream") -> Iterator[None]:
        """Count the stream as open inside the block. Raises TooManyStreams."""
        if len(self._open) >= self._max:
            raise TooManyStreams
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    def close(self) -> list[Scope]:
        """End all streams, including any opened later, and return the scopes of those that are open."""
        self.closed = True
        for stream in self._open:
            stream.end()
        return [stream.scope for stream in self._open]

    def next_heartbeat_s(self) -> float:
        """Return the seconds until a stream's next heartbeat, with jitter: streams opened together then spread out."""
        return self._random(self._heartbeat_s * 0.75, self._heartbeat_s)


class EventStream(Response):
    """The response to a request for events.

    Args:
        streams: Where the stream is counted.
        source: Yields the frames to send, or None if there is nothing more: a 204, which keeps a browser from
            reconnecting. An error that it raises becomes the response.
        admitted: Returns whether the client may still listen.
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
        """Send the response."""
        self.scope = scope
        try:
            with self._streams.place(self):
                async with self._source as frames:
                    await self._answer(frames, receive, send)
        except KNOWN as error:
            if self._news is not None:
                raise  # the response has begun, so cutting the connection is the only way to signal it
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
    """End the stream once its client has disconnected."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        news.end()


async def _send(frames: Iterable[bytes], send: Send) -> None:
    """Send frames in few writes, none of them large: a write that the client does not read is held in memory."""
    portion = bytearray()
    for one in frames:
        portion += one
        if len(portion) >= _WRITE_BYTES:
            await send({"type": "http.response.body", "body": bytes(portion), "more_body": True})
            portion.clear()
    if portion:
        await send({"type": "http.response.body", "body": bytes(portion), "more_body": True})
