"""Dead letters: jobs that failed for good, grouped by the cause of failure, and resubmitted."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from arqway.workers.client.listing import JobFilter, Listing
from arqway.workers.client.queue import JobQueue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import JobNotFound, JobRetried, NotUnique
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.retry import REDRIVE_MAX
from arqway.workers.contract.states import JobState
from arqway.workers.store.lists import DeadGroup, ListStore

_AT_ONCE = 50


class DeadLetterGroup(NamedTuple):
    """The dead letters whose failures share a fingerprint."""

    group: DeadGroup
    latest: JobRecord
    """The latest failure, as an example of the group."""


class DeadPage(NamedTuple):
    """A page of groups, the one with the latest failure first."""

    groups: list[DeadLetterGroup]
    total: int


class Redrive(NamedTuple):
    """What a redrive did or, in a dry run, would have done."""

    matched: int
    redriven: int
    more: bool
    """Whether more jobs match than the limit."""


class DeadLetters:
    """The dead letters of one tenant.

    Args:
        queue: The client to read and submit with.
        tenant: The tenant that owns them.
    """

    def __init__(self, queue: JobQueue, tenant: str = keys.DEFAULT_TENANT) -> None:
        self._queue = queue
        self._lists = ListStore(queue.redis)
        self._tenant = tenant

    async def groups(self, *, skip: int = 0, limit: int = 50) -> DeadPage:
        """Return a page of groups; those whose jobs are past their retention are left out."""
        total, groups = await self._lists.dead_groups(self._tenant, skip=skip, limit=limit)
        found = {record.id: record for record in await self._queue.read_many([group.latest_id for group in groups])}
        return DeadPage([DeadLetterGroup(g, found[g.latest_id]) for g in groups if g.latest_id in found], total)

    async def redrive(
        self, which: JobFilter, *, limit: int = REDRIVE_MAX, rate: float | None = None, dry_run: bool = False
    ) -> Redrive:
        """Resubmit dead letters, each as a new job with the same payload.

        At least once overall: a call that is interrupted has redriven some jobs, and the next one takes the others.

        Args:
            which: Selects the dead letters; its ``state`` is always taken as ``failed``.
            limit: The largest number of jobs to redrive, the latest first.
            rate: Jobs per second that become due, starting now; None: all at once.
            dry_run: Only count.

        Raises:
            StoreUnavailable: Redis is away.
        """
        ids, more = await self._matching(which, limit)
        redriven = 0
        for i in range(0, 0 if dry_run else len(ids), _AT_ONCE):
            portion = ids[i : i + _AT_ONCE]
            delays = [timedelta(seconds=(i + n) / rate) if rate else timedelta(0) for n in range(len(portion))]
            redriven += sum(await asyncio.gather(*map(self._redrive_one, portion, delays)))
        return Redrive(len(ids), redriven, more)

    async def _matching(self, which: JobFilter, limit: int) -> tuple[Sequence[str], bool]:
        found: list[str] = []
        async for record in Listing(self._queue, self._tenant).all(replace(which, state=JobState.FAILED)):
            if record.retried_as is None:
                if len(found) == limit:
                    return found, True
                found.append(record.id)
        return found, False

    async def _redrive_one(self, job_id: str, delay: timedelta) -> bool:
        try:
            await self._queue.retry(job_id, tenant=self._tenant, delay=delay)
        except (JobNotFound, JobRetried, NotUnique):
            return False
        return True
