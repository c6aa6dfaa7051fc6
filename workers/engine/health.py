"""The health port: ``/livez`` and ``/readyz`` of a worker, for the orchestrator that starts and restarts it.

HTTP/1.1 is written by hand, since two answers need no web framework. One request per connection.
"""

import asyncio
import json
import logging
import socket
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter
from functools import partial
from http import HTTPStatus

from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.engine.vitals import Vitals

logger = logging.getLogger("arqway.workers.engine")

_HEAD_BYTES_MAX = 8192
_PATIENCE_S = 5.0


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError if the address cannot be used."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigurationError(f"the health port cannot listen on {host}:{port}: {error.strerror}") from error


async def serve_health(vitals: Vitals, listener: socket.socket) -> None:
    """Answer probes until cancelled.

    Args:
        vitals: Read even while the worker's event loop is blocked.
        listener: Stays open when answering fails, so that it can start again.
    """
    with listener.dup() as own:
        server = await asyncio.start_server(partial(_converse, vitals), sock=own, limit=_HEAD_BYTES_MAX)
        host, port = own.getsockname()[:2]
        logger.info("The health port is open", extra={"host": host, "port": port})
        try:
            await asyncio.Event().wait()
        finally:
            server.close()


async def _converse(vitals: Vitals, reader: StreamReader, writer: StreamWriter) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            writer.write(_answer(vitals, await reader.readuntil(b"\r\n\r\n")))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (TimeoutError, IncompleteReadError, LimitOverrunError, OSError):
        writer.transport.abort()  # the peer does not speak HTTP, or has gone


def _answer(vitals: Vitals, head: bytes) -> bytes:
    method, _, rest = head.decode("latin-1").partition(" ")
    path = rest.split(" ")[0].partition("?")[0]
    status, body, headers = HTTPStatus.OK, {"status": "ok"}, ""
    if path not in {"/livez", "/readyz"}:
        status, body = HTTPStatus.NOT_FOUND, {"status": "unknown"}
    elif method not in {"GET", "HEAD"}:
        status, body, headers = HTTPStatus.METHOD_NOT_ALLOWED, {"status": "unknown"}, "Allow: GET, HEAD\r\n"
    elif path == "/livez" and vitals.stalled():  # only then would a new process help
        status, body = HTTPStatus.SERVICE_UNAVAILABLE, {"status": "dead", "reason": "loop_dead"}
    elif path == "/readyz" and (reason := vitals.unready()) is not None:
        status, body = HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unready", "reason": reason.value}
    content = json.dumps(body).encode()
    head_out = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
        f"\r\nCache-Control: no-store\r\nConnection: close\r\n{headers}\r\n"
    )
    return head_out.encode() + (b"" if method == "HEAD" else content)
