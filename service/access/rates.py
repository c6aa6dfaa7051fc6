"""Rate limits: how many requests a caller may send, and the response headers that report it.

The fields are those of draft-ietf-httpapi-ratelimit-headers (its revision of September 2025). The policy is stated
conservatively: a bucket of ``q`` requests that refills within ``w`` seconds, so ``q / w`` never exceeds the rate.
"""

from collections.abc import Awaitable, Callable
from math import ceil

from starlette.types import Message, Send

from arqway.service.access.callers import Caller
from arqway.service.problems.errors import RateLimited
from arqway.workers.client.access import Allowance
from arqway.workers.contract.api_key import Rate

Draw = Callable[[str, Rate], Awaitable[Allowance]]


class RateLimiter:
    """Counts requests in buckets that all API processes share.

    Args:
        draw: Takes one request from a bucket.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    async def admit(self, caller: Caller, rate: Rate, send: Send) -> Send:
        """Return a ``send`` that adds the rate limit headers. Raises RateLimited or StoreUnavailable."""
        return _telling(await self.count(caller, rate), send)

    async def count(self, caller: Caller, rate: Rate) -> dict[str, str]:
        """Count a request and return the rate limit headers. Raises RateLimited or StoreUnavailable."""
        allowance = await self._draw(caller.bucket, rate)
        told = fields_of(rate, allowance)
        if not allowance.admitted:
            wait_s = ceil(allowance.gains_ms / 1000)
            reason = f"There were too many requests. The next one will be served in {wait_s} s."
            raise RateLimited(reason, {**told, "Retry-After": str(wait_s)})
        return told


def fields_of(rate: Rate, allowance: Allowance) -> dict[str, str]:
    """Return the RateLimit-Policy and RateLimit headers."""
    refill_s = ceil(rate.burst * rate.interval_us / 1_000_000)
    return {
        "RateLimit-Policy": f'"default";q={rate.burst};w={refill_s}',
        "RateLimit": f'"default";r={allowance.left};t={ceil(allowance.gains_ms / 1000)}',
    }


def _telling(told: dict[str, str], send: Send) -> Send:
    headers = [(name.lower().encode(), value.encode()) for name, value in told.items()]

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return tell
