"""Example requests and responses for the OpenAPI document and the problem pages, which together tell one story.

A report on customer 14048's orders succeeds. One for customer 3 fails, since the printer is out of order.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from arqway.service.problems.table import PROBLEMS
from arqway.service.shapes.jobs import EXAMPLE_BATCH_ID, EXAMPLE_ID
from arqway.workers.contract.errors import BatchRefused
from arqway.workers.contract.states import JobState
from arqway.workers.definition import JobDefinition

_DEAD_ID = "e91c5a70b3d2486f9a0417c28d6b35ef"
_FINGERPRINT = "9f1c27ab54d0e386"


def _at(time: str) -> str:
    return f"2026-03-01T{time}Z"


_NAMES = {"id": EXAMPLE_ID, "kind": "report.generate", "queue": "default"}
_ACCEPTED = {"max_attempts": 6, "created_at": _at("09:30:00.125"), "due_at": _at("09:30:00.125")}
_STARTED = {**_NAMES, "state": "running", "attempt": 1, **_ACCEPTED, "started_at": _at("09:30:00.131")}
_PROGRESS = {"current": 2, "total": 5, "message": "Summarised"}
_DONE = {"progress": {"current": 5, "total": 5, "message": "Stored"}, "finished_at": _at("09:30:02.811")}
_RESULT = {"user_id": 14048, "report_url": f"/reports/{EXAMPLE_ID}/file", "pages": 2}
_ERROR = {"code": "exception", "message": "The job raised an exception."}
_FAILURE = {"failure": {**_ERROR, "fingerprint": _FINGERPRINT}}

_QUEUED = {**_NAMES, "state": "queued", "attempt": 0, **_ACCEPTED}
_RUNNING = {**_STARTED, "progress": _PROGRESS}
SUCCEEDED = {**_STARTED, "state": "succeeded", **_DONE, "result": _RESULT}
_FAILED = {**_STARTED, "id": _DEAD_ID, "state": "failed", "attempt": 6, "finished_at": _at("09:34:10.502"), **_FAILURE}
_CANCELLED = {**_QUEUED, "state": "cancelled", "finished_at": _at("09:30:01.040")}
_STOPPING = {**_RUNNING, "cancel_requested_at": _at("09:30:01.040")}
_RETRIED = {**_QUEUED, "id": "4b8e0d6f2a7c4195b3e8f1d0c9a26374", "retry_of": _DEAD_ID}
_TRIED = {"attempt": 1, "outcome": "failed", "started_at": _at("09:30:00.131"), "ended_at": _at("09:30:00.892")}
_ATTEMPTS = {"attempts": [{**_TRIED, "failure": _ERROR}], "next_retry_at": _at("09:30:02.310")}
_BACKLOG = {"code": "backlog", "message": "40 jobs of the queue are due before it.", "position": 40, "estimate_s": 2.8}
_WAITING = {"waiting": True, "reasons": [_BACKLOG]}
_BATCH = {
    "id": EXAMPLE_BATCH_ID,
    "created_at": _at("09:30:00.125"),
    "total": 2,
    "counts": {**dict.fromkeys(JobState, 0), JobState.QUEUED: 1, JobState.SUCCEEDED: 1},
    "progress": {"current": 1, "total": 2},
}
_REFUSED = PROBLEMS[BatchRefused].example()["items"][0]
_BATCH_ITEMS = [
    {"index": 0, "id": f"{EXAMPLE_BATCH_ID}.0", "state": "queued"},
    {"index": _REFUSED["index"], "problem": _REFUSED},
]
_DEAD = {
    "fingerprint": _FINGERPRINT,
    "jobs": 12,
    "kind": "report.generate",
    **_FAILURE,
    "first_at": _at("09:12:44.018"),
    "latest_at": _FAILED["finished_at"],
    "latest": _FAILED,
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
    "started_at": _at("08:00:00.000"),
    "beat_at": _at("09:29:58.300"),
}
_SENT = {"attempt": 1, "outcome": "succeeded", "started_at": _at("09:30:02.815"), "ended_at": _at("09:30:02.990")}
_DELIVERY = {
    "id": f"{EXAMPLE_ID}.webhook",
    "state": "succeeded",
    "created_at": SUCCEEDED["finished_at"],
    "status": 204,
    "attempts": [_SENT],
}
_REPORT = {"task_id": EXAMPLE_ID, "state": "PROGRESS", "progress": _PROGRESS}
_FILE = {"user_id": 14048, "report_url": f"https://jobs.example.com/reports/{EXAMPLE_ID}/file"}
_MADE_REPORT = {"task_id": EXAMPLE_ID, "state": "SUCCESS", "result": _FILE}

_JOBS = [
    {"kind": "report.generate", "payload": {"user_id": 14048}, "tags": ["march"]},
    {"kind": "report.generate", "payload": {"user_id": 14049}, "delay": 60},
]
_SELECTED = {"filter": {"fingerprint": _FINGERPRINT}}
REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "submit_report": {"a customer's report": {"user_id": 14048}},
    "submit_batch": {"two reports": {"jobs": _JOBS}},
    "retry_job": {"another payload": {"user_id": 14048}},
    "redrive": {"see how many": {**_SELECTED, "dry_run": True}, "ten a second": {**_SELECTED, "rate": 10}},
}
"""By operation id: example name → request body."""

ANSWERS: Mapping[str, Mapping[int, Mapping[str, Any]]] = {
    "read_liveness": {200: {"alive": {"status": "ok"}}},
    "read_readiness": {200: {"ready": {"status": "ok"}}},
    "read_job": {200: {"running": _RUNNING, "succeeded": SUCCEEDED, "failed": _FAILED}},
    "read_result": {200: {"a report": _RESULT}},
    "read_attempts": {200: {"one failed": _ATTEMPTS}},
    "read_waiting": {200: {"in a queue": _WAITING, "running": {"waiting": False, "reasons": []}}},
    "cancel_job": {200: {"cancelled": _CANCELLED}, 202: {"asked to stop": _STOPPING}},
    "retry_job": {202: {"the new job": _RETRIED}},
    "list_jobs": {200: {"a page": {"jobs": [_RUNNING, _FAILED], "next": "WzE3NzIzNTc0MDAxMjUsICJlOTFjIl0"}}},
    "submit_batch": {202: {"one of two": {"id": EXAMPLE_BATCH_ID, "accepted": 1, "refused": 1, "jobs": _BATCH_ITEMS}}},
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
    "redeliver": {202: {"again": {**_QUEUED, "id": f"{EXAMPLE_ID}.webhook.r1", "kind": "webhook.deliver"}}},
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
    ended = {**_FAILED, **names, "attempt": job.retry.max_attempts}
    for result in _samples(TypeAdapter(job.result_type).json_schema(mode="serialization")):
        ended = {**SUCCEEDED, **names, "result": result}
    return {202: {"accepted": {**_QUEUED, **names}}, 200: {str(ended["state"]): ended}}


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
