"""Lists of a tenant's jobs: by state, kind, tag, time and so on, page by page; and dead letters, grouped by cause."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from arqway.workers.client.batches import act_on_each
from arqway.workers.client.queue import JobQueue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import InvalidCursor
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.retry import REDRIVE_MAX
from arqway.workers.contract.states import JobState
from arqway.workers.store.lists import DeadGroup, ListStore

_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Selects the jobs that match every given field.

    Args:
        state: The current state.
        kind: The kind.
        queue: The name of the queue.
        tag: One of the tags.
        batch: The id of the batch.
        fingerprint: The failure of dead letters that were not retried; these come in the order in which they failed.
        from_ms: Accepted at this moment or later, in Unix milliseconds.
        to_ms: Accepted at this moment or earlier, in Unix milliseconds.
    """

    state: JobState | None = None
    kind: str | None = None
    queue: str | None = None
    tag: str | None = None
    batch: str | None = None
    fingerprint: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class JobPage(NamedTuple):
    """A page of a list. It may hold fewer jobs than the limit, even none, although more follow."""

    jobs: list[JobRecord]
    cursor: str | None
    """Where the next page starts; None on the last page."""


class Listing:
    """Lists the jobs of one tenant.

    Args:
        queue: The client to read with.
        tenant: The tenant that owns the jobs.
    """

    def __init__(self, queue: JobQueue, tenant: str = keys.DEFAULT_TENANT) -> None:
        self._queue = queue
        self._lists = ListStore(queue.redis)
        self._tenant = tenant

    async def page(self, which: JobFilter, *, limit: int, cursor: str | None = None) -> JobPage:
        """Return up to ``limit`` jobs after ``cursor``.

        A job that exists before the first page is read and after the last is on exactly one page, whatever is added or
        removed meanwhile, unless its own state moves it into or out of the filter.

        Raises:
            InvalidCursor: The cursor is malformed, or belongs to another filter.
        """
        fields = asdict(which)
        mark = sha256(json.dumps([self._tenant, fields]).encode()).hexdigest()[:8]
        asked: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
        # The index that holds all jobs of the filter and the fewest others.
        indexes = {"batch": "batch", "fingerprint": "dead", "tag": "tag"}
        asked["source"] = next((index for name, index in indexes.items() if name in asked), "lists")
        if cursor is not None:
            asked["score"], asked["id"] = _read_cursor(cursor, mark)
        found = await self._lists.page(self._tenant, asked, limit=limit)
        records = await self._queue.read_many(found.ids)
        jobs = [record for record in records if which.state in {None, record.state}]  # some may just have changed state
        if found.last is None:
            return JobPage(jobs, None)
        return JobPage(jobs, urlsafe_b64encode(json.dumps([*found.last, mark]).encode()).decode().rstrip("="))

    async def all(self, which: JobFilter) -> AsyncIterator[JobRecord]:
        """Yield every matching job, page by page."""
        cursor: str | None = None
        while True:
            page = await self.page(which, limit=_PAGE, cursor=cursor)
            for record in page.jobs:
                yield record
            if (cursor := page.cursor) is None:
                return


def _read_cursor(cursor: str, mark: str) -> tuple[int, str]:
    try:
        score, job_id, of = json.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        job_id.encode()
    except (ValueError, TypeError, AttributeError, RecursionError):  # a client may have made up anything
        raise InvalidCursor from None
    if of != mark or type(score) is not int:
        raise InvalidCursor
    return score, job_id


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
        ids: list[str] = []
        more = False
        async for record in Listing(self._queue, self._tenant).all(replace(which, state=JobState.FAILED)):
            if record.retried_as is None:
                if more := len(ids) == limit:
                    break
                ids.append(record.id)
        delay_of = {job_id: timedelta(seconds=n / rate if rate else 0) for n, job_id in enumerate(ids)}

        async def redrive_one(job_id: str) -> None:
            await self._queue.retry(job_id, tenant=self._tenant, delay=delay_of[job_id])

        return Redrive(len(ids), 0 if dry_run else await act_on_each(ids, redrive_one), more)
