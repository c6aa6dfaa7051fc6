"""Opening a client on the server that the settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workers.client.queue import JobQueue
from workers.connection import open_redis
from workers.contract.errors import ConfigurationError
from workers.definition import Registry
from workers.settings import Settings
from workers.store import JobStore


@asynccontextmanager
async def open_queue(settings: Settings, registry: Registry) -> AsyncIterator[JobQueue]:
    """Give a ``JobQueue`` on ``settings.redis_url``; it connects when first used, and is closed afterwards."""
    if settings.redis_url is None:
        raise ConfigurationError("REDIS_URL is not set, and no embedded server was started")
    redis = open_redis(settings.redis_url.get_secret_value())
    try:
        store = JobStore(redis)
        async with store.lanes():
            queue = JobQueue(store, registry, settings)
            try:
                yield queue
            finally:
                await queue.feed.close()
    finally:
        await redis.aclose()
