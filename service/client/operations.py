"""What operators do: see queues, workers and dead letters, pause a queue, submit dead letters again."""

from collections.abc import AsyncGenerator
from urllib.parse import quote

from pydantic_core import to_json
from typing_extensions import Unpack

from arqway.service.client.listing import ListOptions, pages, written
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import read_view
from arqway.service.shapes.operations import (
    DeadGroupView,
    PausedView,
    QueuesView,
    QueueView,
    RedriveView,
    WorkersView,
    WorkerView,
)

_SLOW_S = 120.0
"""What a redrive of ten thousand jobs may take beyond the time of other calls."""


class Operations:
    """What operators do. Everything needs the scope ``operate``.

    Args:
        transport: Sends.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def queues(self) -> list[QueueView]:
        """Return the figures of every queue, by name."""
        return (await self._transport.ask(Request("GET", "/queues"), QueuesView))["queues"]

    async def workers(self) -> list[WorkerView]:
        """Return every worker that is alive, as of its last beat."""
        return (await self._transport.ask(Request("GET", "/workers"), WorkersView))["workers"]

    async def pause(self, queue: str) -> bool:
        """Let no job of a queue begin; those that run go on. Return whether that is new."""
        return await self._turn(queue, "pause")

    async def resume(self, queue: str) -> bool:
        """Let the jobs of a paused queue begin again. Return whether it was paused."""
        return await self._turn(queue, "resume")

    async def dead(self) -> AsyncGenerator[DeadGroupView, None]:
        """Give the groups of dead letters, the one with the latest failure first."""
        async for group in pages(self._transport, "/dead", "groups"):
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

        If the connection breaks, it is not known how many were; calling it again takes those that were not.

        Args:
            dry_run: Only count.
            limit: So many at most, the latest first.
            rate: Jobs a second that become due; None: all at once.
            which: Which of them; ``state`` does not apply.
        """
        asked = {"filter": written(which), "dry_run": dry_run, "limit": limit, "rate": rate}
        body = to_json({name: value for name, value in asked.items() if value is not None})
        request = Request("POST", "/dead:redrive", body=body, repeatable=dry_run)
        return await self._transport.ask(request, RedriveView, wait_s=_SLOW_S)

    async def _turn(self, queue: str, verb: str) -> bool:
        request = Request("POST", f"/queues/{quote(queue, safe='')}:{verb}")
        return (await self._transport.ask(request, PausedView))["changed"]
