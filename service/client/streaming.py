"""Event streams that go on over broken connections: each is taken up again behind the last event that came."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import httpx

from arqway.service.client.errors import ApiError, UnexpectedAnswer
from arqway.service.client.frames import Frame, FrameReader
from arqway.service.client.patience import jitter
from arqway.service.client.transport import Request, Transport

MEDIA_TYPE = "text/event-stream"
SILENCE_S = 60.0
"""The service says something at least every 15 s, unless its settings say otherwise."""
_RETRY_S = 2.0
_FULL = "too_many_streams"


async def frames(
    transport: Transport, path: str, *, query: Sequence[tuple[str, str]] = (), after: str | None = None
) -> AsyncGenerator[Frame, None]:
    """Give the events of a stream, until the service says that nothing follows.

    Whoever takes them ends the loop at the last event: a stream that just ends is opened again, since a service that
    stops ends its streams, too.

    Args:
        transport: Sends.
        path: Where the stream is.
        query: What else to ask for.
        after: The id of the event to go on behind; None: what the stream begins with.

    Raises:
        ApiError: It cannot be opened, or not again. A service that has too many open is not waited for at first: there
            are other ways to follow a job.
    """
    reader = FrameReader(after or "")
    patience, first = transport.patience(), True
    while True:
        opened = False
        request = _request(path, query, reader.last_id)
        try:
            async with transport.open(request, silence_s=SILENCE_S) as answer:
                if not _is_open(answer):
                    return
                opened = True
                async for frame in _read(answer, reader):
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


def _request(path: str, query: Sequence[tuple[str, str]], last_id: str) -> Request:
    resumed = {"Last-Event-ID": last_id} if last_id else {}
    return Request("GET", path, query, headers={"Accept": MEDIA_TYPE, **resumed})


async def _read(answer: httpx.Response, reader: FrameReader) -> AsyncGenerator[Frame, None]:
    async for chunk in answer.aiter_bytes():
        for frame in reader.feed(chunk):
            yield frame


def _is_open(answer: httpx.Response) -> bool:
    """Tell whether events follow. Raises UnexpectedAnswer."""
    if answer.status_code == httpx.codes.NO_CONTENT:
        return False
    if not answer.headers.get("content-type", "").startswith(MEDIA_TYPE):
        raise UnexpectedAnswer("What answers is no event stream.")
    return True
