"""The client's reading of event streams."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.service.client.streams import Frame, FrameReader
from arqway.service.sse.frames import HEARTBEAT, OPENING, frame, id_frame

ODD = '{"message": "a\u2028b\u2029c\x0bd\x85e"}'
STREAM = (
    OPENING
    + frame("queued", b'{"id":"a"}', "0-0")
    + HEARTBEAT
    + id_frame("7-1")
    + frame("progress", ODD.encode(), "8-0")
    + b"data: two\rdata: lines\r\n\r\n"
    + b"event: half\ndata: of one"
)
FRAMES = [
    Frame("0-0", "queued", '{"id":"a"}'),
    Frame("8-0", "progress", ODD),
    Frame("8-0", "message", "two\nlines"),
]


def read(*chunks: bytes, reader: FrameReader | None = None) -> list[Frame]:
    """Return what a reader makes of these bytes."""
    reader = reader or FrameReader()
    return [found for chunk in chunks for found in reader.feed(chunk)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int]) -> None:
    """Between any two bytes: inside of a line end, of a character, of a field's name."""
    places = sorted({0, len(STREAM), *cuts})
    assert read(*(STREAM[begin:end] for begin, end in pairwise(places))) == FRAMES


@given(name=st.from_regex(r"[a-z]{1,9}", fullmatch=True), data=st.text(min_size=1), number=st.integers(0, 2**64 - 1))
def test_what_the_service_writes_is_read(name: str, data: str, number: int) -> None:
    """Any data but for its line ends, which arrive as newlines."""
    (found,) = read(frame(name, data.encode(errors="replace"), f"{number}-1"))
    expected = data.encode(errors="replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    assert found == Frame(f"{number}-1", name, expected)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("", "YHOO\n+2\n10")]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         [("1", "first event"), ("", "second event"), ("", " third event")]),
        (b"data\n\ndata\ndata\n\ndata:", [("", ""), ("", "\n")]),
        (b"data:test\n\ndata: test\n\n", [("", "test"), ("", "test")]),
        (b"\xef\xbb\xbfdata: marked\n\n", [("", "marked")]),
        (b"id: a\0b\ndata: x\n\n", [("", "x")]),
        (b"odd: y\ndata: x\nodd\n\n", [("", "x")]),
        (b"data: \xff\n\n", [("", "\ufffd")]),
    ],
)  # fmt: skip
def test_the_standards_examples(stream: bytes, expected: list[tuple[str, str]]) -> None:
    """Each of the four, a mark of the byte order, an id that cannot be one, a field that nobody knows, and no UTF-8."""
    assert [(found.id, found.data) for found in read(stream)] == expected


def test_another_connection_begins_afresh_behind_the_last_event() -> None:
    """Half an event is forgotten, the id of the last whole one is not, and ``retry`` stays known."""
    reader = FrameReader()
    read(STREAM, b"\nid: 9-9", reader=reader)
    reader.restart()
    assert reader.last_id == "8-0"
    assert reader.retry_s == 2
    assert read(b"data: next\n\n", reader=reader) == [Frame("8-0", "message", "next")]


@pytest.mark.parametrize("sent", [b"retry: soon\n", b"retry:\n", "retry: \u0662\n".encode()])
def test_a_pace_that_is_no_number_is_passed_over(sent: bytes) -> None:
    """The client keeps its own."""
    reader = FrameReader()
    read(sent, reader=reader)
    assert reader.retry_s is None
