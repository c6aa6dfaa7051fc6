"""The HTTP API as the command line sees it: ``service.client``, whose errors end a command with one line."""

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
    """Give a client with the key in ARQWAY_API_KEY.

    Args:
        url: The API.
        changing: Whether it is asked to do something.

    Raises:
        CommandError: The API cannot be reached, or answers with a problem; or the key cannot be one.
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
    """Turn what a client raises into what ends a command."""
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
    """Show the job as its events come, from the first one on, and return it as it has ended.

    Where the service or a proxy refuses streams, it is asked for the job each time that has changed.
    """
    job = await api.get(job_id)
    if job.finished:
        show(job)
        return job
    job = replace(job, progress=None, failure=None)  # the events tell them again, from the beginning
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
    """What the demo asks of the API that it has started itself."""

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
