"""Long polls: the service answers once there is news, so that nobody asks again and again."""

import asyncio
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from math import ceil

import httpx

from arqway.service.client.errors import retry_after_s
from arqway.service.client.patience import Patience
from arqway.service.client.transport import Request, Transport

LONG_POLL_S = 30
"""A proxy may take a longer silence for a dead connection."""
_APPLIED = re.compile(r"\bwait=0*[1-9]")
_PAUSE_S = 1.0


async def polls(transport: Transport, path: str, until_s: float | None) -> AsyncGenerator[httpx.Response, None]:
    """Give the job at its end, and after every long poll before.

    Args:
        transport: Sends.
        path: Where the job is.
        until_s: Broken connections and refusals are borne until then, by the loop's clock; None: as the transport says.
            Once it has passed, each poll is a mere look.
    """
    while True:
        left_s = LONG_POLL_S if until_s is None else until_s - asyncio.get_running_loop().time()
        wait_s = max(0, min(LONG_POLL_S, ceil(left_s)))
        patience = Patience(until_s=until_s, retries=None) if until_s is not None and wait_s else None
        request = Request("GET", path, headers=_prefer(wait_s))
        answer = await transport.send(request, wait_s=wait_s, patience=patience)
        yield answer
        await _pace(answer, wait_s)


async def versions(transport: Transport, path: str) -> AsyncGenerator[httpx.Response, None]:
    """Give the job as it is, and then each time it has changed."""
    headers: dict[str, str] = {}
    while True:
        wait_s = LONG_POLL_S if headers else 0
        answer = await transport.send(Request("GET", path, headers=headers), wait_s=wait_s)
        if answer.status_code != httpx.codes.NOT_MODIFIED:
            yield answer
        await _pace(answer, wait_s)
        tag = answer.headers.get("etag")
        headers = {**_prefer(LONG_POLL_S), "If-None-Match": tag} if tag else {}


def _prefer(wait_s: int) -> dict[str, str]:
    return {"Prefer": f"wait={wait_s}"} if wait_s else {}


async def _pace(answer: httpx.Response, wait_s: int) -> None:
    """Wait a little where the service did not: a setting may forbid it, and a proxy may drop the headers it takes."""
    could_wait = "etag" in answer.headers and (
        not wait_s or _APPLIED.search(answer.headers.get("preference-applied", ""))
    )
    if not could_wait:
        await asyncio.sleep(retry_after_s(answer, datetime.now(UTC)) or _PAUSE_S)
