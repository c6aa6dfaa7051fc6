"""Batches: many jobs submitted, followed and acted on as one."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any
from urllib.parse import quote

from arqway.service.client.options import NewJob, key_header
from arqway.service.client.streams import events
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import Event, JobHandle, SubmittedBatch
from arqway.service.shapes.batches import AcceptedBatchView, ActedView, BatchView

_SLOW_S = 60.0
"""How much longer than other calls an action on a thousand jobs may take."""


class HttpBatches:
    """Batches of the caller.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def submit(
        self, items: Sequence[NewJob], *, atomic: bool = False, idempotency_key: str | None = None
    ) -> SubmittedBatch:
        """Submit up to 1,000 jobs of any kinds at once: all or none of them if ``atomic``, else each that is valid.

        Args:
            items: The jobs.
            atomic: Whether one job that cannot be accepted keeps the others out.
            idempotency_key: Identifies this submission, so that it makes one batch however often it is sent; random by
                default.

        Raises:
            Invalid: A payload does not match its job's definition. Or, with ``items``: one job of an atomic batch
                cannot be accepted, or no job of another batch.
            ApiError: As for ``ArqwayClient.submit``.
        """
        jobs = b",".join(item.as_json() for item in items)
        body = b'{"jobs":[%b],"atomic":%b}' % (jobs, b"true" if atomic else b"false")
        request = Request("POST", "/jobs:batch", body=body, headers=key_header(idempotency_key))
        batch = await self._transport.ask(request, AcceptedBatchView)
        told = zip(items, batch["jobs"], strict=False)
        return SubmittedBatch(
            batch["id"], tuple(one.get("problem") or item.handle(one.get("id", "")) for item, one in told)
        )

    async def read(self, batch_id: str) -> BatchView:
        """Return a snapshot of the batch. Raises NotFound."""
        return await self._transport.ask(Request("GET", _path(batch_id)), BatchView)

    def stream(self, batch_id: str, *, after: str | None = None) -> AsyncGenerator[Event[Any], None]:
        """Yield the state of the batch, and then the events of its jobs, up to the event ``finished``.

        Args:
            batch_id: Its id.
            after: The id of the event to continue after.
        """
        return events(self._transport, f"{_path(batch_id)}/events", JobHandle(""), after=after)

    async def cancel(self, batch_id: str) -> int:
        """Cancel those of its jobs that have not ended, and return how many there were."""
        return await self._act(Request("POST", f"{_path(batch_id)}:cancel"))

    async def retry_failed(self, batch_id: str) -> int:
        """Submit its failed jobs again, and return how many there were. Needs the scope ``operate``."""
        return await self._act(Request("POST", f"{_path(batch_id)}:retry-failed", repeatable=False))

    async def _act(self, request: Request) -> int:
        return (await self._transport.ask(request, ActedView, wait_s=_SLOW_S))["jobs"]


def _path(batch_id: str) -> str:
    return f"/batches/{quote(batch_id, safe='')}"
