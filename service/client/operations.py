"""What operators do: see queues, workers and dead letters, pause a queue, submit dead letters again."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json
from typing_extensions import Unpack

from arqway.service.client.listing import JobFilter, pages, written
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import Failure, Job, read_object, read_view

_SLOW_S = 120.0
"""What a redrive of ten thousand jobs may take beyond the time of other calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """How a queue is."""

    name: str
    depth: int
    """Jobs that could run now."""
    oldest_age_s: float
    """How long the oldest of them has waited; 0 where there is none."""
    later: int
    """Jobs that are scheduled, or wait for their next attempt."""
    running: int
    in_rate: float
    """Jobs submitted a second, over the last five minutes."""
    out_rate: float
    """Jobs ended a second, over the last five minutes."""
    failed: int
    """Jobs that failed for good in the last five minutes."""
    workers: int
    drain_s: float | None = None
    """Until nothing waits, at this pace; None: never."""
    paused_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker process, as of its last beat."""

    id: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    kinds: tuple[str, ...]
    max_jobs: int
    running: int
    settled: int
    failed: int
    started_at: datetime
    beat_at: datetime
    unready: str | None = None
    """Why it claims no jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadGroup:
    """Jobs that failed for good, of the same thing."""

    fingerprint: str
    jobs: int
    kind: str
    failure: Failure
    """Of the latest."""
    first_at: datetime
    latest_at: datetime
    latest: Job[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """What a redrive did, or would do."""

    matched: int
    redriven: int
    more: bool
    """Whether more than the limit match."""
    dry_run: bool


class Operations:
    """What operators do. Everything needs the scope ``operate``.

    Args:
        transport: Sends.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def queues(self) -> list[Queue]:
        """Return how every queue is, by name."""
        return read_view(list[Queue], await self._part("/queues", "queues"))

    async def workers(self) -> list[Worker]:
        """Return how every worker is."""
        return read_view(list[Worker], await self._part("/workers", "workers"))

    async def pause(self, queue: str) -> bool:
        """Let no job of a queue begin; those that run go on. Return whether that is new."""
        return await self._turn(queue, "pause")

    async def resume(self, queue: str) -> bool:
        """Let the jobs of a paused queue begin again. Return whether it was paused."""
        return await self._turn(queue, "resume")

    async def dead(self) -> AsyncGenerator[DeadGroup, None]:
        """Give the groups of dead letters, the one with the latest failure first."""
        async for group in pages(self._transport, "/dead", "groups"):
            yield read_view(DeadGroup, group)

    async def redrive(
        self, *, dry_run: bool = False, limit: int | None = None, rate: float | None = None, **which: Unpack[JobFilter]
    ) -> Redrive:
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
        answer = await self._transport.send(request, wait_s=_SLOW_S)
        return read_view(Redrive, read_object(answer.content))

    async def _turn(self, queue: str, verb: str) -> bool:
        answer = await self._transport.send(Request("POST", f"/queues/{quote(queue, safe='')}:{verb}"))
        return read_view(bool, read_object(answer.content).get("changed"))

    async def _part(self, path: str, name: str) -> Any:
        return read_object((await self._transport.send(Request("GET", path))).content).get(name)
