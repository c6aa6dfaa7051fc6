"""How a request reaches a function: routes that answer their own errors as problems, wherever they are mounted.

A route is declared once, on a module's router, and bound to each ``Arqway`` that serves it: to the application of
``arqway api`` as it is, to an owner's application below a prefix and behind the owner's dependencies.
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
"""A layer around a route: who may come in, and with how large a body."""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

UNREAD = WrapValidator(lambda value, _: value)
"""Marks the type of a body that a ``RawRoute`` reads by itself: FastAPI documents it, and never validates it."""
_PARAMETER = re.compile(r"\{\w+\}")


class JobRoute(APIRoute):
    """A route of Arqway. Its errors become problems here, and are nobody else's; a GET answers HEAD, too.

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
        """Whose route it is."""
        assert self._arqway is not None, "a declared route serves nobody; it is bound first"  # noqa: S101
        return self._arqway

    @property
    def declared_path(self) -> str:
        """The path without the prefix."""
        return self._declared[0]

    @property
    def needed_scope(self) -> JobScope | None:
        """What a caller needs; None for a public route."""
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
        """Return this route as ``arqway`` serves it: below a prefix, behind dependencies, inside a door."""
        path, endpoint, options = self._declared
        options = {**options, "dependencies": [*dependencies, *(options.get("dependencies") or ())], **changes}
        return type(self)(path, endpoint, arqway=arqway, prefix=prefix, door=door, **options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request; a GET matches HEAD, too."""
        match, child_scope = super().matches(scope)
        if match is Match.PARTIAL and scope["method"] == "HEAD" and "GET" in (self.methods or ()):
            return Match.FULL, child_scope
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. The server sends no body with the answer to a HEAD."""
        if scope["method"] == "HEAD" and "HEAD" not in (self.methods or ()):
            scope = {**scope, "method": "GET", "arqway_head": True}
        scope["arqway"] = self
        await self._serve(scope, receive, send)

    def get_route_handler(self) -> Handler:
        """Return what serves a request: FastAPI's handler, with a body that was checked and errors as problems."""
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
    """A route whose function reads the request itself; its other parameters describe it, and are None.

    FastAPI would parse the body, validate it and hand over an object, and the queue would validate that once more.
    Measured without the queue: 34 µs of processor time a request, where a typed body costs 70 and more. Behind
    dependencies of an owner's application it is served as any other route.
    """

    def get_route_handler(self) -> Handler:
        """Return what serves a request."""
        scopes = [one.dependency.scope for one in self.dependencies if isinstance(one.dependency, Requires)]
        included = hasattr(self, "app")  # a router that includes this one asks again, and may add dependencies
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
    """Return what the path allows: the methods of the routes that fit it best, those with the longest fixed text.

    ``/jobs/x:cancel`` fits ``/jobs/{job_id}`` too, and there GET is an honest 404. Source: RFC 9110, sections 9.3.7 and
    15.5.6.
    """
    fitting = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE]
    shown = [route for route in fitting if route.include_in_schema] or fitting
    longest = max(map(_fixed_chars, shown), default=0)
    methods = {method for route in shown if _fixed_chars(route) == longest for method in route.methods or ()}
    return {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}


def _fixed_chars(route: Route) -> int:
    return len(_PARAMETER.sub("", route.path))
