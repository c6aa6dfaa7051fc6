"""``RateLimits``: buckets of requests that all API processes draw on."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from arqway.workers.contract.api_key import Rate
from arqway.workers.store.batcher import GroupCommit
from arqway.workers.store.connection import store_errors
from arqway.workers.store.script import Script, Value

_SERVER_CLOCK = 0


class Allowance(NamedTuple):
    """What a bucket said to one request."""

    admitted: bool
    left: int
    """Requests that it still holds."""
    gains_ms: int
    """Milliseconds until it gains the next one. A refused request is admitted then, if no other comes first."""


class RateLimits:
    """The buckets of one server. Exact across processes: a bucket is counted by one script, on the server's clock.

    Calls that come at the same time share a round trip.

    Args:
        redis: A client that does not decode replies.
        clock: Unix milliseconds, for tests that move time; by default the server's clock rules.
    """

    def __init__(self, redis: Redis, *, clock: Callable[[], int] | None = None) -> None:
        self._redis = redis
        self._clock = clock or (lambda: _SERVER_CLOCK)
        self._count = Script("rate_limit")
        self._draws = GroupCommit(self._draw_all)

    async def draw(self, bucket: str, rate: Rate) -> Allowance:
        """Take one request out of a bucket, which is full at first. Raises StoreUnavailable."""
        return await self._draws((bucket, rate))

    async def _draw_all(self, draws: Sequence[tuple[str, Rate]]) -> Sequence[Allowance]:
        args: list[Value] = [self._clock()]
        for bucket, rate in draws:
            args += (bucket, rate.interval_us, rate.burst)
        with store_errors():
            flat = await self._count(self._redis, args=args)
        return [Allowance(bool(flat[i]), flat[i + 1], flat[i + 2]) for i in range(0, len(flat), 3)]
