"""What all façades of the store have in common: a connection, the scripts, and the clock."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from arqway.workers.store.connection import store_errors
from arqway.workers.store.script import Value, script

Clock = Callable[[], int]
"""Gives Unix milliseconds; 0 stands for the server's own clock."""


def server_clock() -> int:
    """Leave it to the server to say what time it is: it has the only clock that all processes share."""
    return 0


class Facade:
    """One noun of the store, with one typed method for each thing that can be done to it.

    All methods raise ``StoreUnavailable`` while Redis is away, loading, read-only or full.

    Args:
        redis: A client that does not decode replies.
        clock: Only a test that moves time gives another one.
    """

    def __init__(self, redis: Redis, *, clock: Clock = server_clock) -> None:
        self.redis = redis
        self._clock = clock

    async def _call(
        self, name: str, args: Sequence[Value] = (), keys: Sequence[str] = (), *, lane: Redis | None = None
    ) -> Any:
        """Run the script ``name``, whose first argument is the time. Atomic."""
        with store_errors():
            return await script(name)(lane or self.redis, keys, [self._clock(), *args])

    async def _pipe(self, commands: Iterable[tuple[Any, ...]], *, atomic: bool = True) -> list[Any]:
        """Send commands in one round trip, as a transaction or one by one, and return their replies."""
        with store_errors():
            async with self.redis.pipeline(transaction=atomic) as pipe:
                for name, *args in commands:
                    getattr(pipe, name)(*args)
                return await pipe.execute()
