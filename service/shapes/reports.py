"""Reports, in the words of the tutorial."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from arqway.service.shapes.jobs import EXAMPLE_ID, EXAMPLE_PROGRESS, ProgressView
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import progress_view


@with_config(json_schema_extra={"examples": [{"task_id": EXAMPLE_ID}]})
class AcceptedReport(TypedDict):
    """The id to ask for."""

    task_id: str


class ReportResult(TypedDict):
    """A finished report."""

    user_id: int
    report_url: Annotated[str, Field(description="Where the PDF is")]


ReportState = Literal["PENDING", "STARTED", "PROGRESS", "RETRY", "SUCCESS", "FAILURE", "REVOKED"]


@with_config(
    json_schema_extra={"examples": [{"task_id": EXAMPLE_ID, "state": "PROGRESS", "progress": EXAMPLE_PROGRESS}]}
)
class ReportView(TypedDict):
    """Where a report is in its making."""

    task_id: str
    state: ReportState
    progress: NotRequired[Annotated[ProgressView, Field(description="Only in the state PROGRESS")]]
    result: NotRequired[Annotated[ReportResult, Field(description="Only in the state SUCCESS")]]
    error: NotRequired[Annotated[str, Field(description="Why there is no report; only in the state FAILURE")]]


_REPORT_STATES: dict[JobState, ReportState] = {
    JobState.SCHEDULED: "PENDING",
    JobState.QUEUED: "PENDING",
    JobState.RUNNING: "STARTED",
    JobState.RETRYING: "RETRY",
    JobState.SUCCEEDED: "SUCCESS",
    JobState.FAILED: "FAILURE",
    JobState.CANCELLED: "REVOKED",
}


def report_view(record: JobRecord, base_url: str) -> ReportView:
    """Return a report's job in the words of the tutorial; ``base_url`` is where the client reached the service."""
    view: ReportView = {"task_id": record.id, "state": _REPORT_STATES[record.state]}
    if record.state is JobState.RUNNING and record.progress is not None:
        view["state"] = "PROGRESS"
        view["progress"] = progress_view(record.progress)  # type: ignore[typeddict-item]
    elif record.state is JobState.SUCCEEDED:
        url = base_url.rstrip("/") + record.result["report_url"]
        view["result"] = {"user_id": record.result["user_id"], "report_url": url}
    elif record.state is JobState.FAILED:
        view["error"] = record.failure.message if record.failure else "The job failed."
    return view
