"""The application of ``arqway api``, from the outside in: lifespan → middleware → error handlers → routes."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from arqway.service.arqway import Arqway
from arqway.service.http.middleware import Admitted, RequestLog
from arqway.service.openapi.document import add_document
from arqway.service.problems.answers import add_error_handlers, plain_problem
from arqway.service.routes import declared_routes
from arqway.service.settings import ServiceSettings
from arqway.service.sse.stream import OpenStreams
from arqway.workers.registry import Registry

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
_CORS: dict[str, Any] = {
    "allow_methods": ("GET", "POST"),
    "allow_headers": (
        "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Prefer",
        "X-Request-ID",
    ),
    "expose_headers": (
        "ETag", "Idempotency-Replayed", "Link", "Location", "Preference-Applied", "RateLimit", "RateLimit-Policy",
        "Retry-After", "X-Request-ID",
    ),
}  # fmt: skip
"""Scripts of other origins may use all of the API's methods and headers."""
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
_PARAMETER = re.compile(r"\{\w+\}")


def create_app(settings: ServiceSettings, registry: Registry) -> FastAPI:
    """Return the service for these jobs. It starts even while Redis is unreachable."""
    arqway = Arqway(registry, settings=settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, OpenStreams]]:
        async with arqway:
            yield {"streams": arqway.streams}

    layers = [Middleware(RequestLog, enabled=settings.access_log, root_path=settings.root_path)]
    if settings.cors_origins:
        layers.append(Middleware(CORSMiddleware, allow_origins=settings.cors_origins, **_CORS))
    app = FastAPI(
        title="Arqway",
        summary="Durable background jobs",
        version=version("arqway"),
        openapi_tags=_TAGS,
        redirect_slashes=False,
        lifespan=lifespan,
        # left to itself, FastAPI looks for a configuration of OpenTelemetry three times per request, which costs 5 µs
        telemetry={} if any(name.startswith("OTEL_") for name in os.environ) else _NO_TELEMETRY,
        middleware=[*layers, Middleware(Admitted, arqway=arqway)],
    )
    app.state.arqway = arqway
    add_error_handlers(app)
    app.add_exception_handler(405, _answer_other_method)
    routes = [route.bound(arqway, operation_id=route.name) for route in declared_routes(registry)]
    app.router.routes[:0] = routes
    scopes = {route.name: route.needed_scope for route in routes}
    add_document(app, registry, scopes, with_keys=settings.auth == "keys")
    return app


async def _answer_other_method(request: Request, _: Exception) -> Response:
    """Respond with the methods that the path allows: those of the best matching routes, with the longest fixed text.

    ``/jobs/x:cancel`` also matches ``/jobs/{job_id}``, whose GET is rightly a 404. Source: RFC 9110, sections 9.3.7
    and 15.5.6.
    """
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    fitting = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    shown = [route for route in fitting if route.include_in_schema] or fitting
    longest = max(map(_fixed_chars, shown), default=0)
    methods = {"OPTIONS"}.union(*(route.methods or () for route in shown if _fixed_chars(route) == longest))
    if "GET" in methods:
        methods.add("HEAD")
    allow = {"Allow": ", ".join(sorted(methods))}
    return Response(None, 204, allow) if request.method == "OPTIONS" else plain_problem(405, headers=allow)


def _fixed_chars(route: Route) -> int:
    return len(_PARAMETER.sub("", route.path))
