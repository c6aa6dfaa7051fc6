"""Dead letters: jobs that failed permanently, grouped by cause, and their redrive."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.audit import audit
from arqway.service.access.callers import caller_of, requires
from arqway.service.http.routing import BODY_PROBLEMS, JobRoute, arqway_of, json_answer
from arqway.service.openapi.responses import answer, problems
from arqway.service.routes.jobs import job_filter, page_answer
from arqway.service.shapes.operations import DeadView, RedriveRequest, RedriveView
from arqway.workers.client.lists import DeadLetterGroup, DeadLetters
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import InvalidCursor, StoreUnavailable
from arqway.workers.contract.record import Failure
from arqway.workers.contract.view import failure_view, job_view, timestamp

router = APIRouter(route_class=JobRoute, tags=["dead letters"], dependencies=[requires(Scope.OPERATE)])

_NO_FAILURE = Failure("unknown", "Nothing is known of the failure.")


@router.get(
    "/dead",
    response_model=DeadView,
    responses={
        200: answer("A page of groups", "Link"),
        **problems(InvalidCursor, RequestValidationError, StoreUnavailable),
    },
)
async def list_dead(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200, description="Maximum number of groups per page")] = 50,
    cursor: Annotated[str | None, Query(max_length=100, description="`next` of the previous page")] = None,
) -> Response:
    """List the jobs that failed permanently, grouped by cause, with the group of the most recent failure first.

    To list the jobs of a group, use `GET /jobs?fingerprint=…`.
    """
    skip = 0 if cursor is None else _read_cursor(cursor)
    caller = caller_of(request)
    page = await DeadLetters(arqway_of(request).jobs, caller.tenant).groups(skip=skip, limit=limit)
    view = {"groups": [_group_view(group, operator=caller.is_operator) for group in page.groups]}
    following = urlsafe_b64encode(str(skip + limit).encode()).decode().rstrip("=")
    return page_answer(request, "/dead", view, following if skip + limit < page.total else None)


@router.post(
    "/dead:redrive",
    response_model=RedriveView,
    responses={
        200: answer("How many jobs were, or would be, resubmitted"),
        **problems(*BODY_PROBLEMS, StoreUnavailable),
    },
)
async def redrive(request: Request, asked: RedriveRequest) -> Response:
    """Resubmit dead letters, each as a new job with the same payload. With `dry_run`, only count them."""
    which, dead = job_filter(asked.filter), DeadLetters(arqway_of(request).jobs, caller_of(request).tenant)
    done = await dead.redrive(which, limit=asked.limit, rate=asked.rate, dry_run=asked.dry_run)
    outcome = "dry run" if asked.dry_run else "done"
    target = asked.filter.model_dump_json(exclude_none=True)
    await audit(request, "dead.redrive", target, done.redriven, outcome=outcome)
    return json_answer({**done._asdict(), "dry_run": asked.dry_run})


def _group_view(found: DeadLetterGroup, *, operator: bool) -> dict[str, Any]:
    group, latest = found
    return {
        "fingerprint": group.fingerprint,
        "jobs": group.jobs,
        "kind": latest.kind,
        "failure": failure_view(latest.failure or _NO_FAILURE, operator=operator),
        "first_at": timestamp(group.first_ms),
        "latest_at": timestamp(group.latest_ms),
        "latest": job_view(latest, operator=operator),
    }


def _read_cursor(cursor: str) -> int:
    try:
        skip = int(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except ValueError:
        raise InvalidCursor from None
    if not 0 <= skip < 2**31:
        raise InvalidCursor
    return skip
