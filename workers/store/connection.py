"""The connection to Redis: how it is opened, which of its errors are transient, and how scripts are called.

Each script is one atomic step of a job's life, in ``workers/store/lua/<name>.lua``. It is preceded by the table of
legal state transitions, so that Redis enforces the same ones as Python, and by ``prelude.lua``. A header line
``-- Uses library: a, b`` inserts ``library/a.lua`` and ``library/b.lua`` after these.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool, Redis
from redis.connection import HiredisRespSerializer
from redis.exceptions import (
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from arqway.workers.contract import envelope
from arqway.workers.contract.errors import ConfigurationError, StoreUnavailable
from arqway.workers.contract.events import EVENTS_KEPT, FEED_KEPT
from arqway.workers.contract.record import ATTEMPTS_KEPT
from arqway.workers.contract.states import TRANSITIONS

Value = str | bytes | int | float
Clock = Callable[[], int]
"""Returns Unix milliseconds, or 0 to use the server's own clock."""

_CONNECT_TIMEOUT_S = 2.0
_SOCKET_TIMEOUT_S = 15.0
"""Longer than any blocking command, so that it is reached only if the server has stopped responding."""

_TRANSIENT = (ConnectionError, TimeoutError, ReadOnlyError, OutOfMemoryError, OSError)
_TRANSIENT_REPLY = re.compile("LOADING|READONLY|OOM|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|MISCONF|BUSY|UNBLOCKED")
"""The beginning of a transient error reply; an error returned by a script begins with it, too."""

_PACKER = HiredisRespSerializer()
_USES = re.compile(r"^-- Uses library: (.+)$", re.MULTILINE)


class _FastPacking:
    """Packs commands in C; redis-py's asyncio connections do so in Python, at a third of a busy worker's time."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return one command as bytes."""
        return _PACKER.pack(*args)  # type: ignore[no-any-return]


def open_redis(url: str, *, max_connections: int | None = None) -> ArqRedis:
    """Return a client for ``redis://``, ``rediss://`` or ``unix://``; it connects on first use.

    Raises:
        ConfigurationError: The URL is invalid.
    """
    try:
        client: ArqRedis = ArqRedis.from_url(
            url,
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            socket_timeout=_SOCKET_TIMEOUT_S,
            max_connections=max_connections,
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
        )
    except ValueError as error:
        raise ConfigurationError(f"REDIS_URL cannot be used: {error}") from None
    pool = client.connection_pool
    pool.connection_class = type(f"Fast{pool.connection_class.__name__}", (_FastPacking, pool.connection_class), {})
    client.job_serializer = envelope.encode
    client.job_deserializer = envelope.decode
    return client


def clone(client: ArqRedis) -> ArqRedis:
    """Return a client for the same server with its own connections, for another event loop."""
    pool = client.connection_pool
    return ArqRedis(ConnectionPool(connection_class=pool.connection_class, **pool.connection_kwargs))


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn transient errors into ``StoreUnavailable``. All others are bugs and propagate unchanged."""
    try:
        yield
    except _TRANSIENT as error:
        raise StoreUnavailable from error
    except ResponseError as error:
        if _TRANSIENT_REPLY.match(str(error)):
            raise StoreUnavailable from error
        raise


def moves_in_lua() -> str:
    """Return ``TRANSITIONS`` as a Lua table, with ``MOVES[before][after] == true`` for a legal transition.

    The limits that scripts share with Python follow as local variables.
    """
    moves = (f"{state}={{{','.join(f'{after}=true' for after in sorted(row))}}}" for state, row in TRANSITIONS.items())
    kept = {"EVENTS_KEPT": EVENTS_KEPT, "FEED_KEPT": FEED_KEPT, "ATTEMPTS_KEPT": ATTEMPTS_KEPT}
    return f"local MOVES={{{','.join(moves)}}}\n" + "".join(f"local {name}={most}\n" for name, most in kept.items())


@cache
def _script(name: str) -> tuple[str, str]:
    """Return the text of a script, and its hash."""
    folder = files("arqway.workers.store") / "lua"
    own = (folder / f"{name}.lua").read_text(encoding="utf-8")
    uses = _USES.search(own)
    before = ["prelude", *(f"library/{library}" for library in (uses[1].split(", ") if uses else ()))]
    text = moves_in_lua() + "".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in before) + own
    return text, sha1(text.encode(), usedforsecurity=False).hexdigest()


def rows(flat: Sequence[Any], width: int) -> Iterator[Sequence[Any]]:
    """Yield the rows of a script's flat answer."""
    return (flat[i : i + width] for i in range(0, len(flat), width))


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
        self._lanes: Mapping[str, Redis] = {}
        """Connections dedicated to one script, by its name."""

    async def _call(self, name: str, args: Sequence[Value] = (), keys: Sequence[str] = ()) -> Any:
        """Run the script ``name`` with the time as its first argument. Atomic.

        It is called by its hash; its text is sent only to a server that does not have it yet.
        """
        text, sha = _script(name)
        execute: Callable[..., Any] = self._lanes.get(name, self.redis).execute_command
        with store_errors():
            try:
                return await execute("EVALSHA", sha, len(keys), *keys, self._clock(), *args)
            except NoScriptError:
                return await execute("EVAL", text, len(keys), *keys, self._clock(), *args)

    async def _pipe(self, commands: Iterable[tuple[Any, ...]], *, atomic: bool = True) -> list[Any]:
        """Send commands in one round trip, as a transaction if ``atomic``, and return their replies."""
        with store_errors():
            async with self.redis.pipeline(transaction=atomic) as pipe:
                for name, *args in commands:
                    getattr(pipe, name)(*args)
                return await pipe.execute()
