"""A TCP proxy in front of a server's Unix socket: it counts connections, delays, cuts, refuses, and holds back."""

import asyncio
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_CHUNK_BYTES = 65_536
_KEPT_BYTES = 1_024


class Link:
    """One connection through the proxy."""

    def __init__(self, client: StreamWriter, server: StreamWriter) -> None:
        self.sent = b""
        """The first few bytes that the client sent, which tell what it is for."""
        self.cut_next_reply = False
        self.open = asyncio.Event()
        """While it is not set, no reply goes through."""
        self.open.set()
        self._ends = client, server

    def cut(self) -> None:
        """Reset the connection on both sides."""
        for end in self._ends:
            end.transport.abort()


class Proxy:
    """Forwards between its port and a server.

    Args:
        socket: The server's Unix socket.
    """

    def __init__(self, socket: Path) -> None:
        self.links: set[Link] = set()
        self.attempts_s: list[float] = []
        """When each connection was attempted, by the monotonic clock."""
        self.away = False
        self.latency_s = 0.0
        """Of each direction."""
        self.url = ""
        self.socket = socket
        """Where connections lead from now on; those that are open stay where they are."""
        self._tasks: set[asyncio.Task[None]] = set()

    def go_away(self) -> None:
        """Cut every connection, and let no other through."""
        self.away = True
        self.attempts_s.clear()
        self.cut_all()

    def come_back(self) -> None:
        """Let connections through again."""
        self.away = False

    def cut_all(self) -> None:
        """Reset every connection."""
        for link in list(self.links):
            link.cut()

    def cut_mid_reply(self) -> None:
        """Have each connection break in the middle of its next reply."""
        for link in self.links:
            link.cut_next_reply = True

    async def accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection."""
        self.attempts_s.append(time.monotonic())
        try:
            if self.away:
                raise ConnectionResetError
            server_reader, server = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, server)
        self.links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, server, link, reply=False))
                group.create_task(self._forward(server_reader, writer, link, reply=True))
        finally:
            self.links.discard(link)
            link.cut()

    async def _forward(self, source: StreamReader, target: StreamWriter, link: Link, *, reply: bool) -> None:
        """Copy one direction; each chunk is delayed from its own arrival on, as by a long wire."""
        wire: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        carrier = asyncio.create_task(self._carry(wire, target, link, reply=reply))
        try:
            with suppress(OSError):
                while chunk := await source.read(_CHUNK_BYTES):
                    wire.put_nowait((time.monotonic() + self.latency_s, chunk))
                    if not reply and len(link.sent) < _KEPT_BYTES:
                        link.sent += chunk
            wire.put_nowait((0, b""))
            await carrier
        finally:
            carrier.cancel()
            link.cut()

    async def _carry(
        self, wire: "asyncio.Queue[tuple[float, bytes]]", target: StreamWriter, link: Link, *, reply: bool
    ) -> None:
        try:
            while (item := await wire.get())[1]:
                due_s, chunk = item
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                if reply:
                    await link.open.wait()
                cut = reply and link.cut_next_reply
                target.write(chunk[: len(chunk) // 2] if cut else chunk)
                await target.drain()
                if cut:
                    return
        except OSError:
            return
        finally:
            link.cut()


@asynccontextmanager
async def proxy(socket: Path) -> AsyncIterator[Proxy]:
    """Give a proxy to the server at ``socket``, on a port of its own."""
    through = Proxy(socket)

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(through.accept(reader, writer))
        through._tasks.add(task)
        task.add_done_callback(through._tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1")
    host, port = server.sockets[0].getsockname()[:2]
    through.url = f"redis://{host}:{port}"
    try:
        yield through
    finally:
        server.close()
        for task in list(through._tasks):
            task.cancel()
        await asyncio.gather(*through._tasks, return_exceptions=True)
        await server.wait_closed()
