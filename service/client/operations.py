"""Operators' calls: see queues, workers and dead letters, pause a queue, submit dead letters again."""

from collections.abc import AsyncGenerator
from urllib.parse import quote

from pydantic_core import to_json
from typing_extensions import Unpack

from arqway.service.client.options import ListOptions, written
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import read_view
from arqway.service.shapes import operations as shapes
from arqway.service.shapes.operations import DeadGroupView, QueueView, RedriveView, WorkerView

_SLOW_S = 120.0
"""How much longer than other calls a redrive of ten thousand jobs may take."""


class Operations:
    """Operators' calls. All need the scope ``operate``.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def queues(self) -> list[QueueView]:
        """Return the figures of every queue, by name."""
        return (await self._transport.ask(Request("GET", "/queues"), shapes.QueuesView))["queues"]

    async def workers(self) -> list[WorkerView]:
        """Return every worker that is alive, as of its last heartbeat."""
        return (await self._transport.ask(Request("GET", "/workers"), shapes.WorkersView))["workers"]

    async def pause(self, queue: str) -> bool:
        """Let no job of a queue start; running jobs continue. Return whether the queue was not paused before."""
        return await self._turn(queue, "pause")

    async def resume(self, queue: str) -> bool:
        """Let the jobs of a paused queue start again. Return whether it was paused."""
        return await self._turn(queue, "resume")

    async def dead(self) -> AsyncGenerator[DeadGroupView, None]:
        """Yield the groups of dead letters, the one with the latest failure first."""
        async for group in self._transport.pages("/dead", "groups"):
            yield read_view(DeadGroupView, group)

    async def redrive(
        self,
        *,
        dry_run: bool = False,
        limit: int | None = None,
        rate: float | None = None,
        **which: Unpack[ListOptions],
    ) -> RedriveView:
        """Submit dead letters again, each as a new job with the same payload.

        If the connection breaks, it is not known how many were submitted; another call submits the others.

        Args:
            dry_run: Only count them.
            limit: The maximum number, the latest first.
            rate: How many of them become due per second; None: all at once.
            which: A filter; ``state`` does not apply.
        """
        asked = {"filter": written(which), "dry_run": dry_run, "limit": limit, "rate": rate}
        request = Request("POST", "/dead:redrive", body=to_json(written(asked)), repeatable=dry_run)
        return await self._transport.ask(request, RedriveView, wait_s=_SLOW_S)

    async def _turn(self, queue: str, verb: str) -> bool:
        request = Request("POST", f"/queues/{quote(queue, safe='')}:{verb}")
        return (await self._transport.ask(request, shapes.PausedView))["changed"]
