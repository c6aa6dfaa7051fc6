"""``Access``: API keys, rate limits and the audit log, over connections of their own."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple

from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.settings import Settings
from arqway.workers.store.access import Allowance, ApiKeys, AuditEntry, AuditLog, FoundKey, RateLimits
from arqway.workers.store.connection import open_redis

__all__ = [
    "Access",
    "Allowance",
    "ApiKeys",
    "AuditEntry",
    "AuditLog",
    "FoundKey",
    "RateLimits",
    "open_access",
]


class Access(NamedTuple):
    """API keys, rate limits, and the log of operators' actions. Safe to share between tasks of one event loop."""

    keys: ApiKeys
    limits: RateLimits
    audit: AuditLog


@asynccontextmanager
async def open_access(settings: Settings) -> AsyncIterator[Access]:
    """Open an ``Access`` on ``settings.redis_url``. It connects on first use and is closed on exit."""
    if settings.redis_url is None:
        raise ConfigurationError("REDIS_URL is not set, and no embedded server was started")
    # Every request checks its rate limits, so these have a connection of their own: a pool first makes sure that the
    # connection it lends is still good, which takes a turn of the event loop.
    async with aclosing(open_redis(settings.redis_url.get_secret_value())) as redis, aclosing(redis.client()) as lane:
        yield Access(ApiKeys(redis), RateLimits(lane), AuditLog(redis))
