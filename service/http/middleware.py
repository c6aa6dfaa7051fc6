"""What every request goes through before it meets a route: plain ASGI, since each layer is paid for by each request."""

import logging
import re
from collections.abc import Sequence
from itertools import count
from secrets import token_hex
from time import perf_counter

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arqway.service.problems.answers import unexpected_response
from arqway.workers.logs import bind

logger = logging.getLogger("arqway.service")

_PROCESS, _NUMBERS = token_hex(8), count()
"""Ids of requests without one: random for the process, and counted. A random id each would take four times as long."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499  # nginx's status for the access log: nobody was left to answer
_PATH_CHARS = 200
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
"""What every answer has, unless it says otherwise by itself. A page for people loads scripts, so it has no policy."""

_CORS_ALLOWED = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-Request-ID",
)
_CORS_EXPOSED = (
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)


class RequestLog:
    """The outermost layer: names each request, logs it once, and turns a bug into a 500 that tells nothing.

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
        if self._root_path:
            scope["root_path"] = self._root_path
        request_id = request_id_of(scope)
        bind(request_id=request_id)
        scope["request_id"] = request_id
        began_s = perf_counter()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, request_id, path_below_root(scope))
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


def cors(origins: Sequence[str]) -> Middleware:
    """Return the layer that lets scripts of these origins send and read what the contract has."""
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=_CORS_ALLOWED,
        expose_headers=_CORS_EXPOSED,
    )


def path_below_root(scope: Scope) -> str:
    """Return the path without the root path, which a proxy may have left in it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def request_id_of(scope: Scope | None) -> str:
    """Return the request's id as its client gave it, or a new one if it gave none that can be used, or no request."""
    given = Headers(scope=scope).get("x-request-id", "") if scope else ""
    return given if _REQUEST_ID.fullmatch(given) else f"{_PROCESS}{next(_NUMBERS):010x}"


def _add_headers(message: Message, request_id: str, path: str) -> None:
    given = message.setdefault("headers", [])
    names = {name for name, _ in given}
    extra = _PAGE_HEADERS if _PAGE.match(path) else HEADERS
    message["headers"] = [
        *given,
        (b"x-request-id", request_id.encode()),
        *(header for header in extra if header[0] not in names),
    ]


def _log_request(scope: Scope, status: int, duration_s: float) -> None:
    path = _path_template(scope)
    level = logging.DEBUG if path in _PROBES else logging.INFO
    fields = {"method": scope["method"], "path": path, "status": status, "duration_ms": round(duration_s * 1000, 2)}
    if (caller := scope.get("caller")) is not None and caller.key_id:
        fields["key_id"] = caller.key_id
    logger.log(level, "Request", extra=fields)


def _path_template(scope: Scope) -> str:
    if route := scope.get("route"):
        return str(route.path)
    raw: bytes = scope.get("raw_path") or b""  # percent-encoded, so it cannot forge a line of the log
    return raw[:_PATH_CHARS].decode("ascii", "backslashreplace")
