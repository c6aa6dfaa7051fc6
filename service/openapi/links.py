"""Links in the OpenAPI document: from a response to possible next requests. Source: OpenAPI 3.1, "Link Object"."""

from collections.abc import Mapping
from typing import Any

Links = Mapping[str, Mapping[str, Any]]


def _link(operation_id: str, description: str, **parameters: str) -> dict[str, Any]:
    return {"operationId": operation_id, "parameters": parameters, "description": description}


def _next_page(operation_id: str) -> Links:
    return {"next": _link(operation_id, "The next page", cursor="$response.body#/next")}


_JOB_ID = "$response.body#/id"
_JOB = {
    "read": _link("read_job", "Read its state, progress and result", job_id=_JOB_ID),
    "follow": _link("stream_job", "Follow its events", job_id=_JOB_ID),
    "result": _link("read_result", "Read only its result", job_id=_JOB_ID),
    "attempts": _link("read_attempts", "List its attempts", job_id=_JOB_ID),
    "waiting": _link("read_waiting", "Explain why it is waiting", job_id=_JOB_ID),
    "deliveries": _link("list_deliveries", "List its webhook deliveries", job_id=_JOB_ID),
    "cancel": _link("cancel_job", "Cancel it", job_id=_JOB_ID),
    "retry": _link("retry_job", "Resubmit it, once it has finished", job_id=_JOB_ID),
}
_BATCH = {
    "read": _link("read_batch", "Read its progress", batch_id="$response.body#/id"),
    "follow": _link("stream_batch", "Follow the events of its jobs", batch_id="$response.body#/id"),
    "cancel": _link("cancel_batch", "Cancel all of its jobs", batch_id="$response.body#/id"),
    "retry": _link("retry_failed", "Resubmit its failed jobs", batch_id="$response.body#/id"),
}
_REPORT = {
    "read": _link("read_report", "Read its state and progress", task_id="$response.body#/task_id"),
    "file": _link("download_report", "Download the PDF, once it is finished", task_id="$response.body#/task_id"),
}
_LINKS: Mapping[str, Mapping[str, Links]] = {
    "retry_job": {"202": _JOB},
    "redeliver": {"202": _JOB},
    "submit_batch": {"202": _BATCH},
    "submit_report": {"202": _REPORT, "200": _REPORT},
    "list_jobs": {"200": _next_page("list_jobs")},
    "list_dead": {"200": _next_page("list_dead")},
}
_SUBMISSION: Mapping[str, Links] = {"202": _JOB, "200": _JOB}


def links_of(operation_id: str) -> Mapping[str, Links]:
    """Return the links of an operation's responses, by status; submissions of all kinds have the same links."""
    if operation_id in _LINKS:
        return _LINKS[operation_id]
    return _SUBMISSION if operation_id.startswith("submit_") else {}
