"""Routes: how they are bound to an ``Arqway``, read a request and write its answer, wherever they are mounted.

A route is declared once, on a module's router, and bound to each ``Arqway`` that serves it: unchanged in the
application of ``arqway api``; below a prefix and behind further dependencies in another application. It turns its own
errors into problem responses.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import quote

from fastapi import Header, params
from fastapi.routing import APIRoute
from pydantic import WrapValidator
from pydantic_core import to_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from arqway.service.access.callers import Requires, authorise, caller_of
from arqway.service.http.middleware import path_below_root
from arqway.service.http.strict_json import DEEPEST, refuse_ambiguous
from arqway.service.problems.answers import KNOWN, problem_of
from arqway.service.problems.errors import BodyTooLarge, NotJson, UnsupportedMediaType
from arqway.workers.contract.api_key import Scope as JobScope
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.view import job_view

if TYPE_CHECKING:
    from arqway.service.arqway import Arqway

Serve = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_PROBLEMS = (NotJson, BodyTooLarge, UnsupportedMediaType, InvalidPayload)
"""The errors of every route that reads a body."""
UNREAD = WrapValidator(lambda value, _: value)
"""Marks the type of a body that a ``RawRoute`` reads itself: FastAPI documents it, but never validates it."""
PreferHeader = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: respond once the job has finished, after N seconds at the latest",
        examples=["wait=10"],
    ),
]
OPERATORS = "-o"
"""Ends the entity tags that operators get, since they see more of a failure."""

_BODY_UNREAD = frozenset({"GET", "HEAD", "OPTIONS"})
_JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json\s*(;|$)", re.IGNORECASE)
_MAY_OVERFLOW = re.compile(rb"NaN|Infinity|[0-9][eE]\+?[0-9]{3}|[0-9]{200}")  # 199 digits and e99 are below 1e308
_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)  # RFC 7240


class JobRoute(APIRoute):
    """One of Arqway's routes. It turns its own errors into problem responses, and serves HEAD wherever it serves GET.

    ``scope["arqway"]`` is the route that serves a request.
    """

    arqway: "Arqway"
    """What serves its requests; only a bound route has one."""
    _admits = False

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._declared = path, endpoint, options
        self._segments = path.count("/")
        super().__init__(path, endpoint, **options)

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
        admits: bool = False,
        **changes: Any,
    ) -> Self:
        """Return a copy bound to ``arqway``: below ``prefix``, and behind ``dependencies``.

        With ``admits``, it admits callers itself, as ``ARQWAY_AUTH`` requires, unless it is public.
        """
        path, endpoint, options = self._declared
        options = {**options, "dependencies": [*dependencies, *(options.get("dependencies") or ())], **changes}
        route = type(self)(prefix + path, endpoint, **options)
        route.arqway, route._segments = arqway, self._segments
        route._admits = admits and self.needed_scope is not None
        return route

    def base_path(self, scope: Scope) -> str:
        """Return the path below which the client reaches Arqway's routes, without a trailing slash.

        It is the root path, which a proxy has stripped or a mount has added, followed by the prefixes of the routers
        that include the routes.
        """
        root: str = scope.get("root_path", "").rstrip("/")
        return root + quote(path_below_root(scope).rsplit("/", self._segments)[0])

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
        serve: Serve = super().handle
        if scope["method"] not in _BODY_UNREAD:
            serve = partial(self.arqway.body_limit.serve, serve)
        if self._admits:
            serve = partial(self.arqway.admission.serve, serve)
        await serve(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, wrapped to check the JSON body first and to turn errors into problems."""
        handler = super().get_route_handler()
        body = self.body_field

        async def answer(request: Request) -> Response:
            try:
                if body is not None:
                    await read_json(request, required=body.field_info.is_required())
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

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        scopes = [one.dependency.scope for one in self.dependencies if isinstance(one.dependency, Requires)]
        if len(scopes) < len(self.dependencies):
            return
        names = [name for name in inspect.signature(endpoint).parameters if name != "request"]
        raw_endpoint = partial(endpoint, **dict.fromkeys(names))

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            request = _RawRequest(scope, receive, send)
            try:
                for needed in scopes:
                    authorise(request, needed)
                response: Response = await raw_endpoint(request)
            except KNOWN as error:
                response = problem_of(error)
            await response(scope, receive, send)

        self.app = serve


