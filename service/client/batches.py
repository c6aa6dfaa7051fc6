"""Batches: many jobs submitted, followed and acted on as one."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from arqway.service.client.streaming import frames
from arqway.service.client.submission import NewJob, key_header
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import Event, JobHandle, SubmittedBatch, read_event
from arqway.service.shapes.batches import AcceptedBatchView, AcceptedItem, ActedView, BatchView
from arqway.service.shapes.problems import ItemProblem
from arqway.workers.contract.events import FINISHED

_SLOW_S = 60.0
"""What an act on a thousand jobs may take beyond the time of other calls."""


class HttpBatches:
    """Batches of the caller.

    Args:
        transport: Sends.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def submit(
        self, items: Sequence[NewJob], *, atomic: bool = False, idempotency_key: str | None = None
    ) -> SubmittedBatch:
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
        told = await self._transport.ask(request, AcceptedBatchView)
        return SubmittedBatch(told["id"], tuple(map(_outcome, items, told["jobs"])))

    async def read(self, batch_id: str) -> BatchView:
        """Return the state of a batch. Raises NotFound."""
        return await self._transport.ask(Request("GET", _path(batch_id)), BatchView)

    async def stream(self, batch_id: str, *, after: str | None = None) -> AsyncGenerator[Event[Any], None]:
        """Give the state of the batch, and then the events of its jobs, up to the event ``finished``.

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
        return (await self._transport.ask(request, ActedView, wait_s=_SLOW_S))["jobs"]


def _outcome(item: NewJob, told: AcceptedItem) -> JobHandle[Any] | ItemProblem:
    return told["problem"] if "problem" in told else item.handle(told.get("id", ""))


def _path(batch_id: str) -> str:
    return f"/batches/{quote(batch_id, safe='')}"
