"""``Arqway``: the jobs of one registry inside an application. It holds everything that its routes need."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, NamedTuple, Self

from fastapi import APIRouter, Depends, FastAPI, params
from pydantic import SecretStr
from starlette.requests import Request

from arqway.service.access.callers import Admission, Caller, KeyHolders, LocalCallers
from arqway.service.access.hosts import TrustedHosts
from arqway.service.http.middleware import BodyLimit
from arqway.service.problems.answers import add_job_error_handlers
from arqway.service.problems.errors import Unauthenticated
from arqway.service.routes import declared_routes
from arqway.service.settings import ServiceSettings
from arqway.service.sse.stream import OpenStreams
from arqway.workers.client import JobQueue, Queues, open_queue
from arqway.workers.client.access import Access, open_access
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.registry import Registry
from arqway.workers.settings import read_settings

__all__ = ["Arqway"]


class _Opened(NamedTuple):
    """The resources of an open ``Arqway``."""

    settings: ServiceSettings
    jobs: JobQueue
    queues: Queues
    access: Access
    streams: OpenStreams
    admission: Admission
    body_limit: BodyLimit
    closing: AsyncExitStack


class Arqway:
    """The jobs of a registry, for the application that submits them and the workers that run them.

    ``app.include_router(arqway.router())`` opens and closes it together with the application. Without its routes, use
    ``FastAPI(lifespan=arqway.lifespan)`` or ``async with arqway:``. It may be opened more than once, and still holds a
    single connection pool. If ``REDIS_URL`` is not set, it uses the embedded server of ``ARQWAY_HOME``, or starts one.

    Run its jobs with ``arqway worker app.main:arqway``.

    Args:
        registry: The jobs.
        settings: By default, they are read from the environment when it is opened.
    """

    def __init__(self, registry: Registry, *, settings: ServiceSettings | None = None) -> None:
        self.registry = registry
        self.explicit_settings = settings
        self._mounted = False
        self._users = 0
        self._now: _Opened | None = None
        self._turn = asyncio.Lock()

    @property
    def settings(self) -> ServiceSettings:
        """The settings it was opened with or, while closed, would be opened with. Raises ConfigurationError."""
        return self._now.settings if self._now else self.explicit_settings or read_settings(ServiceSettings)

    @property
    def jobs(self) -> JobQueue:
        """The client that submits and reads jobs. Raises ConfigurationError while this object is closed."""
        return self._opened.jobs

    @property
    def queues(self) -> Queues:
        """Statistics about the queues, and control over them."""
        return self._opened.queues

    @property
    def access(self) -> Access:
        """API keys, rate limits and the audit log."""
        return self._opened.access

    @property
    def streams(self) -> OpenStreams:
        """The currently open event streams."""
        return self._opened.streams

    @property
    def admission(self) -> Admission:
        """Admits callers as ``ARQWAY_AUTH`` requires."""
        return self._opened.admission

    @property
    def body_limit(self) -> BodyLimit:
        """The limit of request bodies."""
        return self._opened.body_limit

    async def queue(self) -> JobQueue:
        """Return ``jobs``; a dependency for an application's own routes.

        ``Jobs = Annotated[JobQueue, Depends(arqway.queue)]``
        """
        return self.jobs

    async def __aenter__(self) -> Self:
        async with self._turn:
            if self._now is None:
                self._now = await self._open()
            self._users += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._turn:
            self._users -= 1
            if self._users == 0 and self._now is not None:
                opened, self._now = self._now, None
                await opened.closing.aclose()

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Keep it open while an application runs: ``FastAPI(lifespan=arqway.lifespan)``."""
        async with self:
            yield

    def router(
        self, *, prefix: str = "", caller: Callable[..., Any] | None = None, dependencies: Sequence[params.Depends] = ()
    ) -> APIRouter:
        """Return Arqway's routes, for ``app.include_router``. They turn their own errors into problem responses.

        Args:
            prefix: The path prefix of all routes, e.g. ``/background``.
            caller: A dependency that returns a ``Caller``, or None for an unidentified client: the application's own
                login then decides whose jobs a client sees. Without it, ``ARQWAY_AUTH`` decides: ``keys`` requires API
                keys, ``off`` admits clients on this machine only.
            dependencies: Run first on every route, for example ``[Depends(signed_in)]``.
        """
        self._mounted = True
        router = APIRouter(lifespan=self.lifespan)

        async def identify(request: Request, found: Annotated[Caller | None, Depends(caller)]) -> None:
            if found is None:
                raise Unauthenticated
            await self.admission.count(found)
            request.scope["caller"] = found

        identified = [] if caller is None else [Depends(identify)]
        for route in declared_routes(self.registry):
            before = [*dependencies, *(identified if route.needed_scope else [])]
            router.routes.append(route.bound(self, prefix=prefix, dependencies=before, admits=caller is None))
        return router

    @staticmethod
    def add_exception_handlers(app: FastAPI) -> None:
        """Turn Arqway's errors, such as JobNotFound, into problem responses in the application's own routes, too.

        Nothing else does this: without it, the application has to catch them.
        """
        add_job_error_handlers(app)

    @property
    def _opened(self) -> _Opened:
        if self._now is None:
            raise ConfigurationError(
                "Arqway is not open: include its router in the application, or pass lifespan=arqway.lifespan, "
                "and let the application start (a TestClient does in a `with` block)"
            )
        return self._now

    async def _open(self) -> _Opened:
        async with AsyncExitStack() as stack:
            settings = self.settings
            if settings.redis_url is None:
                server = EmbeddedServer(settings.home)
                await asyncio.to_thread(server.start_or_attach)
                stack.push_async_callback(asyncio.to_thread, server.stop)
                settings = settings.model_copy(update={"redis_url": SecretStr(server.url)})
            jobs = await stack.enter_async_context(open_queue(settings, self.registry))
            access = await stack.enter_async_context(open_access(settings))
            queues = Queues(jobs, max_due=settings.max_queue_depth, max_age_s=settings.max_queue_age_s)
            stack.push_async_callback(queues.close)
            callers: KeyHolders | LocalCallers = KeyHolders(access.keys.find, settings.default_rate)
            if settings.auth == "off":
                hosts = TrustedHosts(settings.trusted_hosts, settings.cors_origins)
                callers = LocalCallers(hosts, settings.default_rate, mounted=self._mounted)
            admission, body_limit = Admission(callers, access.limits.draw), BodyLimit(settings.max_body_bytes)
            streams = OpenStreams(settings)
            return _Opened(settings, jobs, queues, access, streams, admission, body_limit, stack.pop_all())
