"""The command line's access to the HTTP API: ``service.client``, with errors that end a command in one line."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from arqway.service.cli.terminal import FAILED, WRONG_INPUT, CommandError
from arqway.service.client import ApiError, ArqwayClient, Job, TooManyRequests, Unavailable
from arqway.service.client.views import read_object
from arqway.workers.contract.errors import ConfigurationError

_ASK_WHETHER_READY_S = 0.05
_RETRIES = 3
Show = Callable[[Job[Any]], None]


@asynccontextmanager
async def open_api(url: str, *, changing: bool = False) -> AsyncIterator[ArqwayClient]:
    """Yield a client that uses the key in ARQWAY_API_KEY.

    Args:
        url: The URL of the API.
        changing: Whether the requests change something.

    Raises:
        CommandError: The API cannot be reached or responds with a problem, or the key is malformed.
    """
    try:
        client = ArqwayClient(url, api_key=os.environ.get("ARQWAY_API_KEY"), retries=_RETRIES)
    except ConfigurationError as error:
        raise CommandError(str(error).replace("This cannot", "ARQWAY_API_KEY cannot"), WRONG_INPUT) from None
    async with client:
        with told_in_one_line(url, changing=changing):
            yield client


@contextmanager
def told_in_one_line(url: str, *, changing: bool) -> Iterator[None]:
    """Turn the client's errors into CommandError."""
    try:
        yield
    except Unavailable as error:
        if error.status:
            raise CommandError(str(error), FAILED) from None
        if not error.reached:
            reason = f"no API answers at {url} ({error.__cause__}); `arqway up` starts one"
            raise CommandError(reason, FAILED) from None
        unsure = "; whether it took the request is not known" if changing else ""
        raise CommandError(f"{error}{unsure}", FAILED) from None
    except ApiError as error:
        mendable = 400 <= error.status < 500 and not isinstance(error, TooManyRequests)
        raise CommandError(str(error), WRONG_INPUT if mendable else FAILED) from None


async def follow(api: ArqwayClient, job_id: str, show: Show) -> Job[Any]:
    """Show the job at each of its events, from the first one on, and return the finished job.

    If the service or a proxy refuses streams, the job is polled for changes instead.
    """
    job = await api.get(job_id)
    if job.finished:
        show(job)
        return job
    job = replace(job, progress=None, failure=None)  # the events repeat them from the beginning
    try:
        async with aclosing(api.stream(job)) as events:
            async for event in events:
                job = job.after(event)
                show(job)
    except ApiError:
        async with aclosing(api.changes(job_id)) as changes:
            async for job in changes:
                show(job)
    return job


class ReportClient:
    """The requests that the demo sends to the API that it has started."""

    def __init__(self, api: ArqwayClient) -> None:
        self._api = api

    async def submit(self, user_id: int) -> str:
        """Submit a report as a web shop would, and return the job's id."""
        answer = await self._api.request("POST", "/reports", json={"user_id": user_id})
        return str(read_object(answer.content)["task_id"])

    async def download(self, job_id: str) -> bytes:
        """Return the PDF of a finished report."""
        return (await self._api.request("GET", f"/reports/{quote(job_id, safe='')}/file")).content


async def until_ready(url: str, timeout_s: float) -> None:
    """Return once the API can submit and read jobs. Raises CommandError if that takes too long."""
    async with ArqwayClient(url, retries=0) as api:
        try:
            async with asyncio.timeout(timeout_s):
                while not await _is_ready(api):  # noqa: ASYNC110 - another process sets no event of ours
                    await asyncio.sleep(_ASK_WHETHER_READY_S)
        except TimeoutError:
            raise CommandError(f"the API was not ready within {timeout_s:g} s") from None


async def _is_ready(api: ArqwayClient) -> bool:
    try:
        await api.request("GET", "/readyz")
    except ApiError:
        return False
    return True
