"""What the client makes of the service's views."""

import json
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from arqway.service.client.errors import UnexpectedAnswer
from arqway.service.client.streams import FrameReader
from arqway.service.client.views import (
    Event,
    Job,
    JobHandle,
    read_event,
    read_job,
    read_object,
)
from arqway.service.routes.batches import view_of
from arqway.service.shapes.jobs import JobView
from arqway.service.sse.frames import end_frame, feed_frame, job_frame, submitted_frame
from arqway.workers.client import BatchRecord
from arqway.workers.contract.events import FeedEvent, JobEvent
from arqway.workers.contract.record import Failure, JobRecord, Progress
from arqway.workers.contract.states import TERMINAL_STATES, JobState
from arqway.workers.contract.view import job_view
from arqway.workers.definition import job


class Parcel(BaseModel):
    """A result with a type of its own."""

    packed_at: datetime
    items: set[int]


@job("test.pack")
async def pack(ctx: object, payload: int) -> Parcel:
    """Is never run here."""
    raise NotImplementedError


PLAIN: JobHandle[Any] = JobHandle("j1")
TYPED: JobHandle[Parcel] = JobHandle("j1", pack)
RESULT = '{"packed_at": "2026-03-01T09:30:00Z", "items": [1, 2]}'
FULL = JobRecord(
    id="j1",
    kind="test.pack",
    queue="default",
    state=JobState.SUCCEEDED,
    created_ms=1_772_357_400_125,
    due_ms=1_772_357_400_125,
    attempt=2,
    max_attempts=3,
    started_ms=1_772_357_400_131,
    finished_ms=1_772_357_401_000,
    cancel_ms=1_772_357_400_500,
    deadline_ms=1_772_357_500_000,
    progress=Progress(2, 5, "Packed"),
    result_json=RESULT,
    failure=Failure("timeout", "It took too long.", "builtins.TimeoutError", "text", "trace", fingerprint="f"),
    batch="b",
    tags=("x", "y"),
    unique_key="u",
    callback_url="https://shop.test/hook",
    retry_of="j0",
    retried_as="j2",
    version=7,
)


@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("state", JobState)
def test_a_job_is_read_as_it_was_written(state: JobState, operator: bool) -> None:
    """Every part of every state, for an operator and for others; times are moments, the rest is plain."""
    view = json.loads(json.dumps(job_view(replace(FULL, state=state), operator=operator)))
    seen = read_job(view, PLAIN, '"3-a"')

    assert (seen.id, seen.state, seen.etag) == ("j1", state, '"3-a"')
    assert (seen.finished, seen.succeeded) == (state in TERMINAL_STATES, state is JobState.SUCCEEDED)
    assert seen.progress == Progress(2, 5, "Packed")
    assert seen.failure == (Failure(**view["failure"]) if "failure" in view else None)
    assert list(seen.tags) == view["tags"]
    for name in JobView.__annotations__.keys() - {"progress", "failure", "state", "tags"}:
        told = view.get(name)
        assert getattr(seen, name) == (datetime.fromisoformat(told) if told and name.endswith("_at") else told), name


def test_every_part_of_a_job_has_its_place() -> None:
    """What the service's schema has, the client's class has."""
    assert set(JobView.__annotations__) | {"definition", "etag"} == {part.name for part in fields(Job)}


def test_a_result_is_read_by_the_definition() -> None:
    """It is what the job returned, with the types of its annotation."""
    seen = read_job(job_view(FULL), TYPED)
    assert seen.result is not None
    assert (seen.result.items, seen.result.packed_at.year) == ({1, 2}, 2026)
    assert seen.definition is pack


def test_a_result_that_is_another_is_told() -> None:
    """The job is of another version than the client's definition."""
    with pytest.raises(UnexpectedAnswer, match=r"result of test\.pack"):
        read_job(job_view(replace(FULL, result_json='"parcel"')), TYPED)


def test_parts_of_a_later_version_are_passed_over() -> None:
    """At any depth, also if they have the names of our own."""
    view = job_view(FULL)
    later = {**view, "colour": "red", "definition": "x", "progress": {**view["progress"], "unit": "orders"}}
    assert read_job(later, PLAIN) == read_job(view, PLAIN)


