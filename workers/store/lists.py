"""What there is: lists of jobs, batches, dead letters and queues. One typed method per Lua script.

As in ``workers.store.jobs``, all methods raise ``StoreUnavailable`` while Redis is away, loading, read-only or full.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from arqway.workers.contract import keys
from arqway.workers.contract.states import JobState
from arqway.workers.store.connection import store_errors
from arqway.workers.store.script import Script, Value

_SERVER_CLOCK = 0
_LOOKS = 2_500
"""Ids that one page looks at, at most: some 10 ms of the server's time."""


class Page(NamedTuple):
    """A part of a list of jobs."""

    ids: list[str]
    last: tuple[int, str] | None
    """Score and id of the last one that was looked at, where more may follow; it need not be one of ``ids``."""


class BatchRecord(NamedTuple):
    """How a batch is."""

    id: str
    tenant: str
    created_ms: int
    total: int
    finished_ms: int | None
    version: int
    counts: dict[JobState, int]


class DeadGroup(NamedTuple):
    """Dead letters whose failures have the same fingerprint."""

    fingerprint: str
    jobs: int
    first_ms: int
    latest_ms: int
    latest_id: str


class QueueFigures(NamedTuple):
    """How a queue is. The six last are counts of the last minutes."""

    name: str
    due: int
    """Jobs that could run now."""
    held: int
    """All jobs in it: due, waiting for a later time, or running."""
    oldest_due_ms: int | None
    running: int
    paused_ms: int | None
    submitted: int
    started: int
    succeeded: int
    failed: int
    cancelled: int
    retrying: int


class Tidied(NamedTuple):
    """What one call of ``tidy`` did."""

    looked: int
    removed: int


class Retried(NamedTuple):
    """What became of the wish to submit a final job again."""

    reason: str
    """``accepted``; else ``unknown``, ``live``, ``changed``, ``retried``, ``unique``, ``gone`` or ``duplicate``."""
    job_id: str = ""
    """``retried``: the later job; ``unique``: the holder of the key."""


