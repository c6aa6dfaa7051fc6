"""Reading a job, and waiting for it by long polls, which the service answers once there is news."""

import asyncio
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from math import ceil, inf
from typing import Any
from urllib.parse import quote

import httpx

from arqway.service.client.errors import TooManyRequests, Unavailable, retry_after_s
from arqway.service.client.transport import Patience, Request, Transport
from arqway.service.client.views import Job, JobHandle, ResultT, read_job, read_object
from arqway.workers.contract.errors import WaitTimeout

LONG_POLL_S = 30
"""A proxy may take a longer silence for a dead connection."""
_APPLIED = re.compile(r"\bwait=0*[1-9]")
_PAUSE_S = 1.0


def path_of(job: JobHandle[Any]) -> str:
    """Return the path of a job."""
    return f"/jobs/{quote(job.id, safe='')}"


def job_in(answer: httpx.Response, handle: JobHandle[ResultT]) -> Job[ResultT]:
    """Return the job that a response has as its body. Raises UnexpectedAnswer."""
    return read_job(read_object(answer.content), handle, answer.headers.get("etag"))


async def wait(transport: Transport, handle: JobHandle[ResultT], timeout_s: float | None) -> Job[ResultT]:
    """Return a job once it has ended. Raises WaitTimeout.

    With a timeout, broken connections and refusals are tolerated until then; without, as long as the transport does.
    """
    clock = asyncio.get_running_loop().time
    until_s = inf if timeout_s is None else clock() + timeout_s
    late = WaitTimeout(f"Job {handle.id} has not ended within {timeout_s} s.", job_id=handle.id)
    try:
        while True:
            wait_s = max(0, ceil(min(LONG_POLL_S, until_s - clock())))  # once the time is over, one last look
            patience = Patience(until_s=until_s, retries=None) if timeout_s is not None and wait_s else None
            request = Request("GET", path_of(handle), headers=_prefer(wait_s))
            answer = await transport.send(request, wait_s=wait_s, patience=patience)
            seen = job_in(answer, handle)
            if seen.finished:
                return seen
            if clock() >= until_s:
                raise late
            await _pace(answer, wait_s)
    except (Unavailable, TooManyRequests) as error:
        if timeout_s is None:
            raise
        raise late from error


async def changes(transport: Transport, handle: JobHandle[ResultT]) -> AsyncGenerator[Job[ResultT], None]:
    """Yield a job as it is now and each time it has changed, up to its end."""
    headers: dict[str, str] = {}
    while True:
        wait_s = LONG_POLL_S if headers else 0
        answer = await transport.send(Request("GET", path_of(handle), headers=headers), wait_s=wait_s)
        if answer.status_code != httpx.codes.NOT_MODIFIED:
            seen = job_in(answer, handle)
            yield seen
            if seen.finished:
                return
        await _pace(answer, wait_s)
        tag = answer.headers.get("etag")
        headers = {**_prefer(LONG_POLL_S), "If-None-Match": tag} if tag else {}


def _prefer(wait_s: int) -> dict[str, str]:
    return {"Prefer": f"wait={wait_s}"} if wait_s else {}


async def _pace(answer: httpx.Response, wait_s: int) -> None:
    """Pause if the service did not: a setting may forbid it to wait, and a proxy may drop the headers involved."""
    waited = not wait_s or _APPLIED.search(answer.headers.get("preference-applied", ""))
    if "etag" not in answer.headers or not waited:
        await asyncio.sleep(retry_after_s(answer, datetime.now(UTC)) or _PAUSE_S)