@pytest.mark.parametrize(
    "view", [{}, {"id": 1}, {**job_view(FULL), "state": "sleeping"}, {**job_view(FULL), "due_at": "soon"}]
)
def test_what_is_no_job_is_told(view: dict[str, Any]) -> None:
    """By the names of its parts, without their values."""
    with pytest.raises(UnexpectedAnswer, match="cannot read the service's Job") as refused:
        read_job(view, PLAIN)
    assert "sleeping" not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b"<html>"])
def test_what_is_no_object_is_not_arqway(body: bytes) -> None:
    """Some other program listens there."""
    with pytest.raises(UnexpectedAnswer, match="not from Arqway"):
        read_object(body)


def test_the_events_of_a_job_are_read() -> None:
    """Its submission, its progress, a failed attempt, and its end, with all of the job."""
    running = [
        JobEvent("j1", "5-0", "running", 1),
        JobEvent("j1", "6-0", "progress", 1, '{"current":1,"total":null,"message":null}'),
        JobEvent("j1", "7-0", "retrying", 1, '{"code":"timeout","message":"Late."}'),
    ]
    sent = [submitted_frame(FULL, "0-0"), *map(job_frame, running), end_frame(FULL, "8-0", operator=False)]
    events = [read_event(*_parts(frame), TYPED) for frame in sent]

    assert [event.name for event in events] == ["queued", "running", "progress", "retrying", "succeeded"]
    assert [event.id for event in events] == ["0-0", "5-0", "6-0", "7-0", "8-0"]
    assert [event.attempt for event in events] == [0, 1, 1, 1, 2]
    assert [event.state for event in events][1:3] == [JobState.RUNNING, JobState.RUNNING]
    assert events[2].progress == Progress(1)
    assert events[3].failure == Failure(code="timeout", message="Late.")
    assert events[4].job == read_job(job_view(FULL), TYPED)
    assert {event.job_id for event in events} == {"j1"}
    assert all(event.at for event in events)


def test_a_job_goes_on_with_its_events() -> None:
    """State, attempt, progress and failure follow; the end is the whole job; a gap changes nothing."""
    begun = replace(read_job(job_view(replace(FULL, state=JobState.QUEUED, attempt=0)), TYPED, '"1-a"'), progress=None)
    running = begun.after(_event("running", '{"id":"j1","state":"running","attempt":1,"at":"2026-03-01T09:30:00Z"}'))
    assert (running.state, running.attempt, running.progress, running.etag) == (JobState.RUNNING, 1, None, None)
    reported = running.after(_event("progress", '{"state":"running","attempt":1,"progress":{"current":1}}'))
    assert reported.progress == Progress(1)
    assert reported.after(_event("gap", "{}")) is reported
    ended = read_job(job_view(FULL), TYPED)
    assert reported.after(Event(name="succeeded", id="8-0", job=ended)) is ended


def test_the_events_of_many_jobs_are_read() -> None:
    """Those of a feed tell the job, but not all of it; those of a batch tell how it is and that it has finished."""
    line = FeedEvent("9-0", 2, JobEvent("b.1", "8-0", "failed", 1, '{"code":"exception","message":"No."}'))
    told = read_event(*_parts(feed_frame(line)), PLAIN)
    assert (told.id, told.job_id, told.job, told.state) == ("9-0.2", "b.1", None, JobState.FAILED)

    view = view_of(
        BatchRecord("b", "default", 1_772_357_400_125, 2, None, 1, {**dict.fromkeys(JobState, 0), JobState.QUEUED: 2})
    )
    assert _event("batch", json.dumps({**view, "colour": "red"})).batch == view
    assert _event("finished", '{"id":"b","at":"2026-03-01T09:30:00Z","succeeded":2,"total":2}').at is not None


def _parts(sent: bytes) -> tuple[str, str, str]:
    (found,) = FrameReader().feed(sent)
    return found.name, found.id, found.data


def _event(name: str, data: str) -> Event[Parcel]:
    return read_event(name, "1-0", data, TYPED)
