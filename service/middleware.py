"""What every request goes through before it meets a route: plain ASGI, since each layer is paid for by each request."""

import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, unexpected_response
from workers.logs import bind

logger = logging.getLogger("service")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499  # nginx's status for the access log: nobody was left to answer
_PATH_CHARS = 200
_PROBES = frozenset({"/livez", "/readyz"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class RequestLog:
    """The outermost layer: names each request, logs it once, and turns a bug into a 500 that tells nothing.

    Args:
        app: The next layer.
        enabled: Whether requests are logged; bugs always are.
    """

    def __init__(self, app: ASGIApp, *, enabled: bool) -> None:
        self._app = app
        self._enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        bind(request_id=request_id)
        began_s = perf_counter()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, request_id)
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            status = _CLIENT_GONE
        except Exception:
            logger.exception("A request met a bug")
            if status:
                raise  # the answer has begun: only cutting the connection tells the client
            await unexpected_response()(scope, receive, send_named)
        finally:
            if self._enabled:
                _log_request(scope, status, perf_counter() - began_s)


class BodyLimit:
    """Refuses a body over the limit: before its first byte where its size is declared, else as soon as it is passed."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else 0
        got = 0

        async def receive_limited() -> Message:
            nonlocal got
            if size > self._max_bytes:
                raise BodyTooLarge(self._max_bytes)
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._max_bytes:
                raise BodyTooLarge(self._max_bytes)
            return message

        await self._app(scope, receive_limited, send)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def _add_headers(message: Message, request_id: str) -> None:
    headers = MutableHeaders(scope=message)
    headers["X-Request-ID"] = request_id
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)


def _log_request(scope: Scope, status: int, duration_s: float) -> None:
    path = _path_template(scope)
    level = logging.DEBUG if path in _PROBES else logging.INFO
    fields = {"method": scope["method"], "path": path, "status": status, "duration_ms": round(duration_s * 1000, 2)}
    logger.log(level, "Request", extra=fields)


def _path_template(scope: Scope) -> str:
    if route := scope.get("route"):
        return str(route.path)
    raw: bytes = scope.get("raw_path") or b""  # percent-encoded, so it cannot forge a line of the log
    return raw[:_PATH_CHARS].decode("ascii", "backslashreplace")
