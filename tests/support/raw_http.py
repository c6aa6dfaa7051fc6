"""HTTP as bytes on a socket: for what no well-behaved client would send, or would not read."""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

from httpx import Response

_READ_BYTES = 65_536


def address_of(url: str) -> tuple[str, int]:
    """Return the host and the port that a URL names."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a request; one with a body is declared as JSON, with its length unless ``headers`` say otherwise."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class RawConnection:
    """One connection to a server."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes; whether the server takes them does not matter."""
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    async def answer(self) -> Response:
        """Return the next answer, which must say its length."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        size = int(dict(headers).get("content-length", "0"))
        return Response(int(status.split()[1]), headers=headers, content=await self._reader.readexactly(size))

    async def read(self) -> bytes:
        """Return some bytes of an answer; none once the server has ended the connection."""
        return await self._reader.read(_READ_BYTES)

    async def rest(self) -> bytes:
        """Return what comes until the server ends the connection in good order."""
        got = b""
        while data := await self.read():
            got += data
        return got

    def vanish(self) -> None:
        """Reset the connection, as a client that was killed does."""
        self._writer.transport.abort()


@asynccontextmanager
async def raw_connection(url: str, *, receive_bytes: int | None = None) -> AsyncIterator[RawConnection]:
    """Open a connection to the server at ``url``.

    Args:
        url: Its scheme and path do not matter.
        receive_bytes: The most that the system takes in for a client that does not read.
    """
    client = socket.socket(socket.AF_INET)
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, address_of(url))
    reader, writer = await asyncio.open_connection(sock=client, limit=_READ_BYTES)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()


@contextmanager
def crowd(url: str, size: int) -> Iterator[list[socket.socket]]:
    """Open so many connections, and say nothing on them."""
    clients: list[socket.socket] = []
    try:
        for _ in range(size):
            clients.append(socket.create_connection(address_of(url)))  # noqa: PERF401 - closed whatever happens
        yield clients
    finally:
        for client in clients:
            client.close()


def still_open(clients: list[socket.socket]) -> int:
    """Count those that the server has not ended; what it said before is not read."""
    return sum(_is_open(client) for client in clients)


def _is_open(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
