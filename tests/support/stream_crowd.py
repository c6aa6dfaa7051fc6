"""Very many clients of event streams in one process: what they get is kept as bytes, with the time it came."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.support.event_streams import EventParser
from tests.support.raw_http import address_of
from tests.support.waiting import wait_until

_OPENING = 100


class Member(asyncio.Protocol):
    """One client."""

    def __init__(self, path: str) -> None:
        self.got = bytearray()
        self.last_s = 0.0
        """When it got something last, by the monotonic clock."""
        self.gone = False
        self._path = path

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(stream_request(self._path))

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self.got += data
        self.last_s = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that it is over."""
        self.gone = True

    def heard(self) -> EventParser:
        """Return what it has heard so far."""
        parser = EventParser()
        parser.feed(unchunked(bytes(self.got.partition(b"\r\n\r\n")[2])))
        return parser


def stream_request(path: str) -> bytes:
    """Return a request for a stream, and for nothing after it."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def unchunked(body: bytes) -> bytes:
    """Return the content of a chunked body, as far as its chunks are complete."""
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if len(rest) < length + 2:
            break
        content += rest[:length]
        body = rest[length + 2 :]
    return content


def allow_many_files() -> None:
    """Let this process open as many files as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@asynccontextmanager
async def crowd_of(url: str, paths: Sequence[str]) -> AsyncIterator[list[Member]]:
    """Open these streams, and give the clients once each of them has got something."""
    allow_many_files()
    turns = asyncio.Semaphore(_OPENING)
    loop = asyncio.get_running_loop()

    async def open_one(path: str) -> Member:
        async with turns:
            _, member = await loop.create_connection(lambda: Member(path), *address_of(url))
            await wait_until(lambda: b"\n\n" in member.got or member.gone, "a stream is open", timeout_s=30)
        return member

    members = await asyncio.gather(*map(open_one, paths))
    try:
        yield members
    finally:
        for member in members:
            member.transport.abort()
        await wait_until(lambda: all(member.gone for member in members), "all have gone")
