"""The command line's access to the HTTP API: ``service.client``, with errors that end a command in one line."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from arqway.service.cli.terminal import FAILED, WRONG_INPUT, CommandError, Show
from arqway.service.client import ApiError, ArqwayClient, Job, TooManyRequests, Unavailable
from arqway.workers.contract.errors import ConfigurationError

AnswerT = TypeVar("AnswerT")
_READY_WITHIN_S = 60.0
_ASK_WHETHER_READY_S = 0.05
_RETRIES = 3


def ask_api(
    url: str, question: Callable[[ArqwayClient], Coroutine[Any, Any, AnswerT]], *, changing: bool = False
) -> AnswerT:
    """Return the API's answer; ``changing`` says whether the request changes something. Raises CommandError."""

    async def ask() -> AnswerT:
        async with open_api(url, changing=changing) as api:
            return await question(api)

    return asyncio.run(ask())


@asynccontextmanager
async def open_api(url: str, *, changing: bool = False) -> AsyncIterator[ArqwayClient]:
    """Yield a client that uses the key in ARQWAY_API_KEY; ``changing`` says whether requests change something.

    Raises:
        CommandError: The API cannot be reached or responds with a problem, or the key is malformed.
    """
    try:
        client = ArqwayClient(url, api_key=os.environ.get("ARQWAY_API_KEY"), retries=_RETRIES)
    except ConfigurationError as error:
        raise CommandError(str(error).replace("This cannot", "ARQWAY_API_KEY cannot"), WRONG_INPUT) from None
    async with client:
        try:
            yield client
        except ApiError as error:
            if not error.reached:
                reason = f"no API answers at {url} ({error.__cause__}); `arqway up` starts one"
                raise CommandError(reason) from None
            lost = changing and isinstance(error, Unavailable) and not error.status
            unsure = "; it is not known whether the request was accepted" if lost else ""
            correctable = 400 <= error.status < 500 and not isinstance(error, TooManyRequests)
            raise CommandError(f"{error}{unsure}", WRONG_INPUT if correctable else FAILED) from None


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


async def until_ready(url: str) -> None:
    """Return once the API can submit and read jobs. Raises CommandError if that takes more than a minute."""
    try:
        async with ArqwayClient(url, retries=0) as api, asyncio.timeout(_READY_WITHIN_S):
            while True:
                with suppress(ApiError):
                    await api.request("GET", "/readyz")
                    return
                await asyncio.sleep(_ASK_WHETHER_READY_S)
    except TimeoutError:
        raise CommandError(f"the API was not ready within {_READY_WITHIN_S:g} s") from None
