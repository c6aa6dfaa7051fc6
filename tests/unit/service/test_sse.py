"""Event streams as bytes: what a client reads of them, and how it says where it left off."""

import asyncio
import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from arqway.service.problems.errors import InvalidEventId, TooManyStreams
from arqway.service.problems.table import PROBLEMS
from arqway.service.settings import ServiceSettings
from arqway.service.sse.frames import (
    OPENING,
    end_frame,
    feed_frame,
    frame,
    gap_frame,
    id_frame,
    job_frame,
    submitted_frame,
)
from arqway.service.sse.resumption import feed_place, job_event_id, place_id
from arqway.service.sse.stream import EventStream, OpenStreams
from arqway.workers.client.feed import Subscription
from arqway.workers.client.following import FeedPlace
from arqway.workers.contract.events import FeedEvent, JobEvent
from arqway.workers.contract.record import AttemptRecord, Failure, JobRecord, Progress
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import job_view
from tests.support.event_streams import EventParser, Heard
from tests.support.waiting import wait_until

_NAMES = st.from_regex(r"[a-z]{1,12}", fullmatch=True)
_IDS = st.none() | st.from_regex(r"[0-9]{1,13}-[0-9]{1,3}(\.[0-9])?", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_WORDS = st.text(st.sampled_from("a :\r\n\0\ufeffé€😀"))
_VALUES = st.recursive(_TEXTS | st.floats(allow_nan=False) | st.none(), lambda inner: st.dictionaries(_TEXTS, inner))
TOLD = JobEvent("job", "1772357400131-0", "progress", 2, '{"current":1,"total":null,"message":"a"}')


def parsed(*chunks: bytes) -> EventParser:
    """Return what a client makes of these bytes."""
    parser = EventParser()
    for chunk in chunks:
        parser.feed(chunk)
    return parser


def the_event(written: bytes) -> Heard:
    """Return the only event of these bytes."""
    (event,) = parsed(written).events
    return event


@given(st.lists(st.tuples(_NAMES, _TEXTS | _WORDS, _IDS)), st.lists(st.integers(0, 400)))
def test_what_is_written_is_read(told: list[tuple[str, str, str | None]], cuts: list[int]) -> None:
    """Any data arrives, but that each of its line ends is a newline, however the bytes are cut on their way."""
    written = OPENING + b"".join(frame(name, data.encode(), event_id) for name, data, event_id in told)
    edges = sorted({0, len(written), *(cut for cut in cuts if cut < len(written))})
    parser = parsed(*(written[low:high] for low, high in pairwise(edges)))

    assert [event.name for event in parser.events] == [name for name, _, _ in told]
    assert [event.data for event in parser.events] == [re.sub("\r\n|\r", "\n", data) for _, data, _ in told]
    last = ""
    for event, (_, _, event_id) in zip(parser.events, told, strict=True):
        last = event_id or last
        assert event.id == last


@given(_TEXTS | _WORDS, _VALUES)
def test_the_data_of_an_event_is_one_json_value(job_id: str, value: Any) -> None:
    """Ids and data of any characters make up one JSON object on one line."""
    data = json.dumps({"message": value}, ensure_ascii=False)
    event = TOLD._replace(job_id=job_id, data_json=data)
    heard = the_event(job_frame(event))

    assert heard.json["id"] == job_id
    assert heard.json["progress"] == json.loads(data)
    assert heard.id == event.id


def test_an_event_says_whose_it_is_and_when() -> None:
    """Progress is of a running job; the moment is that of the event's id; the failure is code and message."""
    at = "2026-03-01T09:30:00.131Z"
    progress = {"current": 1, "total": None, "message": "a"}
    assert the_event(job_frame(TOLD)).json == {
        "id": "job", "state": "running", "attempt": 2, "at": at, "progress": progress
    }  # fmt: skip
    failed = TOLD._replace(name="retrying", data_json='{"code":"timeout","message":"m"}')
    assert the_event(job_frame(failed)).json == {
        "id": "job", "state": "retrying", "attempt": 2, "at": at, "failure": {"code": "timeout", "message": "m"}
    }  # fmt: skip
    bare = TOLD._replace(name="running", data_json="")
    assert the_event(job_frame(bare)).json == {"id": "job", "state": "running", "attempt": 2, "at": at}


def test_an_event_of_a_feed_has_its_place_as_id() -> None:
    """The same event has another id in a feed than in its job's stream; the end of a batch has its counts."""
    assert the_event(feed_frame(FeedEvent("7-1", 3, TOLD))) == the_event(job_frame(TOLD))._replace(id="7-1.3")
    counts = {"succeeded": 1, "failed": 0, "cancelled": 0, "total": 1}
    end = JobEvent("batch", "1772357400131-0", "finished", 0, json.dumps(counts))
    heard = the_event(feed_frame(FeedEvent("7-1", 0, end)))
    assert (heard.name, heard.json) == ("finished", {"id": "batch", "at": "2026-03-01T09:30:00.131Z", **counts})


def test_a_job_ends_with_all_of_it() -> None:
    """The last event is the job as it is read; an exception's text is for operators, however often it was written."""
    failure = Failure("exception", "m", detail="secret")
    record = JobRecord(
        id="a", kind="k", queue="q", state=JobState.FAILED, created_ms=1, due_ms=1, finished_ms=3, failure=failure,
        progress=Progress(1), attempts=(AttemptRecord(1, 1, 2, "w", "failed"),),
    )  # fmt: skip
    for operator in (True, False, True):
        heard = the_event(end_frame(record, "3-0", operator=operator))
        assert (heard.name, heard.id) == ("failed", "3-0")
        assert heard.json == job_view(record, operator=operator)
        assert ("secret" in heard.data) == operator


@pytest.mark.parametrize(
    ("due_ms", "state", "outcomes", "told"),
    [
        (5, JobState.QUEUED, [], "queued"),
        (6, JobState.SCHEDULED, [], "scheduled"),
        (6, JobState.SUCCEEDED, [], "scheduled"),
        (6, JobState.RUNNING, ["interrupted"], "scheduled"),
        (6, JobState.RETRYING, [], "queued"),
        (6, JobState.RUNNING, ["failed"], "queued"),
    ],
)
def test_a_submission_is_told_by_the_record(due_ms: int, state: JobState, outcomes: list[str], told: str) -> None:
    """A job that was due later was scheduled, unless it is due later for a retry."""
    attempts = tuple(AttemptRecord(1, 5, 6, "w", outcome) for outcome in outcomes)
    record = JobRecord(id="a", kind="k", queue="q", state=state, created_ms=5, due_ms=due_ms, attempts=attempts)
    heard = the_event(submitted_frame(record, "0-0"))
    assert (heard.name, heard.json["state"], heard.json["at"]) == (told, told, "1970-01-01T00:00:00.005Z")


def test_an_id_alone_is_no_event() -> None:
    """It moves on what a browser would send as Last-Event-ID, and nothing else; a gap leaves that as it is."""
    parser = parsed(id_frame("7-1"))
    assert (parser.events, parser.last_id) == ([], "7-1")
    parser.feed(gap_frame())
    assert ([event.name for event in parser.events], parser.last_id) == (["gap"], "7-1")


def test_the_header_goes_before_the_query() -> None:
    """A browser asks at the same address again, and says in the header how far it has got since; empty is absent."""
    assert job_event_id("2-0", "1-0") == "2-0"
    assert job_event_id(None, "1-0") == "1-0"
    assert job_event_id("", "1-0") == "1-0"
    assert job_event_id(None, "") is None
    assert feed_place(None, None) is None


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.none() | st.integers(0, 10**9 - 1))
def test_a_place_is_read_as_it_was_written(ms: int, number: int, line: int | None) -> None:
    """Whatever place of a feed a stream gives as an id, the service reads it again."""
    place = FeedPlace(f"{ms}-{number}", line)
    assert feed_place(place_id(place), None) == place


