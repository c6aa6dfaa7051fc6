"""Routing: routes that turn their own errors into problem responses, wherever they are mounted.

A route is declared once, on a module's router, and bound to each ``Arqway`` that serves it: unchanged in the
application of ``arqway api``; below a prefix and behind further dependencies in another application.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from fastapi import params
from fastapi.routing import APIRoute
from pydantic import WrapValidator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from arqway.service.access.callers import Requires, authorise
from arqway.service.http.bodies import read_json, replayed
from arqway.service.problems.answers import KNOWN, problem_of
from arqway.workers.contract.api_key import Scope as JobScope

if TYPE_CHECKING:
    from arqway.service.arqway import Arqway

Serve = Callable[[Scope, Receive, Send], Awaitable[None]]
Door = Callable[[Serve], Serve]
"""Wraps a route in a layer that admits callers or limits bodies."""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

UNREAD = WrapValidator(lambda value, _: value)
"""Marks the type of a body that a ``RawRoute`` reads itself: FastAPI documents it, but never validates it."""
_PARAMETER = re.compile(r"\{\w+\}")


class JobRoute(APIRoute):
    """One of Arqway's routes. It turns its own errors into problem responses, and serves HEAD wherever it serves GET.

    ``scope["arqway"]`` is the route that serves a request.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        arqway: "Arqway | None" = None,
        prefix: str = "",
        door: Door | None = None,
        **options: Any,
    ) -> None:
        self._declared = path, endpoint, options
        self.segments = path.count("/")
        super().__init__(prefix + path, endpoint, **options)
        self._arqway = arqway
        self._serve = door(super().handle) if door else super().handle

    @property
    def arqway(self) -> "Arqway":
        """The ``Arqway`` that the route is bound to."""
        assert self._arqway is not None, "a declared route serves nobody; it is bound first"  # noqa: S101
        return self._arqway

    @property
    def needed_scope(self) -> JobScope | None:
        """The scope that a caller needs; None for a public route."""
        return next((one.dependency.scope for one in self.dependencies if isinstance(one.dependency, Requires)), None)

    def bound(
        self,
        arqway: "Arqway",
        *,
        prefix: str = "",
        dependencies: Sequence[params.Depends] = (),
        door: Door | None = None,
        **changes: Any,
    ) -> Self:
        """Return a copy bound to ``arqway``: below ``prefix``, behind ``dependencies`` and wrapped by ``door``."""
        path, endpoint, options = self._declared
        options = {**options, "dependencies": [*dependencies, *(options.get("dependencies") or ())], **changes}
        return type(self)(path, endpoint, arqway=arqway, prefix=prefix, door=door, **options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request; a GET route matches HEAD, too."""
        match, child_scope = super().matches(scope)
        if match is Match.PARTIAL and scope["method"] == "HEAD" and "GET" in (self.methods or ()):
            return Match.FULL, child_scope
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. The server omits the body of a response to HEAD."""
        if scope["method"] == "HEAD" and "HEAD" not in (self.methods or ()):
            scope = {**scope, "method": "GET", "arqway_head": True}
        scope["arqway"] = self
        await self._serve(scope, receive, send)

    def get_route_handler(self) -> Handler:
        """Return FastAPI's handler, wrapped to check the JSON body first and to turn errors into problems."""
        handler = super().get_route_handler()
        body = self.body_field

        async def answer(request: Request) -> Response:
            try:
                if body is not None:
                    request = replayed(request, await read_json(request, required=body.field_info.is_required()))
                return await handler(request)
            except KNOWN as error:
                return problem_of(error)

        return answer


class RawRoute(JobRoute):
    """A route whose function reads the request itself; its other parameters are for documentation only, and are None.

    FastAPI would parse and validate the body into an object, which the queue would then validate again. Measured
    without the queue, a request takes 34 µs of processor time; with a typed body, 70 µs and more. With further
    dependencies of another application, it is served like any other route.
    """

    def get_route_handler(self) -> Handler:
        """Return the handler; one that bypasses FastAPI's parsing, if there are no other dependencies."""
        scopes = [one.dependency.scope for one in self.dependencies if isinstance(one.dependency, Requires)]
        included = hasattr(self, "app")  # a router that includes this route calls this again, and may add dependencies
        if included or len(scopes) < len(self.dependencies):
            return super().get_route_handler()
        names = [name for name in inspect.signature(self.endpoint).parameters if name != "request"]
        endpoint: Handler = partial(self.endpoint, **dict.fromkeys(names))

        async def answer(request: Request) -> Response:
            try:
                for scope in scopes:
                    authorise(request, scope)
                return await endpoint(request)
            except KNOWN as error:
                return problem_of(error)

        return answer


def allowed_methods(routes: Iterable[BaseRoute], scope: Scope) -> set[str]:
    """Return the methods that the path allows: those of the best matching routes, which have the longest fixed text.

    ``/jobs/x:cancel`` also matches ``/jobs/{job_id}``, whose GET is rightly a 404. Source: RFC 9110, sections 9.3.7
    and 15.5.6.
    """
    fitting = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE]
    shown = [route for route in fitting if route.include_in_schema] or fitting
    longest = max(map(_fixed_chars, shown), default=0)
    methods = {method for route in shown if _fixed_chars(route) == longest for method in route.methods or ()}
    return {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}


def _fixed_chars(route: Route) -> int:
    return len(_PARAMETER.sub("", route.path))
