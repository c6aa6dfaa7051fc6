"""``ListStore``: pages of jobs and groups of dead letters."""

import json
from typing import Any, NamedTuple

from arqway.workers.store.facade import Facade

_LOOKS = 2_500
"""Maximum number of ids examined for one page: some 10 ms of server time."""


class ListPage(NamedTuple):
    """A page of a list of jobs."""

    ids: list[str]
    last: tuple[int, str] | None
    """Score and id of the last job examined, not necessarily one of ``ids``; None if there is no further page."""


class DeadGroup(NamedTuple):
    """Dead letters whose failures have the same fingerprint."""

    fingerprint: str
    jobs: int
    first_ms: int
    latest_ms: int
    latest_id: str


class ListStore(Facade):
    """The job lists of one server."""

    async def page(self, tenant: str, asked: dict[str, Any], *, limit: int) -> ListPage:
        """Return a page of a tenant's jobs, latest first; ``asked`` is described in ``lua/list.lua``. Atomic."""
        more, score, last_id, *ids = await self._call("list", [tenant, limit, _LOOKS, json.dumps(asked)])
        last = (int(float(score)), last_id.decode()) if more else None
        return ListPage([job_id.decode() for job_id in ids], last)

    async def dead_groups(self, tenant: str, *, skip: int, limit: int) -> tuple[int, list[DeadGroup]]:
        """Return the total number of dead-letter groups and a page of them, latest failure first. Atomic."""
        total, *flat = await self._call("dead_groups", [tenant, skip, limit])
        rows = (flat[i : i + 5] for i in range(0, len(flat), 5))
        return int(total), [
            DeadGroup(mark.decode(), int(count), int(float(first)), int(float(latest)), latest_id.decode())
            for mark, count, first, latest, latest_id in rows
        ]
