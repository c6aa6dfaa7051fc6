"""Example requests and responses for the OpenAPI document and the problem pages, which together tell one story.

A report on customer 14048's orders succeeds. One for customer 3 fails, since the printer is out of order.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from arqway.service.shapes.jobs import EXAMPLE_BATCH_ID, EXAMPLE_ID
from arqway.workers.contract.states import JobState
from arqway.workers.definition import JobDefinition

_FAILED_ID = "e91c5a70b3d2486f9a0417c28d6b35ef"
_FINGERPRINT = "9f1c27ab54d0e386"
_NAMES = {"id": EXAMPLE_ID, "kind": "report.generate", "queue": "default"}
_ACCEPTED = {"max_attempts": 6, "created_at": "2026-03-01T09:30:00.125Z", "due_at": "2026-03-01T09:30:00.125Z"}
_STARTED = {"started_at": "2026-03-01T09:30:00.131Z"}
_RESULT = {"user_id": 14048, "report_url": f"/reports/{EXAMPLE_ID}/file", "pages": 2}
_FAILURE = {"code": "exception", "message": "The job raised an exception.", "fingerprint": _FINGERPRINT}
_PROGRESS = {"current": 2, "total": 5, "message": "Summarised"}

QUEUED = {**_NAMES, "state": "queued", "attempt": 0, **_ACCEPTED}
RUNNING = {**_NAMES, "state": "running", "attempt": 1, **_ACCEPTED, **_STARTED, "progress": _PROGRESS}
SUCCEEDED = {
    **RUNNING,
    "state": "succeeded",
    "progress": {"current": 5, "total": 5, "message": "Stored"},
    "finished_at": "2026-03-01T09:30:02.811Z",
    "result": _RESULT,
}
FAILED = {
    **_NAMES,
    "id": _FAILED_ID,
    "state": "failed",
    "attempt": 6,
    **_ACCEPTED,
    **_STARTED,
    "finished_at": "2026-03-01T09:34:10.502Z",
    "failure": _FAILURE,
}
CANCELLED = {**QUEUED, "state": "cancelled", "finished_at": "2026-03-01T09:30:01.040Z"}
_RETRIED = {**QUEUED, "id": "4b8e0d6f2a7c4195b3e8f1d0c9a26374", "retry_of": _FAILED_ID}
_ATTEMPT = {
    "attempt": 1,
    "outcome": "failed",
    "started_at": "2026-03-01T09:30:00.131Z",
    "ended_at": "2026-03-01T09:30:00.892Z",
    "failure": {"code": "exception", "message": "The job raised an exception."},
}
_BATCH = {
    "id": EXAMPLE_BATCH_ID,
    "created_at": "2026-03-01T09:30:00.125Z",
    "total": 2,
    "counts": {**dict.fromkeys(JobState, 0), JobState.QUEUED: 1, JobState.SUCCEEDED: 1},
    "progress": {"current": 1, "total": 2},
}
_ACCEPTED_BATCH = {
    "id": EXAMPLE_BATCH_ID,
    "accepted": 1,
    "refused": 1,
    "jobs": [
        {"index": 0, "id": f"{EXAMPLE_BATCH_ID}.0", "state": "queued"},
        {"index": 1, "problem": {"index": 1, "code": "unknown_kind", "detail": "No job of this kind is registered."}},
    ],
}
_DEAD = {
    "fingerprint": _FINGERPRINT,
    "jobs": 12,
    "kind": "report.generate",
    "failure": _FAILURE,
    "first_at": "2026-03-01T09:12:44.018Z",
    "latest_at": "2026-03-01T09:34:10.502Z",
    "latest": FAILED,
}
_QUEUE = {
    "name": "default",
    "depth": 40,
    "oldest_age_s": 3.2,
    "later": 7,
    "running": 10,
    "in_rate": 12.5,
    "out_rate": 14.1,
    "failed": 1,
    "workers": 1,
    "drain_s": 25.0,
}
_WORKER = {
    "id": "worker-1-4711-5f2c",
    "host": "worker-1",
    "pid": 4711,
    "version": "0.1.0",
    "queues": ["default"],
    "kinds": ["report.generate"],
    "max_jobs": 10,
    "running": 10,
    "settled": 5210,
    "failed": 3,
    "loop_lag_ms": 2,
    "stalled": False,
    "started_at": "2026-03-01T08:00:00.000Z",
    "beat_at": "2026-03-01T09:29:58.300Z",
}
_DELIVERY = {
    "id": f"{EXAMPLE_ID}.webhook",
    "state": "succeeded",
    "created_at": "2026-03-01T09:30:02.811Z",
    "status": 204,
    "attempts": [
        {
            "attempt": 1,
            "outcome": "succeeded",
            "started_at": "2026-03-01T09:30:02.815Z",
            "ended_at": "2026-03-01T09:30:02.990Z",
        }
    ],
}
_WAITING = {
    "waiting": True,
    "reasons": [
        {
            "code": "backlog",
            "message": "40 jobs of the queue are due before it.",
            "position": 40,
            "estimate_s": 2.8,
        }
    ],
}
_REPORT = {"task_id": EXAMPLE_ID, "state": "PROGRESS", "progress": _PROGRESS}
_MADE_REPORT = {
    "task_id": EXAMPLE_ID,
    "state": "SUCCESS",
    "result": {"user_id": 14048, "report_url": f"https://jobs.example.com/reports/{EXAMPLE_ID}/file"},
}

REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "submit_report": {"a customer's report": {"user_id": 14048}},
    "submit_batch": {
        "two reports": {
            "jobs": [
                {"kind": "report.generate", "payload": {"user_id": 14048}, "tags": ["march"]},
                {"kind": "report.generate", "payload": {"user_id": 14049}, "delay": 60},
            ],
        },
    },
    "retry_job": {"another payload": {"user_id": 14048}},
    "redrive": {
        "see how many": {"filter": {"fingerprint": _FINGERPRINT}, "dry_run": True},
        "ten a second": {"filter": {"fingerprint": _FINGERPRINT}, "rate": 10},
    },
}
"""By operation id: example name → request body."""

ANSWERS: Mapping[str, Mapping[int, Mapping[str, Any]]] = {
    "read_liveness": {200: {"alive": {"status": "ok"}}},
    "read_readiness": {200: {"ready": {"status": "ok"}}},
    "read_job": {200: {"running": RUNNING, "succeeded": SUCCEEDED, "failed": FAILED}},
    "read_result": {200: {"a report": _RESULT}},
    "read_attempts": {200: {"one failed": {"attempts": [_ATTEMPT], "next_retry_at": "2026-03-01T09:30:02.310Z"}}},
    "read_waiting": {200: {"in a queue": _WAITING, "running": {"waiting": False, "reasons": []}}},
    "cancel_job": {
        200: {"cancelled": CANCELLED},
        202: {"asked to stop": {**RUNNING, "cancel_requested_at": "2026-03-01T09:30:01.040Z"}},
    },
    "retry_job": {202: {"the new job": _RETRIED}},
    "list_jobs": {200: {"a page": {"jobs": [RUNNING, FAILED], "next": "WzE3NzIzNTc0MDAxMjUsICJlOTFjIl0"}}},
    "submit_batch": {202: {"one of two": _ACCEPTED_BATCH}},
    "read_batch": {200: {"half finished": _BATCH}},
    "cancel_batch": {200: {"one cancelled": {"jobs": 1}}},
    "retry_failed": {200: {"three retried": {"jobs": 3}}},
    "list_dead": {200: {"one group": {"groups": [_DEAD]}}},
    "redrive": {200: {"counted": {"matched": 12, "redriven": 0, "more": False, "dry_run": True}}},
    "list_queues": {200: {"one queue": {"queues": [_QUEUE]}}},
    "pause_queue": {200: {"paused": {"name": "default", "paused": True, "changed": True}}},
    "resume_queue": {200: {"resumed": {"name": "default", "paused": False, "changed": True}}},
    "list_workers": {200: {"one worker": {"workers": [_WORKER]}}},
    "list_deliveries": {200: {"delivered": {"deliveries": [_DELIVERY]}}},
    "redeliver": {202: {"again": {**QUEUED, "id": f"{EXAMPLE_ID}.webhook.r1", "kind": "webhook.deliver"}}},
    "submit_report": {202: {"accepted": {"task_id": EXAMPLE_ID}}, 200: {"finished while waiting": _MADE_REPORT}},
    "read_report": {200: {"in progress": _REPORT, "finished": _MADE_REPORT}},
}
"""By operation id and status: example name → response body. Those of job kinds are derived from their definitions."""


def payload_samples(job: JobDefinition[Any, Any]) -> Mapping[str, Any]:
    """Return an example payload of this kind under a name; none if its type has no examples."""
    found = _samples(TypeAdapter(job.payload_type).json_schema())
    return {"payload": found[0]} if found else {}


def job_samples(job: JobDefinition[Any, Any]) -> Mapping[int, Mapping[str, Any]]:
    """Return example jobs of this kind, by status and name. The finished one fails if its result has no example."""
    names = {"kind": job.kind, "queue": job.queue, "max_attempts": job.retry.max_attempts}
    ended = {**FAILED, **names, "attempt": job.retry.max_attempts}
    for result in _samples(TypeAdapter(job.result_type).json_schema(mode="serialization")):
        ended = {**SUCCEEDED, **names, "result": result}
    return {202: {"accepted": {**QUEUED, **names}}, 200: {str(ended["state"]): ended}}


def _samples(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> list[Any]:
    """Return one example from a JSON schema, as a whole or property by property, or none."""
    known = schema.get("$defs", definitions or {})
    if schema.get("examples"):
        return [schema["examples"][0]]
    for word in ("const", "default"):
        if word in schema:
            return [schema[word]]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        others = {other: one for other, one in known.items() if other != name}  # a type may be recursive
        return _samples(known[name], others) if name in known else []
    if schema.get("type") == "null":
        return [None]
    parts = {name: found for name, part in schema.get("properties", {}).items() if (found := _samples(part, known))}
    if "properties" not in schema or not parts.keys() >= set(schema.get("required", ())):
        return []
    return [{name: found[0] for name, found in parts.items()}]
