"""The layers that a request passes through: the log, admission, and the limit of its body.

They are plain ASGI, since every request pays for each of them.
"""

import logging
import re
from itertools import count
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arqway.service.problems.answers import PAGES, unexpected_response
from arqway.service.problems.errors import BodyTooLarge, ServiceBusy
from arqway.workers.logs import bind

if TYPE_CHECKING:
    from arqway.service.arqway import Arqway

logger = logging.getLogger("arqway.service")

PUBLIC = frozenset({"/livez", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", PAGES})
"""Paths that need no key: probes and documentation. Neither does any path below ``/problems/``."""

_PROCESS, _NUMBERS = token_hex(8), count()
"""Parts of generated request ids: a random prefix per process and a counter. Random ids would take 4 times as long."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499  # nginx's status in access logs for a client that has disconnected
_PATH_CHARS = 200
_BODIES = 256
_PROBES = frozenset({"/livez", "/readyz"})
_PAGE = re.compile(r"/(docs|redoc|dashboard)(/|$)")
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_PAGE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
HEADERS = (*_PAGE_HEADERS, _POLICY)
"""Headers of every response that does not set them itself. The documentation pages load scripts, so have no policy."""


class RequestLog:
    """The outermost layer: gives each request an id, logs it once, and turns a bug into a 500 without details.

    Args:
        app: The next layer.
        enabled: Whether requests are logged; bugs always are.
        root_path: The path below which a proxy shows the service, whether it strips it from requests or not.
    """

    def __init__(self, app: ASGIApp, *, enabled: bool, root_path: str = "") -> None:
        self._app = app
        self._enabled = enabled
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["root_path"] = self._root_path or scope.get("root_path", "")
        request_id = request_id_of(scope)
        bind(request_id=request_id)
        scope["request_id"] = request_id
        began_s = perf_counter()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.setdefault("headers", [])
                names = {name for name, _ in given}
                extra = _PAGE_HEADERS if _PAGE.match(path_below_root(scope)) else HEADERS
                more = [header for header in extra if header[0] not in names]
                message["headers"] = [*given, (b"x-request-id", request_id.encode()), *more]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            status = _CLIENT_GONE
        except Exception:
            logger.exception("A request met a bug")
            if status:
                raise  # the response has begun, so cutting the connection is the only way to signal it
            await unexpected_response()(scope, receive, send_named)
        finally:
            if self._enabled:
                _log_request(scope, status, perf_counter() - began_s)


def _log_request(scope: Scope, status: int, duration_s: float) -> None:
    raw: bytes = scope.get("raw_path") or b""  # percent-encoded, so it cannot forge a log line
    path = str(scope["route"].path) if "route" in scope else raw[:_PATH_CHARS].decode("ascii", "backslashreplace")
    fields = {"method": scope["method"], "path": path, "status": status, "duration_ms": round(duration_s * 1000, 2)}
    if (caller := scope.get("caller")) is not None and caller.key_id:
        fields["key_id"] = caller.key_id
    logger.log(logging.DEBUG if path in _PROBES else logging.INFO, "Request", extra=fields)


class Admitted:
    """Applies ``ARQWAY_AUTH`` before a route is chosen, so that an unauthenticated client learns of no routes.

    Args:
        app: The next layer.
        arqway: What admits callers.
    """

    def __init__(self, app: ASGIApp, *, arqway: "Arqway") -> None:
        self._app = app
        self._arqway = arqway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or self._is_public(scope):
            await self._app(scope, receive, send)
        else:
            await self._arqway.admission.serve(self._app, scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        if self._arqway.settings.auth == "off":  # even public paths are for clients on this machine only
            return False
        path = path_below_root(scope)
        return path in PUBLIC or path.startswith(f"{PAGES}/")


class BodyLimit:
    """Refuses a body that is too large, and any body while all bodies in memory exceed 256 times that limit.

    A body with a declared size is refused before its first byte, any other as soon as it exceeds the limit. The body of
    a GET is not counted, since no route reads it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let ``app`` serve one request. Reading a refused body raises BodyTooLarge or ServiceBusy."""
        declared = Headers(scope=scope).get("content-length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else 0
        got = 0

        async def receive_limited() -> Message:
            nonlocal got
            self._check(size)
            message = await receive()
            part = len(message.get("body", b""))
            got += part
            self._held_bytes += part
            self._check(got)
            return message

        try:
            await app(scope, receive_limited, send)
        finally:
            self._held_bytes -= got

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise BodyTooLarge(self._max_bytes)
        if self._held_bytes > _BODIES * self._max_bytes:
            raise ServiceBusy("bodies")


def path_below_root(scope: Scope) -> str:
    """Return the path without the root path, which a proxy may have left in."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def request_id_of(scope: Scope | None) -> str:
    """Return the client's id for the request, or a new one if there is no valid id or no request."""
    given = Headers(scope=scope).get("x-request-id", "") if scope else ""
    return given if _REQUEST_ID.fullmatch(given) else f"{_PROCESS}{next(_NUMBERS):010x}"
