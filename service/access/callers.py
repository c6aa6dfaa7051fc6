"""Who may do what: one table of routes and scopes, and the guard that every route gets from it.

``service.access.admission`` finds out who is calling, before any route is chosen. The guard then asks whether that
caller may use the route that was chosen. A route that is in neither table below needs ``operate``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from arqway.service.problems.refusals import InsufficientScope, Unauthenticated
from arqway.workers.contract import keys
from arqway.workers.contract.api_key import ALL_SCOPES, Rate, Scope

__all__ = ["ANYBODY", "PUBLIC", "SCOPES", "Caller", "Scope", "authorise", "caller_of", "guard_routes", "scope_of"]

SCOPES: Mapping[tuple[str, str], Scope] = {
    ("POST", "/jobs/{kind}"): Scope.SUBMIT,
    ("POST", "/jobs:batch"): Scope.SUBMIT,
    ("POST", "/jobs/{job_id}:cancel"): Scope.SUBMIT,
    ("POST", "/batches/{batch_id}:cancel"): Scope.SUBMIT,
    ("POST", "/reports"): Scope.SUBMIT,
    ("GET", "/jobs"): Scope.READ,
    ("GET", "/jobs/{job_id}"): Scope.READ,
    ("GET", "/jobs/{job_id}/result"): Scope.READ,
    ("GET", "/jobs/{job_id}/attempts"): Scope.READ,
    ("GET", "/jobs/{job_id}/waiting"): Scope.READ,
    ("GET", "/jobs/{job_id}/events"): Scope.READ,
    ("GET", "/jobs/{job_id}/deliveries"): Scope.READ,
    ("GET", "/events"): Scope.READ,
    ("GET", "/batches/{batch_id}"): Scope.READ,
    ("GET", "/batches/{batch_id}/events"): Scope.READ,
    ("GET", "/reports/{task_id}"): Scope.READ,
    ("GET", "/reports/{task_id}/file"): Scope.READ,
    ("POST", "/jobs/{job_id}:retry"): Scope.OPERATE,
    ("POST", "/jobs/{job_id}/deliveries:redeliver"): Scope.OPERATE,
    ("POST", "/batches/{batch_id}:retry-failed"): Scope.OPERATE,
    ("GET", "/dead"): Scope.OPERATE,
    ("POST", "/dead:redrive"): Scope.OPERATE,
    ("GET", "/queues"): Scope.OPERATE,
    ("POST", "/queues/{name}:pause"): Scope.OPERATE,
    ("POST", "/queues/{name}:resume"): Scope.OPERATE,
    ("GET", "/workers"): Scope.OPERATE,
}
"""What each route needs; a HEAD needs what its GET does. The row of ``/jobs/{kind}`` is for the routes of all kinds."""

PUBLIC = frozenset(
    {"/livez", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/problems", "/problems/{slug}"}
)
"""Routes that need no key: probes and documentation."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, and what they may see and do."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str
    """Empty where the service asks for no key."""
    name: str
    rate: Rate | None = None
    """How often they may ask; None: as often as they like."""

    @property
    def is_operator(self) -> bool:
        """Whether texts of exceptions may be told: to a key with ``operate``. Where there are no keys, to nobody."""
        return bool(self.key_id) and Scope.OPERATE in self.scopes


ANYBODY = Caller(keys.DEFAULT_TENANT, ALL_SCOPES, key_id="", name="anonymous")
"""Every caller of a service that asks for no keys."""


def caller_of(request: HTTPConnection) -> Caller:
    """Return who sent the request. Raises Unauthenticated on a public route, which may be asked by nobody known."""
    return _caller(request.scope)


def authorise(request: HTTPConnection, scope: Scope) -> Caller:
    """Return who sent the request, if they have ``scope``. Raises Unauthenticated or InsufficientScope."""
    return _authorised(request.scope, scope)


def guard_routes(routes: Iterable[BaseRoute]) -> None:
    """Let every route but the public ones serve only callers with the scope that it needs. To be called once.

    Raises:
        TypeError: For a route of a kind that cannot be guarded, such as a mounted application.
    """
    for route in routes:
        if not isinstance(route, Route):
            raise TypeError(f"{route} is of a kind that is not guarded")
        if route.path not in PUBLIC:
            route.app = _guarded(route.app, {method: scope_of(method, route.path) for method in route.methods or ()})


def scope_of(method: str, path: str) -> Scope:
    """Return what the route with this method and path template needs; the names of parameters do not matter."""
    shape = "/jobs/{}" if _OF_A_KIND.fullmatch(path) and method == "POST" else _shape(path)
    return _BY_SHAPE.get(("GET" if method == "HEAD" else method, shape), Scope.OPERATE)


def _guarded(app: ASGIApp, needed: Mapping[str, Scope]) -> ASGIApp:
    async def guard(connection: Connection, receive: Receive, send: Send) -> None:
        _authorised(connection, needed.get(connection["method"], Scope.OPERATE))
        await app(connection, receive, send)

    return guard


def _authorised(connection: Connection, scope: Scope) -> Caller:
    caller = _caller(connection)
    if scope not in caller.scopes:
        raise InsufficientScope(scope)
    return caller


def _caller(connection: Connection) -> Caller:
    caller: Caller | None = connection.get("caller")
    if caller is None:
        raise Unauthenticated
    return caller


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


_OF_A_KIND = re.compile(r"/jobs/[^/:{}]+")
_BY_SHAPE = {(method, _shape(path)): scope for (method, path), scope in SCOPES.items()}