class Catalogue:
    """All jobs of one server, in lists.

    Args:
        redis: A client that does not decode replies.
        clock: Unix milliseconds, for tests that move time; by default the server's clock rules.
    """

    def __init__(self, redis: Redis, *, clock: Callable[[], int] | None = None) -> None:
        self._redis = redis
        self._clock = clock or (lambda: _SERVER_CLOCK)
        self._list, self._tidy, self._batch = Script("list"), Script("tidy"), Script("batch")
        self._dead_groups, self._queue_figures = Script("dead_groups"), Script("queue_figures")
        self._pause, self._retry = Script("pause"), Script("retry")

    async def page(self, tenant: str, asked: dict[str, Any], *, limit: int) -> Page:
        """Return a page of a tenant's jobs, latest first; ``asked`` is what ``lua/list.lua`` takes. Atomic."""
        args: list[Value] = [self._clock(), tenant, limit, _LOOKS, json.dumps(asked)]
        more, score, last_id, *ids = await self._call(self._list, args)
        last = (int(float(score)), last_id.decode()) if more else None
        return Page([job_id.decode() for job_id in ids], last)

    async def batch_ids(self, batch_id: str) -> list[str]:
        """Return the ids of a batch's jobs, in its order."""
        with store_errors():
            return [job_id.decode() for job_id in await self._redis.zrange(keys.batch_jobs(batch_id), 0, -1)]

    async def read_batch(self, batch_id: str) -> BatchRecord | None:
        """Return how a batch is. Atomic: one script."""
        found = await self._call(self._batch, [self._clock(), batch_id])
        if not found:
            return None
        tenant, created, total, finished, version, *counts = found
        states = ("scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled")
        by_state = {JobState(state): int(count) for state, count in zip(states, counts, strict=True)}
        ended = int(finished) if finished else None
        return BatchRecord(batch_id, tenant.decode(), int(created), int(total), ended, int(version), by_state)

    async def dead_groups(self, tenant: str, *, skip: int, limit: int) -> tuple[int, list[DeadGroup]]:
        """Return how many groups of dead letters there are, and a page of them, latest failure first. Atomic."""
        total, *flat = await self._call(self._dead_groups, [self._clock(), tenant, skip, limit])
        rows = (flat[i : i + 5] for i in range(0, len(flat), 5))
        return int(total), [
            DeadGroup(mark.decode(), int(count), int(float(first)), int(float(latest)), latest_id.decode())
            for mark, count, first, latest, latest_id in rows
        ]

    async def queue_figures(self, queues: Sequence[str], *, minutes: int) -> tuple[int, list[QueueFigures]]:
        """Return the server's time in ms and how queues are, with counts of the last ``minutes``. Atomic."""
        args: list[Value] = [self._clock(), minutes]
        for name in queues:
            args += (name, keys.queue(name))
        now, *flat = await self._call(self._queue_figures, args)
        rows = (flat[i : i + 11] for i in range(0, len(flat), 11))
        return int(now), [_figures(name, row) for name, row in zip(queues, rows, strict=True)]

    async def run_times(self) -> dict[str, float]:
        """Return the usual run time of each kind in ms: a moving average of its attempts."""
        with store_errors():
            found: dict[bytes, bytes] = await self._redis.hgetall(keys.RUN_TIMES)  # type: ignore[misc]
        return {kind.decode(): float(ms) for kind, ms in found.items()}

    async def paused(self) -> dict[str, int]:
        """Return the queues that are paused, and since when (ms)."""
        with store_errors():
            found: dict[bytes, bytes] = await self._redis.hgetall(keys.PAUSED_QUEUES)  # type: ignore[misc]
        return {name.decode(): int(since) for name, since in found.items()}

    async def position(self, queue: str, job_id: str) -> int | None:
        """Return how many jobs of its queue are due before a waiting job; None where it is not in the queue."""
        with store_errors():
            rank: int | None = await self._redis.zrank(keys.queue(queue), job_id)
        return rank

    async def pause(self, queue: str, *, paused: bool) -> bool:
        """Pause a queue or let it go on; tell whether that changed anything. Atomic: one script."""
        return bool(await self._call(self._pause, [self._clock(), queue, keys.queue(queue), int(paused)]))

    async def retry(
        self,
        job_id: str,
        new_id: str,
        tenant: str,
        *,
        envelope: bytes = b"",
        delay_ms: int = 0,
        version: int | None = None,
    ) -> Retried:
        """Submit a final job again as a new job, with its own envelope or another. Atomic: one script."""
        args: list[Value] = [self._clock(), job_id, new_id, tenant, envelope, delay_ms]
        args.append("" if version is None else version)
        first, *about = await self._call(self._retry, args)
        if isinstance(first, int):
            return Retried("accepted")
        return Retried(first.decode(), about[0].decode() if about else "")

    async def tidy(self, worker: str, *, office_ms: int, count: int, random: float) -> Tidied | None:
        """Remove jobs that are gone from some lists; None where another worker tidies. Atomic: one script.

        Args:
            worker: Who tidies: nobody else does within ``office_ms`` from now.
            office_ms: Longer than the time until the worker's next call.
            count: Ids to look at, at most.
            random: Uniform in [0, 1); says where.
        """
        found = await self._call(self._tidy, [self._clock(), worker, office_ms, count, random])
        return Tidied(*found) if found else None

    async def _call(self, script: Script, args: Sequence[Value]) -> Any:
        with store_errors():
            return await script(self._redis, args=args)


def _figures(name: str, row: Sequence[Any]) -> QueueFigures:
    due, held, oldest, running, paused, *counts = row
    since = int(paused)
    oldest_ms = int(float(oldest))
    return QueueFigures(
        name,
        int(due),
        int(held),
        None if oldest_ms < 0 else oldest_ms,
        int(running),
        None if since < 0 else since,
        *map(int, counts),
    )
