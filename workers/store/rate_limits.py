"""``RateLimits``: rate-limit buckets shared by all API processes."""

from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from arqway.workers.contract.api_key import Rate
from arqway.workers.store.batcher import Batcher
from arqway.workers.store.facade import Clock, Facade, server_clock
from arqway.workers.store.script import Value


class Allowance(NamedTuple):
    """A bucket's answer to a request."""

    admitted: bool
    left: int
    """Number of requests left in the bucket."""
    gains_ms: int
    """Milliseconds until the bucket gains a request. A refused request is admitted then, unless another comes first."""


class RateLimits(Facade):
    """The buckets of one server. Exact across processes: one script counts requests by the server's clock.

    Concurrent calls share a round trip.
    """

    def __init__(self, redis: Redis, *, clock: Clock = server_clock) -> None:
        super().__init__(redis, clock=clock)
        self._draws = Batcher(self._draw_all)

    async def draw(self, bucket: str, rate: Rate) -> Allowance:
        """Take one request from a bucket; a new bucket is full. Raises StoreUnavailable."""
        return await self._draws((bucket, rate))

    async def _draw_all(self, draws: Sequence[tuple[str, Rate]]) -> Sequence[Allowance]:
        args: list[Value] = []
        for bucket, rate in draws:
            args += (bucket, rate.interval_us, rate.burst)
        flat = await self._call("rate_limit", args)
        return [Allowance(bool(flat[i]), flat[i + 1], flat[i + 2]) for i in range(0, len(flat), 3)]