class _RawRequest(Request):
    """A request whose body, if it arrives in a single message as most do, bypasses Starlette's slower generator."""

    async def body(self) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body: bytes = message.get("body", b"")
        return body + await super().body() if message.get("more_body", False) else body


def arqway_of(request: Request) -> "Arqway":
    """Return the ``Arqway`` that serves the request."""
    arqway: Arqway = request.scope["arqway"].arqway
    return arqway


async def read_json(request: Request, *, required: bool = True) -> bytes:
    """Return the body, unparsed, after checking that every parser would interpret it alike.

    Any declared type but JSON is refused, since a web page of any origin may make a browser send other types, or none,
    without a preflight. Source: Fetch standard, "CORS-safelisted request-header".

    Args:
        request: The request, which still has its body afterwards, unless it is a ``RawRoute``'s.
        required: Whether an empty body is refused; if not, it is returned, whatever its type.

    Raises:
        UnsupportedMediaType: The body is not declared as JSON.
        NotJson: The body is missing or not JSON.
        UnsupportedJson: See ``refuse_ambiguous``.
    """
    is_json = _JSON_TYPE.match(request.headers.get("content-type", ""))
    if required and not is_json:
        raise UnsupportedMediaType
    body = await request.body()
    if body and not is_json:
        raise UnsupportedMediaType
    if required and not body:
        raise NotJson
    check_json(body)
    return body


def check_json(body: bytes) -> None:
    """Refuse a body that is ambiguous, as ``refuse_ambiguous`` does; most bodies are too simple and skip its pass.

    One that is not JSON at all may be accepted here; its parser will refuse it.
    """
    opened = body.count(b"[") + body.count(b"{")
    if opened > DEEPEST or body.count(b":") > 1 or _MAY_OVERFLOW.search(body):
        refuse_ambiguous(body, may_be_deep=opened > DEEPEST)


def wait_of(request: Request) -> int | None:
    """Return the seconds that the client would wait, capped by the service's limit; None if it would not wait."""
    found = _WAIT.search(", ".join(request.headers.getlist("prefer")))
    return None if found is None else min(int(found[1]), int(arqway_of(request).settings.max_wait_s))


def applied(wait_s: int | None) -> dict[str, str]:
    """Return the header that confirms the honoured preference."""
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}


def path_of(request: Request, path: str) -> str:
    """Return one of Arqway's paths as the client must request it, with the root path and any prefixes."""
    route: JobRoute = request.scope["arqway"]
    return route.base_path(request.scope) + path


def json_answer(view: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``view`` as JSON."""
    return Response(to_json(view), status, headers, "application/json")


def job_answer(
    request: Request, record: JobRecord, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a job as this caller may see it, with its ETag and Retry-After."""
    view = job_view(record, operator=caller_of(request).is_operator)
    return Response(to_json(view), status, {**job_headers(request, record), **(headers or {})}, "application/json")


def job_headers(request: Request, record: JobRecord) -> dict[str, str]:
    """Return the headers of every response with this job, or without it because the client has it already."""
    return {"ETag": etag_of(request, record), "Cache-Control": "private, no-cache", **pace(request, record)}


def etag_of(request: Request, record: JobRecord) -> str:
    """Return the entity tag of a job as this caller sees it."""
    return f'"{record.version}-{record.created_ms:x}{OPERATORS if caller_of(request).is_operator else ""}"'


def pace(request: Request, record: JobRecord) -> dict[str, str]:
    """Return the Retry-After header for this job; nothing if it has finished."""
    seconds = arqway_of(request).queues.retry_after_s(record)
    return {} if seconds is None else {"Retry-After": str(seconds)}
