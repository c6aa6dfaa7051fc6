"""The connection to Redis: how it is opened, which of its errors are transient, and how scripts are called.

Each script is one atomic step of a job's life, in ``workers/store/lua/<name>.lua``. It is preceded by the table of
legal state transitions, so that Redis enforces the same ones as Python, and by ``prelude.lua``. A header line
``-- Uses library: a, b`` inserts ``library/a.lua`` and ``library/b.lua`` after these.
"""

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import (
    BusyLoadingError,
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

_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}.items()
    if hasattr(socket, name)
}
"""An idle connection that a firewall forgot, or whose server vanished, is known to be dead after a minute."""

_TRANSIENT = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, OSError)
_TRANSIENT_REPLY = re.compile("LOADING|READONLY|OOM|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|MISCONF|BUSY|UNBLOCKED")
"""The beginning of a transient error reply; an error returned by a script begins with it, too."""

_PACKER = HiredisRespSerializer()
_USES = re.compile(r"^-- Uses library: (.+)$", re.MULTILINE)


_STANDARD = (Connection, SSLConnection, UnixDomainSocketConnection)
_WRONG_SERVER = ("READONLY", "MASTERDOWN", "NOREPLICAS", "LOADING", "UNBLOCKED")
"""Prefixes of replies of a server that is no primary, or not yet: the address may lead to another one by now."""


_IDLE_S = 1.0
_TURNS = 3


class _Generation:
    """Counts how often a client learned that its connections lead to the wrong server."""

    number = 0


class _OwnConnection(AbstractConnection):
    """A connection that is opened anew before a command if the server has closed it, or is no primary any more.

    Packs commands in C; redis-py's asyncio connections do so in Python, at a third of a busy worker's time.
    """

    def __init__(self, *, generation: _Generation, **options: Any) -> None:
        super().__init__(**options)
        self._generation = generation
        self._opened_in = generation.number
        self._used_s = time.monotonic()
        self._reading = False
        """Whether somebody waits for a reply or a message, as a listener does while another task subscribes."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return one command as bytes."""
        return _PACKER.pack(*args)  # type: ignore[no-any-return]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send a command; if the server has closed the connection meanwhile, open it anew first."""
        now_s = time.monotonic()
        if now_s - self._used_s > _IDLE_S and self._reader is not None:
            for _ in range(_TURNS):  # an event loop that was blocked has yet to see that the server closed it
                await asyncio.sleep(0)
        self._used_s = now_s
        reader, writer = self._reader, self._writer
        ended = reader is not None and writer is not None and (reader.at_eof() or writer.is_closing())
        if not self._reading and (ended or self._opened_in != self._generation.number):
            self._opened_in = self._generation.number
            await self.disconnect(nowait=True)
        await super().send_packed_command(command, check_health)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return a reply. If the server is no primary, all connections of this client are opened anew."""
        self._reading = True
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if isinstance(error, ReadOnlyError | BusyLoadingError) or str(error).startswith(_WRONG_SERVER):
                self._generation.number += 1
            raise
        finally:
            self._reading = False


def open_redis(url: str, *, max_connections: int | None = None) -> ArqRedis:
    """Return a client for ``redis://``, ``rediss://`` or ``unix://``; it connects on first use.

    Raises:
        ConfigurationError: The URL is invalid.
    """
    options: dict[str, Any] = {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    try:
        client: ArqRedis = ArqRedis.from_url(
            url,
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            socket_timeout=_SOCKET_TIMEOUT_S,
            max_connections=max_connections,
            **({} if url.startswith("unix:") else options),
        )
    except ValueError as error:
        raise ConfigurationError(f"REDIS_URL cannot be used: {error}") from None
    client.job_serializer = envelope.encode
    client.job_deserializer = envelope.decode
    return with_own_connections(client)


def with_own_connections(client: ArqRedis) -> ArqRedis:
    """Have a client open connections of our kind from now on; a client for Sentinel or a cluster keeps its own."""
    pool = client.connection_pool
    if pool.connection_class in _STANDARD:
        pool.connection_class = type(
            f"Own{pool.connection_class.__name__}", (_OwnConnection, pool.connection_class), {}
        )
        pool.connection_kwargs["generation"] = _Generation()
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
        reply = str(error).rpartition("of pipeline caused error: ")[2].lstrip("('")
        if _TRANSIENT_REPLY.match(reply):
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
