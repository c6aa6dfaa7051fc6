"""arq as it comes: its own worker, started by its own command, on its own serializer, with default options."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks import marks
from benchmarks.contestants import Client

_REDIS = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))


async def noop(ctx: dict[str, Any], sent_s: float) -> None:
    """Do nothing."""
    await marks.noop(sent_s)


async def nap(ctx: dict[str, Any], sent_s: float) -> None:
    """Wait a little."""
    await marks.nap(sent_s)


DEFAULT = {"functions": [noop, nap], "redis_settings": _REDIS}
HUNDRED = {**DEFAULT, "max_jobs": 100}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on arq's pool."""
    pool = await create_pool(_REDIS)
    try:
        yield Client(pool.enqueue_job)
    finally:
        await pool.aclose()
