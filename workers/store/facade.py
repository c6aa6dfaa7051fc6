"""The base class of the store's façades: a connection, the scripts and the clock."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from arqway.workers.store.connection import store_errors
from arqway.workers.store.script import Value, script

Clock = Callable[[], int]
"""Returns Unix milliseconds, or 0 to use the server's own clock."""


def server_clock() -> int:
    """Return 0, so that the server's clock is used: the only clock that all processes share."""
    return 0


class Facade:
    """Typed access to one kind of object in the store, with one method for each operation.

    All methods raise ``StoreUnavailable`` while Redis is unreachable, loading, read-only or full.

    Args:
        redis: A client that does not decode replies.
        clock: Overridden only by tests that control time.
    """

    def __init__(self, redis: Redis, *, clock: Clock = server_clock) -> None:
        self.redis = redis
        self._clock = clock

    async def _call(
        self, name: str, args: Sequence[Value] = (), keys: Sequence[str] = (), *, lane: Redis | None = None
    ) -> Any:
        """Run the script ``name`` with the time as its first argument. Atomic."""
        with store_errors():
            return await script(name)(lane or self.redis, keys, [self._clock(), *args])

    async def _pipe(self, commands: Iterable[tuple[Any, ...]], *, atomic: bool = True) -> list[Any]:
        """Send commands in one round trip, as a transaction if ``atomic``, and return their replies."""
        with store_errors():
            async with self.redis.pipeline(transaction=atomic) as pipe:
                for name, *args in commands:
                    getattr(pipe, name)(*args)
                return await pipe.execute()
