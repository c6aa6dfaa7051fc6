"""The layers that every request passes through. They are plain ASGI, since every request pays for each of them."""

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
"""Parts of generated request ids: a random prefix per process and a counter. Random ids would take 4 times as long."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499  # nginx's status in access logs for a client that has disconnected
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
"""Headers of every response that does not set them itself. The documentation pages load scripts, so have no policy."""

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
                _add_headers(message, request_id, path_below_root(scope))
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


def cors(origins: Sequence[str]) -> Middleware:
    """Return the layer that lets scripts of these origins use the API's methods and headers."""
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=_CORS_ALLOWED,
        expose_headers=_CORS_EXPOSED,
    )


def path_below_root(scope: Scope) -> str:
    """Return the path without the root path, which a proxy may have left in."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def request_id_of(scope: Scope | None) -> str:
    """Return the client's id for the request, or a new one if there is no valid id or no request."""
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
    raw: bytes = scope.get("raw_path") or b""  # percent-encoded, so it cannot forge a log line
    return raw[:_PATH_CHARS].decode("ascii", "backslashreplace")
