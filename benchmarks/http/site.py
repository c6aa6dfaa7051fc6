"""One contestant's API in a process of its own, and a plain client for a request now and then."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, NamedTuple

from benchmarks.server import free_port
from benchmarks.stage import Stage, Stalled

HOST = "127.0.0.1"
JSON = "application/json"

_START_WITHIN_S = 30.0
_ANSWER_WITHIN_S = 60.0


class Answer(NamedTuple):
    """What a request got."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class Site:
    """A running API.

    Args:
        port: Where it listens on 127.0.0.1.
        process: Its id.
        headers: What each request has to have.
    """

    def __init__(self, port: int, process: int, headers: Mapping[str, str]) -> None:
        self.port = port
        self.process = process
        self.headers = headers
        self._connection = HTTPConnection(HOST, port, timeout=_ANSWER_WITHIN_S)

    def url(self, path: str) -> str:
        """Return where the path is."""
        return f"http://{HOST}:{self.port}{path}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request on a connection that is kept. Raises OSError where nobody answers."""
        typed = {"Content-Type": JSON} if body is not None else {}
        self._connection.request(method, path, body, {**self.headers, **typed, **(headers or {})})
        response = self._connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def expect(
        self, status: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request. Raises Stalled for an answer with another status."""
        answer = self.ask(method, path, body, headers)
        if answer.status != status:
            raise Stalled(f"{method} {path}: {answer.status}, not {status}: {answer.body[:300]!r}")
        return answer

    def close(self) -> None:
        """Close the connection that is kept."""
        self._connection.close()


@contextmanager
def running_api(stage: Stage, start: tuple[str, ...], headers: Mapping[str, str]) -> Iterator[Site]:
    """Run the contestant's API inside the block, from the moment at which it accepts connections."""
    port = free_port()
    settings = {"UVICORN_PORT": str(port), "ARQWAY_PORT": str(port)}
    with stage.running(start, "api", settings) as process:
        site = Site(port, process, headers)
        _await_connection(stage, site)
        try:
            yield site
        finally:
            site.close()


def _await_connection(stage: Stage, site: Site) -> None:
    deadline_s = time.monotonic() + _START_WITHIN_S
    while True:
        try:
            site.ask("GET", "/")
        except OSError:
            site.close()
            if time.monotonic() > deadline_s:
                raise Stalled(f"the API does not answer; {stage.last_words('api')}") from None
            time.sleep(0.02)
        else:
            return
