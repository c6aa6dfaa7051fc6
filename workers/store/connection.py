"""Connections to Redis: how they are opened, and which of their errors are transient."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
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


class _FastPacking:
    """Packs commands in C; redis-py's asyncio connections do so in Python, at a third of a busy worker's time."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return one command as bytes."""
        return _PACKER.pack(*args)  # type: ignore[no-any-return]


class _TcpConnection(_FastPacking, Connection):
    pass


class _TlsConnection(_FastPacking, SSLConnection):
    pass


class _SocketConnection(_FastPacking, UnixDomainSocketConnection):
    pass


_PACKER = HiredisRespSerializer()
_FAST = {Connection: _TcpConnection, SSLConnection: _TlsConnection, UnixDomainSocketConnection: _SocketConnection}


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
    pool.connection_class = _FAST[pool.connection_class]
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
        if str(error).startswith(_TRANSIENT_REPLIES):
            raise StoreUnavailable from error
        raise
