"""Opening a client for the server that the settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arqway.workers.client.queue import JobQueue
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis
from arqway.workers.store.jobs import JobStore


@asynccontextmanager
async def open_queue(settings: Settings, registry: Registry) -> AsyncIterator[JobQueue]:
    """Open a ``JobQueue`` on ``settings.redis_url``. It connects on first use and is closed on exit."""
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
                await queue.commits.close()
                await queue.feed.close()
    finally:
        await redis.aclose()
