"""Reading an event stream. Source: HTML Living Standard, "Server-sent events", "Interpreting an event stream"."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event of a stream."""

    id: str
    """The last id that was sent, with this event or before."""
    name: str
    data: str


class FrameReader:
    """Makes events of the bytes of a stream, however they are cut.

    Args:
        last_id: The id of the last event of an earlier connection.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_s: float | None = None
        """How long the service would like clients to wait before they open a broken stream again."""
        self.restart()

    def restart(self) -> None:
        """Begin with another connection: half an event is none."""
        self._line: list[bytes] = []
        self._after_cr = False
        self._first = True
        self._clear()

    def _clear(self) -> None:
        self._id, self._name = self.last_id, ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Give the events that are complete with these bytes."""
        for line in self._lines(chunk):
            if line:
                self._read(line)
                continue
            self.last_id = self._id
            if self._data:
                yield Frame(self._id, self._name or "message", "\n".join(self._data))
            self._clear()

    def _lines(self, chunk: bytes) -> Iterator[str]:
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        first, *others = _LINE_END.split(chunk)
        self._line.append(first)
        for rest in others:
            yield self._decoded(b"".join(self._line))
            self._line = [rest]

    def _decoded(self, line: bytes) -> str:
        if self._first:
            line = line.removeprefix(_BOM)
            self._first = False
        return line.decode(errors="replace")

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
