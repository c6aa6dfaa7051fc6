"""Events encoded for an event stream. Events that many clients receive are encoded once and cached."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from arqway.workers.contract.events import FINISHED, PROGRESS, FeedEvent, JobEvent
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import job_view, timestamp

OPENING = b"retry: 2000\n: open\n\n"
"""Shows at once that the stream is open, and has clients that lose it reconnect after 2 s."""
BEAT = b": heartbeat\n"
HEARTBEAT = BEAT + b"\n"
_LINE_END = re.compile(rb"\r\n|\r|\n")
_KEPT, _ENDS_KEPT = 256, 8
"""Cache sizes. They are small: clients receive the same event at about the same time, and a result may be large."""


def frame(name: str, data: bytes, event_id: str | None = None) -> bytes:
    """Encode one event. Name and id are ours and have no line breaks; those in the data arrive as newlines."""
    id_line = b"" if event_id is None else b"id: %b\n" % event_id.encode()
    lines = b"\ndata: ".join(_LINE_END.split(data))
    return b"%bevent: %b\ndata: %b\n\n" % (id_line, name.encode(), lines)


def id_frame(event_id: str, comment: bytes = b"") -> bytes:
    """Return a frame that only advances the client's last event id. Source: "dispatch the event", step 2."""
    return b"%bid: %b\n\n" % (comment, event_id.encode())


@lru_cache(maxsize=_KEPT)
def job_frame(event: JobEvent) -> bytes:
    """Encode an event for the stream of its job, where its id is the one in the job's own Redis stream."""
    return frame(event.name, _data_of(event), event.id)


@lru_cache(maxsize=_KEPT)
def feed_frame(told: FeedEvent) -> bytes:
    """Encode an event for the stream of a feed, where its id is its place in the feed."""
    return frame(told.event.name, _data_of(told.event), f"{told.entry_id}.{told.line}")


@lru_cache(maxsize=_ENDS_KEPT)
def end_frame(record: JobRecord, event_id: str, *, operator: bool) -> bytes:
    """Encode the last event of a job: the finished job as a whole."""
    return frame(record.state.value, to_json(job_view(record, operator=operator)), event_id)


def submitted_frame(record: JobRecord, event_id: str) -> bytes:
    """Encode the submission of a job, which its Redis stream does not hold.

    A job that is due later than it was accepted was scheduled; the record of a retried job no longer shows this.
    """
    retried = record.state is JobState.RETRYING or any(past.outcome == "failed" for past in record.attempts)
    late = record.due_ms > record.created_ms and not retried
    state = JobState.SCHEDULED if late else JobState.QUEUED
    said = {"id": record.id, "state": state.value, "attempt": 0, "at": timestamp(record.created_ms)}
    return frame(state.value, to_json(said), event_id)


def gap_frame(event_id: str | None = None) -> bytes:
    """Encode a notice that events before the following ones are no longer kept."""
    return frame("gap", b"{}", event_id)


def view_frame(name: str, view: Mapping[str, Any], event_id: str) -> bytes:
    """Encode an event whose data is a view."""
    return frame(name, to_json(view), event_id)


def _data_of(event: JobEvent) -> bytes:
    """Return the event's data. JSON that was written by a script or a worker is passed through unparsed."""
    job_id, at = json.dumps(event.job_id), timestamp(event.at_ms)
    if event.name == FINISHED:
        return f'{{"id":{job_id},"at":"{at}",{event.data_json[1:]}'.encode()
    state = JobState.RUNNING.value if event.name == PROGRESS else event.name
    part = f',"{"progress" if event.name == PROGRESS else "failure"}":{event.data_json}' if event.data_json else ""
    return f'{{"id":{job_id},"state":"{state}","attempt":{event.attempt},"at":"{at}"{part}}}'.encode()
