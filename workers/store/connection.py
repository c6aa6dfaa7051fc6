"""Connections to Redis: how they are opened, and which of their errors are transient."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from arqway.workers.contract import envelope
from arqway.workers.contract.errors import ConfigurationError, StoreUnavailable

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
_TRANSIENT_REPLIES = (
    "LOADING",
    "READONLY",
    "OOM",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "MISCONF",
    "BUSY",
    "UNBLOCKED",
)
"""Prefixes of transient error replies; an error returned by a script begins with them, too."""


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


class _TcpConnection(_OwnConnection, Connection):
    pass


class _TlsConnection(_OwnConnection, SSLConnection):
    pass


class _SocketConnection(_OwnConnection, UnixDomainSocketConnection):
    pass


_PACKER = HiredisRespSerializer()
_OWN: dict[Any, Any] = {
    Connection: _TcpConnection,
    SSLConnection: _TlsConnection,
    UnixDomainSocketConnection: _SocketConnection,
}


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
    if pool.connection_class in _OWN:
        pool.connection_class = _OWN[pool.connection_class]
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
        if reply.startswith(_TRANSIENT_REPLIES):
            raise StoreUnavailable from error
        raise
