"""The application of ``arqway api``, from the outside in: lifespan → middleware → error handlers → routes."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from arqway.service.arqway import Arqway
from arqway.service.http.middleware import RequestLog, cors, path_below_root
from arqway.service.http.routing import allowed_methods
from arqway.service.openapi.document import add_document
from arqway.service.problems.answers import PAGES, add_error_handlers, plain_problem
from arqway.service.settings import ServiceSettings
from arqway.service.sse.stream import OpenStreams
from arqway.workers.registry import Registry

PUBLIC = frozenset({"/livez", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", PAGES})
"""Paths that need no key: probes and documentation. Neither does any path below ``/problems/``."""
_TAGS = [
    {"name": "reports", "description": "Request a report, follow its progress and download it."},
    {"name": "jobs", "description": "Jobs of every kind: submit, read, list, cancel, retry."},
    {"name": "batches", "description": "Many jobs, submitted and followed as one."},
    {"name": "events", "description": "Live updates about jobs, as server-sent events."},
    {"name": "dead letters", "description": "Jobs that failed permanently, and resubmitting them."},
    {"name": "webhooks", "description": "Deliveries of job results to callback URLs."},
    {"name": "operations", "description": "Queues and workers."},
    {"name": "health", "description": "Probes."},
    {"name": "problems", "description": "Explanations of the service's error responses."},
]


def create_app(settings: ServiceSettings, registry: Registry) -> FastAPI:
    """Return the service for these jobs. It starts even while Redis is unreachable."""
    arqway = Arqway(registry, settings=settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, OpenStreams]]:
        async with arqway:
            yield {"streams": arqway.streams}

    app = FastAPI(
        title="Arqway",
        summary="Durable background jobs",
        version=version("arqway"),
        openapi_tags=_TAGS,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry=_telemetry(),
        middleware=_middleware(settings, arqway),
    )
    app.state.arqway = arqway
    add_error_handlers(app)
    app.add_exception_handler(405, _answer_other_method)
    routes = arqway.own_routes()
    app.router.routes[:0] = routes
    scopes = {route.name: route.needed_scope for route in routes}
    add_document(app, registry, scopes, with_keys=settings.auth == "keys")
    return app


class _Admitted:
    """Applies ``ARQWAY_AUTH`` before a route is chosen, so that an unauthenticated client learns of no routes."""

    def __init__(self, app: ASGIApp, *, arqway: Arqway) -> None:
        self._app = app
        self._arqway = arqway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_public(scope):
            await self._app(scope, receive, send)
        else:
            await self._arqway.admit(self._app, scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        if self._arqway.settings.auth == "off":  # even public paths are for clients on this machine only
            return False
        path = path_below_root(scope)
        return path in PUBLIC or path.startswith(f"{PAGES}/")


def _telemetry() -> TelemetryConfig:
    """Return FastAPI's telemetry options: everything where OpenTelemetry is configured, otherwise nothing.

    Left to itself, FastAPI looks for a configuration three times per request, which costs 5 µs.
    """
    if any(name.startswith("OTEL_") for name in os.environ):
        return {}
    return {"tracing": False, "metrics": False, "logs": False}


def _middleware(settings: ServiceSettings, arqway: Arqway) -> list[Middleware]:
    layers = [Middleware(RequestLog, enabled=settings.access_log, root_path=settings.root_path)]
    if settings.cors_origins:
        layers.append(cors(settings.cors_origins))
    return [*layers, Middleware(_Admitted, arqway=arqway)]


async def _answer_other_method(request: Request, _: Exception) -> Response:
    allow = {"Allow": ", ".join(sorted(allowed_methods(request.app.routes, request.scope)))}
    return Response(None, 204, allow) if request.method == "OPTIONS" else plain_problem(405, headers=allow)
