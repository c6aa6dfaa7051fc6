"""SAQ: asyncio, jobs and results as JSON in Redis."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue

from benchmarks import marks
from benchmarks.contestants import Client

_QUEUE = Queue.from_url(os.environ["REDIS_URL"])


async def noop(ctx: dict[str, Any], *, sent_s: float) -> None:
    """Do nothing."""
    await marks.noop(sent_s)


async def nap(ctx: dict[str, Any], *, sent_s: float) -> None:
    """Wait a little."""
    await marks.nap(sent_s)


SETTINGS = {"queue": _QUEUE, "functions": [noop, nap], "concurrency": 100}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on the queue."""
    await _QUEUE.connect()
    try:
        yield Client(lambda kind, sent_s: _QUEUE.enqueue(kind, sent_s=sent_s))
    finally:
        await _QUEUE.disconnect()
