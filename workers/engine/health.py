"""The health port: ``/livez`` and ``/readyz`` of a worker, for the orchestrator that starts and restarts it.

HTTP/1.1 is written by hand, since two answers need no web framework. One request per connection.
"""

import asyncio
import json
import logging
import socket
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter
from collections.abc import Callable
from http import HTTPStatus

from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.engine.vitals import Vitals

logger = logging.getLogger("arqway.workers.engine")

_HEAD_BYTES_MAX = 8192
_PATIENCE_S = 5.0

Answer = tuple[HTTPStatus, dict[str, str]]


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError if the address cannot be used."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigurationError(f"the health port cannot listen on {host}:{port}: {error.strerror}") from error


class HealthPort:
    """Answers probes from a worker's vitals.

    Args:
        vitals: Read even while the worker's event loop is blocked.
        listener: Stays open when answering fails, so that it can start again.
    """

    def __init__(self, vitals: Vitals, listener: socket.socket) -> None:
        self._vitals = vitals
        self._listener = listener
        self._answers: dict[str, Callable[[], Answer]] = {"/livez": self._liveness, "/readyz": self._readiness}

    async def run(self) -> None:
        """Answer until cancelled."""
        with self._listener.dup() as listener:
            server = await asyncio.start_server(self._converse, sock=listener, limit=_HEAD_BYTES_MAX)
            host, port = listener.getsockname()[:2]
            logger.info("The health port is open", extra={"host": host, "port": port})
            try:
                await asyncio.Event().wait()
            finally:
                server.close()

    def _liveness(self) -> Answer:
        """Fail only if a new process would help: when the event loop is considered dead."""
        if self._vitals.stalled():
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "dead", "reason": "loop_dead"}
        return HTTPStatus.OK, {"status": "ok"}

    def _readiness(self) -> Answer:
        reason = self._vitals.unready()
        if reason is not None:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unready", "reason": reason.value}
        return HTTPStatus.OK, {"status": "ok"}

    async def _converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._respond(head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, IncompleteReadError, LimitOverrunError, OSError):
            writer.transport.abort()  # the peer does not speak HTTP, or has gone

    def _respond(self, head: bytes) -> bytes:
        method, _, rest = head.decode("latin-1").partition(" ")
        answer = self._answers.get(rest.split(" ")[0].partition("?")[0])
        if answer is None:
            status, body = HTTPStatus.NOT_FOUND, {"status": "unknown"}
        elif method not in {"GET", "HEAD"}:
            status, body = HTTPStatus.METHOD_NOT_ALLOWED, {"status": "unknown"}
        else:
            status, body = answer()
        content = json.dumps(body).encode()
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Allow: GET, HEAD"] if status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else content)
