"""Events as the bytes of an event stream. Those that many listeners get are written once, and kept for the others."""

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
"""Shows at once that the stream is open; whoever loses it is to ask again after 2 s."""
BEAT = b": heartbeat\n"
HEARTBEAT = BEAT + b"\n"
_LINE_END = re.compile(rb"\r\n|\r|\n")
_KEPT, _ENDS_KEPT = 256, 8
"""Few: those who share an event get it at about the same time, and a result may be large."""


def frame(name: str, data: bytes, event_id: str | None = None) -> bytes:
    """Return one event. Name and id are ours, and have no line ends; those of the data arrive as newlines."""
    id_line = b"" if event_id is None else b"id: %b\n" % event_id.encode()
    lines = b"\ndata: ".join(_LINE_END.split(data))
    return b"%bevent: %b\ndata: %b\n\n" % (id_line, name.encode(), lines)


def id_frame(event_id: str, comment: bytes = b"") -> bytes:
    """Return what only moves the client's last event id on. Source: the standard's "dispatch the event", step 2."""
    return b"%bid: %b\n\n" % (comment, event_id.encode())


@lru_cache(maxsize=_KEPT)
def job_frame(event: JobEvent) -> bytes:
    """Return an event for listeners to its job, known there by the id in the job's own stream."""
    return frame(event.name, _data_of(event), event.id)


@lru_cache(maxsize=_KEPT)
def feed_frame(told: FeedEvent) -> bytes:
    """Return an event for listeners to a feed, known there by its place in it."""
    return frame(told.event.name, _data_of(told.event), f"{told.entry_id}.{told.line}")


@lru_cache(maxsize=_ENDS_KEPT)
def end_frame(record: JobRecord, event_id: str, *, operator: bool) -> bytes:
    """Return the last event of a job: all of it, as it has ended."""
    return frame(record.state.value, to_json(job_view(record, operator=operator)), event_id)


def submitted_frame(record: JobRecord, event_id: str) -> bytes:
    """Return the submission, which stands in no job's stream.

    What is due later than it was accepted was scheduled; of a job that was retried the record does not say so any more.
    """
    retried = record.state is JobState.RETRYING or any(past.outcome == "failed" for past in record.attempts)
    late = record.due_ms > record.created_ms and not retried
    state = JobState.SCHEDULED if late else JobState.QUEUED
    said = {"id": record.id, "state": state.value, "attempt": 0, "at": timestamp(record.created_ms)}
    return frame(state.value, to_json(said), event_id)


def gap_frame(event_id: str | None = None) -> bytes:
    """Return what tells that events before those that follow are no longer kept."""
    return frame("gap", b"{}", event_id)


def view_frame(name: str, view: Mapping[str, Any], event_id: str) -> bytes:
    """Return an event whose data is a view."""
    return frame(name, to_json(view), event_id)


def _data_of(event: JobEvent) -> bytes:
    """Return the data: JSON that was written by a script or a worker goes on as it is."""
    job_id, at = json.dumps(event.job_id), timestamp(event.at_ms)
    if event.name == FINISHED:
        return f'{{"id":{job_id},"at":"{at}",{event.data_json[1:]}'.encode()
    state = JobState.RUNNING.value if event.name == PROGRESS else event.name
    part = f',"{"progress" if event.name == PROGRESS else "failure"}":{event.data_json}' if event.data_json else ""
    return f'{{"id":{job_id},"state":"{state}","attempt":{event.attempt},"at":"{at}"{part}}}'.encode()