@pytest.mark.parametrize(
    "given_id", ["1", "-", "1-", "a-0", "1-0-0", "٣-0", f"{2**64}-0", f"0-{2**64}", "1-0\u00a0", "*"]
)
def test_what_is_no_id_is_refused(given_id: str) -> None:
    """Nothing that Redis would take for something else, or not at all, gets through."""
    for read in (job_event_id, feed_place):
        with pytest.raises(InvalidEventId):
            read(None, given_id)
    with pytest.raises(InvalidEventId):
        job_event_id(None, "1-0.0")


def test_an_id_is_read_as_redis_writes_it() -> None:
    """Zeros before a number do not make it another one."""
    assert job_event_id(None, "007-00") == "7-0"


class Silence:
    """The frames of a stream that says nothing more."""

    def __init__(self) -> None:
        self.news = Subscription()
        self.first: list[bytes] = []
        self.ended = False

    async def __aenter__(self) -> "Silence":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is held."""

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Wait."""
        await self.news.next(timeout_s=timeout_s)
        return []

    def heartbeat(self) -> bytes:
        """Return a comment."""
        return b": beat\n\n"


async def admitted() -> bool:
    """Let everybody listen."""
    return True


async def never() -> Message:
    """Wait for a client that says nothing."""
    return await asyncio.Event().wait()  # type: ignore[return-value]


@pytest.mark.parametrize("max_streams", [1, 3])
async def test_only_so_many_streams_are_open(max_streams: int) -> None:
    """One more is refused; one that has ended makes room; closing ends them all."""
    streams = OpenStreams(ServiceSettings(max_streams=max_streams))
    opened: list[Message] = []

    async def send(message: Message) -> None:
        opened.append(message)

    async def serve() -> None:
        await EventStream(streams, Silence(), admitted)({"type": "http"}, never, send)

    async with asyncio.TaskGroup() as group:
        for _ in range(max_streams):
            group.create_task(serve())
        await wait_until(lambda: len(opened) == 2 * max_streams, "all streams are open")
        await serve()
        refusal, body = opened[-2:]
        assert refusal["status"] == 503
        assert json.loads(body["body"])["code"] == PROBLEMS[TooManyStreams].code
        assert len(streams.close()) == max_streams
    assert len(streams) == 0
    assert [message.get("more_body") for message in opened[-max_streams:]] == [False] * max_streams
    async with asyncio.timeout(5):
        await serve()
