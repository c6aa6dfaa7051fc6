"""Clients of event streams: a parser after the standard, and a listener that keeps what it hears."""

import asyncio
import codecs
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from httpx import AsyncClient, HTTPError, Response

from tests.support.waiting import wait_until

_LINE_END = re.compile(r"\r\n|\r|\n")


class Heard(NamedTuple):
    """One event as a browser would dispatch it."""

    id: str
    name: str
    data: str

    @property
    def json(self) -> Any:
        """Its data's value."""
        return json.loads(self.data)


class EventParser:
    """Reads an event stream. Source: HTML Living Standard, "Server-sent events", "Interpreting an event stream"."""

    def __init__(self) -> None:
        self.events: list[Heard] = []
        self.comments: list[str] = []
        self.retry_ms: int | None = None
        self.last_id = ""
        """What a browser would send as Last-Event-ID."""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""
        self._id, self._name, self._data = "", "", list[str]()

    def feed(self, chunk: bytes) -> None:
        """Take some bytes."""
        text = self._rest + self._decoder.decode(chunk)
        held = text.endswith("\r")  # it may be the first half of a line end
        *lines, self._rest = _LINE_END.split(text[:-1] if held else text)
        self._rest += "\r" if held else ""
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "retry" if value.isdigit():
                self.retry_ms = int(value)

    def _dispatch(self) -> None:
        self.last_id = self._id
        if self._data:
            self.events.append(Heard(self._id, self._name or "message", "\n".join(self._data)))
        self._name, self._data = "", []


class Listener(EventParser):
    """A client of one stream."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response
        self.ended = False
        """Whether the server has ended the stream, as opposed to cut the connection."""
        self.cut = False

    @property
    def names(self) -> list[str]:
        """The names of the events so far."""
        return [event.name for event in self.events]

    @property
    def ids(self) -> list[str]:
        """The ids of the events so far."""
        return [event.id for event in self.events]

    async def read(self) -> None:
        """Read to the end."""
        try:
            async for chunk in self.response.aiter_raw():
                self.feed(chunk)
        except HTTPError:
            self.cut = True
        else:
            self.ended = True

    async def hears(self, condition: Callable[["Listener"], object], what: str, *, timeout_s: float = 10) -> None:
        """Return once ``condition`` holds for what was heard."""
        try:
            await wait_until(lambda: condition(self), what, timeout_s=timeout_s)
        except AssertionError as error:
            heard = f"heard {self.names[-20:]}, {self.comments[-2:]}, ended: {self.ended}, cut: {self.cut}"
            raise AssertionError(f"{error}; {heard}") from None

    async def hears_names(self, *names: str) -> list[Heard]:
        """Return the events once these are all that were heard."""
        await self.hears(lambda self: len(self.events) >= len(names), f"the events {names}")
        assert self.names == list(names)
        return list(self.events)

    async def ends(self) -> list[Heard]:
        """Return the events once the server has ended the stream."""
        await self.hears(lambda self: self.ended, "the stream ends")
        return self.events


@asynccontextmanager
async def listening(client: AsyncClient, path: str, after: str | None = None) -> AsyncIterator[Listener]:
    """Open a stream, behind an event if that is given, and read it in the background."""
    headers = {"accept": "text/event-stream", **({} if after is None else {"last-event-id": after})}
    async with client.stream("GET", path, headers=headers, timeout=None) as response:
        assert response.status_code == 200, await response.aread()
        listener = Listener(response)
        reading = asyncio.create_task(listener.read())
        try:
            yield listener
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def whole_stream(client: AsyncClient, path: str, after: str | None = None) -> list[Heard]:
    """Return all events of a stream that ends by itself."""
    async with listening(client, path, after) as listener:
        return await listener.ends()
