"""The application, from the outside in: lifespan → middleware → error handlers → routes."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from arqway.service.access.admission import admission
from arqway.service.access.callers import guard_routes
from arqway.service.http.methods import add_methods
from arqway.service.http.middleware import BodyLimit, RequestLog, cors
from arqway.service.openapi.document import add_document
from arqway.service.problems.answers import add_error_handlers
from arqway.service.routes import reports
from arqway.service.routes.batches import add_batch_routes
from arqway.service.routes.dead import add_dead_routes
from arqway.service.routes.deliveries import add_delivery_routes
from arqway.service.routes.events import add_event_routes
from arqway.service.routes.health import add_health_routes
from arqway.service.routes.jobs import add_job_routes
from arqway.service.routes.lists import add_list_routes
from arqway.service.routes.problems import add_problem_routes
from arqway.service.routes.queues import add_queue_routes
from arqway.service.routes.reports import add_report_routes
from arqway.service.settings import ServiceSettings
from arqway.service.sse.stream import OpenStreams
from arqway.workers.client import Queues, open_queue
from arqway.workers.client.access import Access, open_access
from arqway.workers.registry import Registry

_TAGS = [
    {"name": "reports", "description": "Make a report, follow it, download it."},
    {"name": "jobs", "description": "Jobs of every kind: submit, read, list, cancel, retry."},
    {"name": "batches", "description": "Many jobs, accepted and followed as one."},
    {"name": "events", "description": "What happens to jobs, as it happens: server-sent events."},
    {"name": "dead letters", "description": "Jobs that failed for good, and submitting them again."},
    {"name": "webhooks", "description": "How the ends of jobs were told to their callback URLs."},
    {"name": "operations", "description": "Queues and workers."},
    {"name": "health", "description": "Probes."},
    {"name": "problems", "description": "What the errors mean that the service answers with."},
]


def create_app(settings: ServiceSettings, registry: Registry) -> FastAPI:
    """Return the service for these jobs. It starts whether or not Redis answers.

    Raises:
        ConfigurationError: When it starts: there is no ``redis_url``.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, OpenStreams]]:
        async with open_queue(settings, registry) as app.state.queue, open_access(settings) as app.state.access:
            app.state.queues = Queues(
                app.state.queue, max_due=settings.max_queue_depth, max_age_s=settings.max_queue_age_s
            )
            yield {"streams": app.state.streams}

    app = FastAPI(
        title="Arqway",
        summary="Durable background jobs",
        version=version("arqway"),
        openapi_tags=_TAGS,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry=_telemetry(),
        middleware=_middleware(settings, lambda: app.state.access),
    )
    app.state.settings = settings
    app.state.streams = OpenStreams(settings)
    add_error_handlers(app)
    add_health_routes(app.router)
    add_job_routes(app.router, registry)
    add_list_routes(app.router)
    add_batch_routes(app.router)
    add_event_routes(app.router)
    add_dead_routes(app.router)
    add_queue_routes(app.router)
    add_delivery_routes(app.router)
    if reports.KIND in registry:
        add_report_routes(app.router, registry[reports.KIND])
    add_problem_routes(app.router)
    app.router.routes.sort(key=_is_rarely_asked)
    add_methods(app)
    guard_routes(app.routes)
    add_document(app, registry, with_keys=settings.auth == "keys")
    return app


def _is_rarely_asked(route: BaseRoute) -> bool:
    """Put jobs before documentation and probes: routes are tried one after the other, 0.6 µs each."""
    return not getattr(route, "path", "").startswith("/jobs/")


def _telemetry() -> TelemetryConfig:
    """Return what FastAPI is to measure: all that it can where OpenTelemetry is configured, and else nothing.

    Otherwise it would look for a configuration three times a request, 5 µs.
    """
    if any(name.startswith("OTEL_") for name in os.environ):
        return {}
    return {"tracing": False, "metrics": False, "logs": False}


def _middleware(settings: ServiceSettings, access: Callable[[], Access]) -> list[Middleware]:
    layers = [Middleware(RequestLog, enabled=settings.access_log)]
    if settings.cors_origins:
        layers.append(cors(settings.cors_origins))
    limit = Middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    return [*layers, admission(settings, access), limit]
