"""Event streams. A broken one is opened again, and continues after the last event that was received.

Source: HTML Living Standard, "Server-sent events", "Interpreting an event stream".
"""

import asyncio
import codecs
import io
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import NamedTuple

import httpx

from arqway.service.client.errors import ApiError
from arqway.service.client.transport import EVENT_STREAM, Request, Transport, jitter
from arqway.service.client.views import Event, JobHandle, ResultT, read_event
from arqway.workers.contract.events import FINISHED

SILENCE_S = 60.0
"""The service sends something at least every 15 s, unless its settings differ."""
_RETRY_S = 2.0
_FULL = "too_many_streams"


class Frame(NamedTuple):
    """One event of a stream."""

    id: str
    """The last id that was sent, with this event or before it."""
    name: str
    data: str


class FrameReader:
    """Reads events from the bytes of a stream, wherever they are cut.

    Args:
        last_id: The id of the last event of an earlier connection.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_s: float | None = None
        """How long the service asks clients to wait before they open a broken stream again."""
        self.restart()

    def restart(self) -> None:
        """Start with a new connection: an incomplete event is dropped."""
        utf_8 = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._decoder = io.IncrementalNewlineDecoder(utf_8, translate=True)
        self._line: list[str] = []
        self._id, self._name = self.last_id, ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the events that are complete with these bytes."""
        first, *others = self._decoder.decode(chunk).split("\n")
        self._line.append(first)
        for rest in others:
            line, self._line = "".join(self._line), [rest]
            if line:
                self._read(line)
                continue
            self.last_id = self._id
            if self._data:
                yield Frame(self._id, self._name or "message", "\n".join(self._data))
            self._name, self._data = "", []

    def _read(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdecimal():
                self.retry_s = int(value[:9]) / 1000


async def frames(transport: Transport, path: str, *, after: str | None = None) -> AsyncGenerator[Frame, None]:
    """Yield the events of a stream until the service says that none follow.

    The caller must stop at the last event: a stream that merely ends is opened again, because a service that stops
    ends its streams, too.

    Args:
        transport: Sends the requests.
        path: The path of the stream.
        after: The id of the event to continue after; None: from the beginning of the stream.

    Raises:
        ApiError: It cannot be opened, or not opened again. If the service has too many open, this is raised at once
            the first time, because there are other ways to follow a job.
    """
    reader = FrameReader(after or "")
    patience, first = transport.patience(), True
    while True:
        opened = False
        resumed = {"Last-Event-ID": reader.last_id} if reader.last_id else {}
        request = Request("GET", path, headers={"Accept": EVENT_STREAM, **resumed})
        try:
            async with transport.open(request, silence_s=SILENCE_S) as answer:
                if answer.status_code == httpx.codes.NO_CONTENT:
                    return
                opened = True
                async for chunk in answer.aiter_bytes():
                    for frame in reader.feed(chunk):
                        yield frame
        except ApiError as error:
            if first and error.code == _FULL:
                raise
            if not opened:
                await transport.rest(request, error, patience)
                continue
        reader.restart()
        patience, first = transport.patience(stubborn=True), False
        await asyncio.sleep(jitter(0, _RETRY_S if reader.retry_s is None else reader.retry_s))


async def events(
    transport: Transport, path: str, job: JobHandle[ResultT], *, after: str | None = None, endless: bool = False
) -> AsyncGenerator[Event[ResultT], None]:
    """Yield the events of a stream, as ``frames``, up to the one that ends a job or a batch unless it is ``endless``.

    Whole jobs in them are read as ``job`` says.
    """
    async with aclosing(frames(transport, path, after=after)) as received:
        async for frame in received:
            event = read_event(frame.name, frame.id, frame.data, job)
            yield event
            if not endless and (event.job is not None or event.name == FINISHED):
                return
