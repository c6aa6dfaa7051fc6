"""The HTTP/1.1 protocol: uvicorn's, with limits on the resources that a client may use before it is served.

uvicorn limits neither the time nor the size of a request's head, and its keep-alive timer runs only between requests:
docs/decisions/0015-a-protocol-class-of-our-own.md. ``service.http.middleware.BodyLimit`` limits the size of a body.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, cast

import httptools
import uvicorn
from starlette.exceptions import HTTPException
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from arqway.service.http.middleware import HEADERS, request_id_of
from arqway.service.problems.answers import problem_response
from arqway.service.problems.errors import HeadersTooLarge, MalformedRequest, RequestTimeout, ServiceBusy
from arqway.service.problems.table import PROBLEMS
from arqway.service.settings import ServiceSettings

logger = logging.getLogger("arqway.service")

_LINGER_S = 2.0
"""How long a refused client may keep sending, so that it reads the response instead of a connection reset."""
_FRAMED = 6
"""Bytes on the wire for one byte of a body in the worst case: ``1\\r\\nx\\r\\n``."""
_PIPELINED = 100
_TRAILERS: Any = deque(maxlen=0)
"""Discards what is appended."""


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, with the limits for each connection."""

    settings: ServiceSettings
    max_connections: int
    max_refused: int
    """Beyond ``max_connections``, so many clients get a 503; any others are disconnected."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. While no request is being served, a complete head must arrive in time, and then its body.

    The bytes of heads, chunk framing and trailers are counted as they arrive, before the parser stores them. The count
    is exact, or too low by less than one read if that read has the end of one request and the beginning of the next.
    """

    __slots__ = ("_deaf", "_read_bytes", "_send_timer", "_settings", "_timer", "_unpaid_bytes")

    config: ServerConfig

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait for the first request, or refuse the client."""
        super().connection_made(transport)
        self._settings = self.config.settings
        self._deaf = False
        self._read_bytes = 0
        self._unpaid_bytes = 0
        """Bytes of this request's head, framing and trailers."""
        self._timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        excess = len(self.connections) - self.config.max_connections
        if excess <= 0:
            self._set_timer(self._settings.header_timeout_s, self._on_late)
        elif excess <= self.config.max_refused:
            self._refuse(ServiceBusy("connections"))
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers and release a waiting response."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._unset_timer()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and enforce the limits on time and size."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._read_bytes = len(data)
        self._unpaid_bytes += self._read_bytes
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, HeadersTooLarge) else MalformedRequest())
            return
        if self._unpaid_bytes > self._settings.max_header_bytes:
            self._refuse(HeadersTooLarge(self._settings.max_header_bytes))
        elif self._timer is None:
            self._await_more()

    def _feed(self, data: bytes) -> None:
        """Parse the data. A request to upgrade is parsed again without its Upgrade header, so HTTP/1.1 serves it.

        The parser would take its body for data of the other protocol, and lose it. Java's HttpClient asks for HTTP/2
        in this way with every first request.
        """
        try:
            self.parser.feed_data(data)
            return
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"%b %b HTTP/%b\r\n%b\r\n%b" % (method, self.url, version, lines, rest))

    def on_headers_complete(self) -> None:
        """Serve the request, if its head is small enough."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequest
            return
        limit = self._settings.max_header_bytes
        if self._unpaid_bytes > limit or self._read_bytes > limit:
            head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if head_bytes > limit:
                raise HeadersTooLarge(limit)
        if len(self.pipeline) >= _PIPELINED:
            raise MalformedRequest
        self._unpaid_bytes = 0
        self._unset_timer()
        super().on_headers_complete()
        self.headers = _TRAILERS

    def on_message_complete(self) -> None:
        """Stop the timer at the end of a request."""
        if not self.parser.should_upgrade():
            self._unset_timer()
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on part of a body, discounting the framing that it may account for."""
        self._unpaid_bytes = max(0, self._unpaid_bytes - _FRAMED * len(body))
        super().on_body(body)

    def pause_writing(self) -> None:
        """Pause the response until the client has read what was written, as long as it reads anything at all."""
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        """Resume the response."""
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no further request has arrived."""
        self._close()

    def _await_reading(self, unread_before: float = inf) -> None:
        """Disconnect a client that has read nothing since the last look, else look again later."""
        unread = self.transport.get_write_buffer_size()
        if unread < unread_before:
            self._send_timer = self.loop.call_later(self._settings.send_timeout_s, self._await_reading, unread)
        else:
            self.transport.abort()

    def _await_more(self) -> None:
        """Set a timer for what the client must send next: the rest of a body or, while nothing is served, a head."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._set_timer(self._settings.header_timeout_s, self._on_late)
        elif cycle.more_body:
            self._set_timer(self._settings.body_timeout_s, self._on_late)

    def _on_late(self) -> None:
        self._timer = None
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self._unpaid_bytes > 0 and not (cycle and cycle.more_body):
                self._refuse(RequestTimeout(self._settings.header_timeout_s))
            else:
                self._close()  # it was silent, or is still sending a body that is not read
        elif self.pipeline:
            self._await_more()  # it may be late only because reading is paused until its turn
        elif not cycle.response_started:
            self._refuse(RequestTimeout(self._settings.body_timeout_s))

    def _refuse(self, refusal: HTTPException) -> None:
        """Stop reading from this client. Earlier requests are served first, then the connection is closed."""
        self._deaf = True
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._answer(refusal)
        elif not cycle.more_body:
            cycle.keep_alive = False
        elif cycle.response_started or self.pipeline:
            self._close()  # it is too late for another response
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._answer(refusal, cast(Scope, cycle.scope))

    def _answer(self, refusal: HTTPException, scope: Scope | None = None) -> None:
        """Send the refusal and close, first only for writing: closing with unread data would destroy the response."""
        if self.transport.is_closing():
            return
        kind, request_id = PROBLEMS[type(refusal)], request_id_of(scope)
        if self._settings.access_log:
            fields = {"status": refusal.status_code, "code": kind.code, "request_id": request_id}
            logger.info("Refused", extra=fields)
        response = problem_response(kind, refusal.detail)
        response.link_below("")
        own = [(b"x-request-id", request_id.encode()), *response.raw_headers, *HEADERS, (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % header for header in [*self.server_state.default_headers, *own])
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[refusal.status_code], head, bytes(response.body)))
        self.transport.write_eof()
        self.flow.resume_reading()
        self._set_timer(_LINGER_S, self.transport.abort)

    def _close(self) -> None:
        """Close once everything written has been sent, or after a short time in any case."""
        self._deaf = True
        self.transport.close()
        self._set_timer(_LINGER_S, self.transport.abort)

    def _set_timer(self, delay_s: float, callback: Callable[[], object]) -> None:
        self._unset_timer()
        self._timer = self.loop.call_later(delay_s, callback)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
