"""What may follow a request, in the OpenAPI document: links to next requests, and the webhook for a finished job.

The webhook's guide for receivers is docs/webhooks.md. It is described once, as a path item, to which the callbacks of
submissions and the ``webhooks`` section refer. Source: OpenAPI 3.1, "Link Object" and "Callback Object".
"""

from collections.abc import Mapping
from typing import Any

from arqway.service.openapi.examples import SUCCEEDED

Links = Mapping[str, dict[str, Any]]


def _links(taken: Mapping[str, str], **operations: tuple[str, str]) -> Links:
    """Return links to operations, each with its description. ``taken``: parameter → member of the response's body."""
    parameters = {parameter: f"$response.body#/{member}" for parameter, member in taken.items()}
    return {
        name: {"operationId": operation, "parameters": parameters, "description": description}
        for name, (operation, description) in operations.items()
    }


_JOB = _links(
    {"job_id": "id"},
    read=("read_job", "Read its state, progress and result"),
    follow=("stream_job", "Follow its events"),
    result=("read_result", "Read only its result"),
    attempts=("read_attempts", "List its attempts"),
    waiting=("read_waiting", "Explain why it is waiting"),
    deliveries=("list_deliveries", "List its webhook deliveries"),
    cancel=("cancel_job", "Cancel it"),
    retry=("retry_job", "Resubmit it, once it has finished"),
)
_BATCH = _links(
    {"batch_id": "id"},
    read=("read_batch", "Read its progress"),
    follow=("stream_batch", "Follow the events of its jobs"),
    cancel=("cancel_batch", "Cancel all of its jobs"),
    retry=("retry_failed", "Resubmit its failed jobs"),
)
_REPORT = _links(
    {"task_id": "task_id"},
    read=("read_report", "Read its state and progress"),
    file=("download_report", "Download the PDF, once it is finished"),
)
LINKS: Mapping[str, Mapping[str, Links]] = {
    "retry_job": {"202": _JOB},
    "redeliver": {"202": _JOB},
    "submit_batch": {"202": _BATCH},
    "submit_report": {"202": _REPORT, "200": _REPORT},
    "list_jobs": {"200": _links({"cursor": "next"}, next=("list_jobs", "The next page"))},
    "list_dead": {"200": _links({"cursor": "next"}, next=("list_dead", "The next page"))},
}
"""The links of an operation's responses, by operation id and status."""
SUBMISSION_LINKS: Mapping[str, Links] = {"202": _JOB, "200": _JOB}
"""The links of the responses to a submission of any kind, by status."""

_NAME = "JobEnded"
_ITEM = {"$ref": f"#/components/pathItems/{_NAME}"}
CALLBACK = {"jobEnded": {"$ref": f"#/components/callbacks/{_NAME}"}}
"""``callbacks`` of a submission, whose ``callback_url`` is in the query."""
BATCH_CALLBACK = {"jobEnded": {"{$request.body#/jobs/0/callback_url}": _ITEM}}
"""``callbacks`` of a batch. An expression can refer to only one job; the others with a URL behave alike."""
WEBHOOKS = {"jobEnded": _ITEM}

_TYPES = ["job.succeeded", "job.failed", "job.cancelled"]
_MESSAGE = {
    "type": "object",
    "required": ["type", "timestamp", "data"],
    "properties": {
        "type": {"type": "string", "enum": _TYPES},
        "timestamp": {"type": "string", "format": "date-time", "description": "When the job finished"},
        "data": {"$ref": "#/components/schemas/JobView"},
    },
}
_EXAMPLE = {"type": _TYPES[0], "timestamp": SUCCEEDED["finished_at"], "data": SUCCEEDED}
_IN_HEADER = {"in": "header", "required": True}
_ID = "msg_1176d035c7378396589cc5b6f857425e"
_SIGNATURE = "v1,zdjTdKtsxynH3cAq8uIMZatbWr1un5ZPZGmZvOgTe+8="
_SIGNED = (
    "One or more signatures, separated by spaces: `v1,` followed by the base64 HMAC-SHA256 of "
    "`{webhook-id}.{webhook-timestamp}.{body}`"
)
_HEADERS = (
    ("webhook-id", "string", "Identifies the end of this job; the same in every attempt", _ID),
    ("webhook-timestamp", "integer", "When it was sent, in Unix seconds", "1772357403"),
    ("webhook-signature", "string", _SIGNED, _SIGNATURE),
)
_POST = {
    "operationId": "job_ended",
    "tags": ["webhooks"],
    "summary": "A job has finished",
    "description": "Sent by the service to a job's `callback_url`, following Standard Webhooks 1.0.0: at least "
    "once, in any order, in up to 18 attempts over a day. Verify `webhook-signature` before trusting it.",
    "security": [],
    "parameters": [
        {"name": name, **_IN_HEADER, "description": text, "schema": {"type": kind}, "example": example}
        for name, kind, text, example in _HEADERS
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _MESSAGE, "examples": {"succeeded": {"value": _EXAMPLE}}}},
    },
    "responses": {
        "2XX": {"description": "Delivered"},
        "410": {"description": "Rejected; no further attempts are made"},
        "307": {"description": "The same request is sent to `Location`; 308 does the same"},
        "default": {"description": "Failed; retried later, as if there is no response within 15 s"},
    },
}
COMPONENTS = {
    "callbacks": {_NAME: {"{$request.query.callback_url}": _ITEM}},
    "pathItems": {_NAME: {"post": _POST}},
}
