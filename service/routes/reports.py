"""Reports, with the names of the tutorial: submit, poll by ``task_id``, download."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from arqway.service.access.callers import caller_of, requires
from arqway.service.http.routing import JobRoute, RawRoute, arqway_of, json_answer, pace, path_of
from arqway.service.openapi.responses import answer, problems
from arqway.service.problems.errors import ReportNotReady, ReportStoreUnavailable, ReportUnavailable
from arqway.service.routes.jobs import IfNoneMatchHeader
from arqway.service.routes.submit import SUBMIT_PROBLEMS, submit_endpoint
from arqway.service.shapes.jobs import EXAMPLE_ID
from arqway.service.shapes.reports import AcceptedReport, ReportView, report_view
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import JobNotFound, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.definition import JobDefinition

if TYPE_CHECKING:
    from arqway.workers.jobs.report.storage import ReportStore, StoredFile

logger = logging.getLogger("arqway.service.reports")

KIND = "report.generate"
_PDF = "application/pdf"
_SUBMITTED = ("Location", "Retry-After", "Preference-Applied", "Idempotency-Replayed")
_FILE_HEADERS = ("ETag", "Cache-Control", "Content-Disposition")
_FILE_PROBLEMS = (JobNotFound, ReportUnavailable, ReportNotReady, StoreUnavailable, ReportStoreUnavailable)

router = APIRouter(route_class=JobRoute, tags=["reports"], dependencies=[requires(Scope.READ)])


async def existing_report(
    task_id: Annotated[
        str, PathParameter(description="The report's id, as returned by the submission", examples=[EXAMPLE_ID])
    ],
    request: Request,
) -> JobRecord:
    """Return the report's job. Raises JobNotFound, also for a job of another kind."""
    record = await arqway_of(request).jobs.read(task_id, tenant=caller_of(request).tenant)
    if record.kind != KIND:
        raise JobNotFound(f"There is no job {record.id}.")
    return record


ExistingReport = Annotated[JobRecord, Depends(existing_report)]


def report_routers(job: JobDefinition[Any, Any]) -> list[APIRouter]:
    """Return the routes for the job that generates reports."""
    raw = APIRouter(route_class=RawRoute, tags=["reports"])
    raw.post(
        "/reports",
        name="submit_report",
        status_code=202,
        summary="Submit a report",
        description="Submit a report and return immediately. An accepted report is never lost.",
        response_model=AcceptedReport,
        responses={
            202: answer("The report is accepted", *_SUBMITTED),
            200: answer("The report finished within the time given by `Prefer: wait`", *_SUBMITTED, model=ReportView),
            **problems(*SUBMIT_PROBLEMS),
        },
        dependencies=[requires(Scope.SUBMIT)],
    )(submit_endpoint(job, _accepted))
    return [raw, router]


@router.get(
    "/reports/{task_id}",
    response_model=ReportView,
    responses={200: answer("The current state", "Retry-After"), **problems(JobNotFound, StoreUnavailable)},
)
async def read_report(record: ExistingReport, request: Request) -> Response:
    """Return the report's state with its progress, its result, or the reason why it failed."""
    return json_answer(_view(record, request), headers=pace(request, record))


@router.head("/reports/{task_id}/file", include_in_schema=False)
async def describe_report_file(record: ExistingReport, request: Request) -> Response:
    """Return the headers of the finished PDF."""
    name = _object_name(record)
    with _store_errors():
        stored = await (await _report_store(request)).head(name)
    if stored is None:
        raise ReportUnavailable
    return Response(headers=_file_headers(stored, record), media_type=_PDF)


@router.get(
    "/reports/{task_id}/file",
    response_class=StreamingResponse,
    responses={
        200: answer("The PDF", *_FILE_HEADERS, content={_PDF: {"schema": {"type": "string", "format": "binary"}}}),
        304: answer("The file still matches `If-None-Match`", *_FILE_HEADERS),
        **problems(*_FILE_PROBLEMS),
    },
)
async def download_report(
    record: ExistingReport, request: Request, if_none_match: IfNoneMatchHeader = None
) -> Response:
    """Download the finished PDF. Responds with 304 if `If-None-Match` names its ETag."""
    name = _object_name(record)
    with _store_errors():
        download = await (await _report_store(request)).open(name)
    if download is None:
        raise ReportUnavailable
    headers = _file_headers(download.file, record)
    if download.file.etag in (if_none_match or ""):
        del headers["Content-Length"]
        return Response(status_code=304, headers=headers)
    return StreamingResponse(aiter(download), headers=headers, media_type=_PDF)


async def _report_store(request: Request) -> "ReportStore":
    """Return the store of finished reports; the first request that needs it opens it."""
    return await asyncio.to_thread(_open_store, arqway_of(request).settings.home)


@cache
def _open_store(home: Path) -> "ReportStore":
    from arqway.workers.jobs.report.settings import ReportSettings
    from arqway.workers.jobs.report.storage import open_store  # needs an extra that no other route needs

    return open_store(ReportSettings(home=home).store_url)


@contextmanager
def _store_errors() -> Iterator[None]:
    """Turn anything that a store raises, even for a missing ``report`` extra, into ReportStoreUnavailable."""
    try:
        yield
    except Exception as error:
        logger.exception("The report store cannot be used")
        raise ReportStoreUnavailable from error


def _object_name(record: JobRecord) -> str:
    if not record.finished:
        raise ReportNotReady
    if record.state is not JobState.SUCCEEDED:
        raise ReportUnavailable
    return str(record.result["object_name"])


def _file_headers(stored: "StoredFile", record: JobRecord) -> dict[str, str]:
    return {
        "Content-Length": str(stored.size),
        "Content-Disposition": f'attachment; filename="report-{int(record.result["user_id"])}.pdf"',
        "ETag": stored.etag,
        "Cache-Control": "private, no-cache",
    }


def _accepted(request: Request, record: JobRecord, headers: dict[str, str]) -> Response:
    described = {"Location": path_of(request, f"/reports/{record.id}"), **pace(request, record), **headers}
    if record.finished:
        return json_answer(_view(record, request), 200, described)
    return json_answer({"task_id": record.id}, 202, described)


def _view(record: JobRecord, request: Request) -> ReportView:
    url = request.url
    return report_view(record, f"{url.scheme}://{url.netloc}{path_of(request, '')}")
