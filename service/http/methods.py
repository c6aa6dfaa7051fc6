"""Methods that no route names: HEAD wherever there is GET, and OPTIONS. A 405 tells what the path allows.

Source: RFC 9110, sections 9.1, 9.3.7 and 15.5.6.
"""

import re
from collections.abc import Iterable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from arqway.service.problems.answers import plain_problem

_PARAMETER = re.compile(r"\{\w+\}")


def add_methods(app: FastAPI) -> None:
    """Let every GET be a HEAD too, and answer the methods that a path does not have. The routes must be there."""
    routes = [route for route in app.routes if isinstance(route, Route)]
    own = {route.path for route in routes if "HEAD" in (route.methods or ())}
    for route in routes:
        if route.methods is not None and "GET" in route.methods and route.path not in own:
            route.methods.add("HEAD")
    app.add_exception_handler(405, _answer_other_method)


async def _answer_other_method(request: Request, _: Exception) -> Response:
    allow = {"Allow": ", ".join(sorted(allowed_methods(request.app.routes, request.scope)))}
    return Response(None, 204, allow) if request.method == "OPTIONS" else plain_problem(405, headers=allow)


def allowed_methods(routes: Iterable[BaseRoute], scope: Scope) -> set[str]:
    """Return what the path allows: the methods of the routes that fit it best, those with the longest fixed text.

    ``/jobs/x:cancel`` fits ``/jobs/{job_id}`` too, and there GET is an honest 404.
    """
    fitting = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE]
    shown = [route for route in fitting if route.include_in_schema] or fitting
    longest = max(map(_fixed_chars, shown), default=0)
    methods = {method for route in shown if _fixed_chars(route) == longest for method in route.methods or ()}
    return {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}


def _fixed_chars(route: Route) -> int:
    return len(_PARAMETER.sub("", route.path))
