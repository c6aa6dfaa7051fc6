"""Many open event streams from one process: ``python -m benchmarks.http.listeners PORT PATHS``.

It is small, so that it measures the service and not itself: a piece of a stream is stored with its time, and read when
all is over. Prints one JSON object once every stream is open, and another when every stream has ended or its own
standard input has: how many, and how long the reports took that are found in them.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks.figures import percentile
from benchmarks.http.receipts import Read, receipts
from benchmarks.http.site import HOST

_OPENING = 100
"""Streams that are being opened at a time; more than wait in a socket's backlog would be turned away."""
_OPEN_WITHIN_S = 120.0
_END_WITHIN_S = 300.0


class Listener(asyncio.Protocol):
    """One stream."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reads: list[Read] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Write it down."""
        self.reads.append((time.monotonic_ns(), data))
        if not self.opened.done():
            self.opened.set_result(data.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        if not self.opened.done():
            self.opened.set_result(False)
        self.ended.set_result(None)


async def _listen(port: int, paths: Sequence[str], headers: Sequence[str]) -> None:
    began_s = time.monotonic()
    async with asyncio.timeout(_OPEN_WITHIN_S):
        listeners = await _open_all(port, paths, headers)
    _tell(
        {"open": sum(one.opened.result() for one in listeners), "seconds": time.monotonic() - began_s}
        | _refused(listeners)
    )
    ended = asyncio.create_task(_all_ended(listeners))
    await asyncio.wait(
        (ended, asyncio.create_task(_input_ended())), timeout=_END_WITHIN_S, return_when=asyncio.FIRST_COMPLETED
    )
    _tell(_summary(listeners))
    for one in listeners:
        one.transport.abort()
    await ended


def _refused(listeners: Sequence[Listener]) -> dict[str, str]:
    """Return what the first one that is not open got instead of a stream."""
    got = [b"".join(piece for _, piece in one.reads) for one in listeners if not one.opened.result()]
    return {"refused": got[0][:300].decode(errors="replace")} if got else {}


async def _all_ended(listeners: Sequence[Listener]) -> None:
    for one in listeners:
        await one.ended


async def _input_ended() -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def note() -> None:
        loop.remove_reader(sys.stdin)  # at its end it can be read for ever
        ended.set_result(None)

    loop.add_reader(sys.stdin, note)
    await ended


async def _open_all(port: int, paths: Sequence[str], headers: Sequence[str]) -> list[Listener]:
    turns = asyncio.Semaphore(_OPENING)

    async def open_one(path: str) -> Listener:
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", "Accept: text/event-stream", "Connection: close", *headers]
        request = "\r\n".join([*lines, "", ""]).encode()
        async with turns:
            _, listener = await asyncio.get_running_loop().create_connection(lambda: Listener(request), HOST, port)
            await listener.opened
        return listener

    return await asyncio.gather(*(open_one(path) for path in paths))


def _summary(listeners: Sequence[Listener]) -> dict[str, Any]:
    received = [receipts(one.reads) for one in listeners]
    delays = [receipt.delay_ms for of_one in received for receipt in of_one]
    ended = sum(one.ended.done() for one in listeners)
    if not delays:
        return {"ended": ended, "receipts": 0}
    return {
        "ended": ended,
        "receipts": len(delays),
        "reports": len({receipt.sent_ns for of_one in received for receipt in of_one}),
        "p50_ms": percentile(delays, 0.5),
        "p99_ms": percentile(delays, 0.99),
        "max_ms": max(delays),
    }


def _tell(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Listen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http.listeners")
    parser.add_argument("port", type=int)
    parser.add_argument("paths", type=Path, help="a file with one path a line")
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE")
    asked = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a stream is an open file
    uvloop.run(_listen(asked.port, asked.paths.read_text().split(), asked.header))


if __name__ == "__main__":
    main()
