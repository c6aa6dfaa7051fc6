"""uvicorn's server, extended to end the open event streams before it waits for all connections to close.

uvicorn notifies the application of a shutdown only after the last connection has closed, but an event stream does not
close by itself. Source: ``uvicorn.Server.shutdown``, 0.54.
"""

import asyncio
import socket
import sys

import uvicorn
from starlette.types import ASGIApp, Scope

from arqway.service.server.wire import GuardedProtocol, ServerConfig
from arqway.service.settings import ServiceSettings
from arqway.service.sse.stream import OpenStreams

if sys.platform != "win32":
    import resource

BACKLOG = 2048
_GRACEFUL_S = 10
_PATIENCE_S = 1.0
"""How long a client has to read the end of its stream."""
_MANY_FILES = 1 << 20
_FILES_KEPT = 1_000
"""Open files reserved for Redis, reports and the like. Half may be used to tell excess clients to come back later."""


def server_config(app: ASGIApp, settings: ServiceSettings) -> ServerConfig:
    """Return how the service is served. Lets this process open as many files as the system allows."""
    config = ServerConfig(
        app,
        http=GuardedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=_GRACEFUL_S,
    )
    files = _raise_open_files()
    kept = min(_FILES_KEPT, files // 4)
    config.settings = settings
    config.max_connections = min(settings.max_connections, files - kept)
    config.max_refused = kept // 2
    return config


def _raise_open_files() -> int:
    """Raise this process's limit of open files to the hard limit, and return the new limit."""
    if sys.platform == "win32":
        return _MANY_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS: the kernel allows less than the hard limit says
        hard = soft
    return _MANY_FILES if hard == resource.RLIM_INFINITY else hard


class Server(uvicorn.Server):
    """Serves an application whose lifespan yields its ``OpenStreams`` as ``streams``, if it has any."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop once the current requests have been served."""
        streams: OpenStreams | None = self.lifespan.state.get("streams")
        cutting = asyncio.create_task(self._cut_off(streams.close() if streams else []))
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    async def _cut_off(self, scopes: list[Scope]) -> None:
        """Abort the connections of streams whose clients do not read; they would never close otherwise."""
        await asyncio.sleep(_PATIENCE_S)
        streams = set(map(id, scopes))
        for connection in list(self.server_state.connections):
            if isinstance(connection, GuardedProtocol) and id(connection.scope) in streams:
                connection.transport.abort()
