"""The application, from the outside in: lifespan → middleware → error handlers → routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service.errors import add_error_handlers
from service.middleware import BodyLimit, RequestLog
from service.openapi import add_problem_schema
from service.routes import reports
from service.routes.health import add_health_routes
from service.routes.jobs import add_job_routes
from service.routes.reports import add_report_routes
from service.settings import ServiceSettings
from workers.client import open_queue
from workers.definition import Registry

_TAGS = [
    {"name": "reports", "description": "Make a report, follow it, download it."},
    {"name": "jobs", "description": "Jobs of every kind: submit, read, cancel."},
    {"name": "health", "description": "Probes."},
]


def create_app(settings: ServiceSettings, registry: Registry) -> FastAPI:
    """Return the service for these jobs. It starts whether or not Redis answers.

    Raises:
        ConfigurationError: When it starts: there is no ``redis_url``.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_queue(settings, registry) as app.state.queue:
            yield

    app = FastAPI(
        title="Arqway",
        summary="Durable background jobs",
        version=version("arqway"),
        openapi_tags=_TAGS,
        lifespan=lifespan,
        middleware=_middleware(settings),
    )
    app.state.settings = settings
    add_error_handlers(app)
    add_problem_schema(app)
    add_health_routes(app.router)
    add_job_routes(app.router, registry)
    if reports.KIND in registry:
        add_report_routes(app.router, registry[reports.KIND])
    return app


def _middleware(settings: ServiceSettings) -> list[Middleware]:
    layers = [Middleware(RequestLog, enabled=settings.access_log)]
    if settings.cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Content-Type", "X-Request-ID"],
                expose_headers=["Location", "Retry-After", "X-Request-ID"],
            )
        )
    return [*layers, Middleware(BodyLimit, max_bytes=settings.max_body_bytes)]
