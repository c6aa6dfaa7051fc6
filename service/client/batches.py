"""Batches: many jobs submitted, followed and acted on as one."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from arqway.service.client.errors import ItemProblem
from arqway.service.client.streaming import frames
from arqway.service.client.submission import BatchItem, key_header
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import (
    AcceptedBatch,
    Batch,
    Event,
    JobHandle,
    read_event,
    read_object,
    read_view,
)
from arqway.workers.contract.events import FINISHED

_SLOW_S = 60.0
"""What an act on a thousand jobs may take beyond the time of other calls."""


class _Outcome(BaseModel):
    id: str = ""
    problem: ItemProblem | None = None


class _Accepted(BaseModel):
    id: str
    jobs: tuple[_Outcome, ...] = ()


class Batches:
    """Batches of the caller.

    Args:
        transport: Sends.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def submit(
        self, items: Sequence[BatchItem], *, atomic: bool = False, idempotency_key: str | None = None
    ) -> AcceptedBatch:
        """Submit up to 1,000 jobs of any kinds at once: all or none of them if ``atomic``, else each that can be.

        Args:
            items: The jobs.
            atomic: Whether one that cannot be accepted keeps the others out.
            idempotency_key: Names this submission, so that it makes one batch however often it is sent; a random one
                by default.

        Raises:
            Invalid: A payload does not fit its job's definition; or, with ``items``, one of an atomic batch cannot be
                accepted, or none of another one.
            ApiError: As for ``ArqwayClient.submit``.
        """
        jobs = b",".join(item.as_json() for item in items)
        body = b'{"jobs":[%b],"atomic":%b}' % (jobs, b"true" if atomic else b"false")
        request = Request("POST", "/jobs:batch", body=body, headers=key_header(idempotency_key))
        told = read_view(_Accepted, read_object((await self._transport.send(request)).content))
        return AcceptedBatch(told.id, tuple(map(_outcome, items, told.jobs)))

    async def read(self, batch_id: str) -> Batch:
        """Return how a batch is. Raises NotFound."""
        answer = await self._transport.send(Request("GET", _path(batch_id)))
        return read_view(Batch, read_object(answer.content))

    async def stream(self, batch_id: str, *, after: str | None = None) -> AsyncGenerator[Event[Any], None]:
        """Give how the batch is and then the events of its jobs, up to the event ``finished``.

        Args:
            batch_id: Its id.
            after: The id of the event to go on behind.
        """
        async with aclosing(frames(self._transport, f"{_path(batch_id)}/events", after=after)) as told:
            async for frame in told:
                yield read_event(frame.name, frame.id, frame.data, JobHandle(""))
                if frame.name == FINISHED:
                    return

    async def cancel(self, batch_id: str) -> int:
        """Cancel those of its jobs that have not ended, and return how many there were."""
        return await self._act(Request("POST", f"{_path(batch_id)}:cancel"))

    async def retry_failed(self, batch_id: str) -> int:
        """Submit those of its jobs that failed again, and return how many there were. Needs the scope ``operate``."""
        return await self._act(Request("POST", f"{_path(batch_id)}:retry-failed", repeatable=False))

    async def _act(self, request: Request) -> int:
        view = read_object((await self._transport.send(request, wait_s=_SLOW_S)).content)
        return read_view(int, view.get("jobs"))


def _outcome(item: BatchItem, told: _Outcome) -> JobHandle[Any] | ItemProblem:
    return told.problem or item.handle(told.id)


def _path(batch_id: str) -> str:
    return f"/batches/{quote(batch_id, safe='')}"
