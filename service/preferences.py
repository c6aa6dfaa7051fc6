"""The header Prefer: how long a client would like to wait for a job's end. Source: RFC 7240, sections 2 and 4.3."""

import re
from typing import Annotated

from fastapi import Header
from starlette.requests import Request

from workers.client import JobQueue
from workers.contract.errors import WaitTimeout
from workers.contract.record import JobRecord

_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)

PreferHeader = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: answer when the job has ended, after N seconds at the latest",
        examples=["wait=10"],
    ),
]


def wait_of(request: Request) -> int | None:
    """Return the seconds that the client would like to wait, no more than the service allows; None: not at all."""
    found = _WAIT.search(", ".join(request.headers.getlist("prefer")))
    return None if found is None else min(int(found[1]), int(request.app.state.settings.max_wait_s))


async def ended_within(queue: JobQueue, record: JobRecord, wait_s: int) -> JobRecord:
    """Return the record at the job's end, or as it is after ``wait_s``."""
    if record.finished or wait_s <= 0:
        return record
    try:
        return await queue.wait(record.id, timeout_s=wait_s)
    except WaitTimeout:
        return await queue.read(record.id)


def applied(wait_s: int | None) -> dict[str, str]:
    """Return the header that tells which preference was honoured."""
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}
