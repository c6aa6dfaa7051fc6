"""Job lists: a tenant's jobs, latest first, by state, kind, queue, tag, batch, time or failure, page by page."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from arqway.workers.client.queue import JobQueue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import InvalidCursor
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.store.lists import ListStore

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
        asked: dict[str, Any] = {name: value for name, value in asdict(which).items() if value is not None}
        asked["source"] = _source(which)
        mark = _mark(self._tenant, which)
        if cursor is not None:
            asked["score"], asked["id"] = _read_cursor(cursor, mark)
        found = await self._lists.page(self._tenant, asked, limit=limit)
        records = await self._queue.read_many(found.ids)
        jobs = [record for record in records if which.state in {None, record.state}]  # some may just have changed state
        return JobPage(jobs, None if found.last is None else _write_cursor(found.last, mark))

    async def all(self, which: JobFilter) -> AsyncIterator[JobRecord]:
        """Yield every matching job, page by page."""
        cursor: str | None = None
        while True:
            page = await self.page(which, limit=_PAGE, cursor=cursor)
            for record in page.jobs:
                yield record
            if (cursor := page.cursor) is None:
                return


def _source(which: JobFilter) -> str:
    """Return the index that holds all jobs of the filter and the fewest others."""
    if which.batch is not None:
        return "batch"
    if which.fingerprint is not None:
        return "dead"
    return "lists" if which.tag is None else "tag"


def _mark(tenant: str, which: JobFilter) -> str:
    return sha256(json.dumps([tenant, asdict(which)]).encode()).hexdigest()[:8]


def _write_cursor(last: tuple[int, str], mark: str) -> str:
    return urlsafe_b64encode(json.dumps([*last, mark]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, mark: str) -> tuple[int, str]:
    try:
        score, job_id, of = json.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        job_id.encode()
    except (ValueError, TypeError, AttributeError, RecursionError):  # a client may have made up anything
        raise InvalidCursor from None
    if of != mark or type(score) is not int:
        raise InvalidCursor
    return score, job_id
