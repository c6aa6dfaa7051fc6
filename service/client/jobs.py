"""Calls about one job, and how they behave when the connection breaks in the middle of one."""

import asyncio
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import httpx

from arqway.service.client.errors import ApiError, Conflict, TooManyRequests, Unavailable
from arqway.service.client.polling import polls
from arqway.service.client.submission import UNSET, payload_json
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import Job, JobHandle, ResultT, handle_of, read_job, read_object
from arqway.workers.contract.errors import WaitTimeout
from arqway.workers.contract.states import JobState


def path_of(job: JobHandle[Any] | str) -> str:
    """Return where a job is."""
    return f"/jobs/{quote(handle_of(job).id, safe='')}"


def job_in(answer: httpx.Response, handle: JobHandle[ResultT]) -> Job[ResultT]:
    """Return the job that an answer tells. Raises UnexpectedAnswer."""
    return read_job(read_object(answer.content), handle, answer.headers.get("etag"))


async def read(transport: Transport, handle: JobHandle[ResultT]) -> Job[ResultT]:
    """Return a job as it is."""
    return job_in(await transport.send(Request("GET", path_of(handle))), handle)


async def wait(transport: Transport, handle: JobHandle[ResultT], timeout_s: float | None) -> Job[ResultT]:
    """Return a job once it has ended. Raises WaitTimeout."""
    clock = asyncio.get_running_loop().time
    until_s = None if timeout_s is None else clock() + timeout_s
    late = WaitTimeout(f"Job {handle.id} has not ended within {timeout_s} s.", job_id=handle.id)
    try:
        async with aclosing(polls(transport, path_of(handle), until_s)) as answers:
            async for answer in answers:
                seen = job_in(answer, handle)
                if seen.finished:
                    return seen
                if until_s is not None and clock() >= until_s:
                    break
    except (Unavailable, TooManyRequests) as error:
        if until_s is None:
            raise
        raise late from error
    raise late


async def ended_within(transport: Transport, accepted: Job[ResultT], wait_s: float) -> Job[ResultT]:
    """Return a job that was accepted just now at its end, or else as it was: it is accepted, so nothing is raised.

    It is asked for by itself. A submission that waits holds its idempotency key, so it could not be sent again.
    """
    try:
        return await wait(transport, accepted, wait_s)
    except (ApiError, WaitTimeout):
        return accepted


async def cancel(transport: Transport, job: JobHandle[ResultT], *, if_unchanged: bool) -> Job[ResultT]:
    """Cancel a job. If an earlier try was served, and only its answer was lost, that counts."""
    try:
        return await _act(transport, job, "cancel", None, if_unchanged)
    except Conflict as error:
        now = await read(transport, handle_of(job)) if error.repeated else None
        if now and (now.state is JobState.CANCELLED or now.cancel_requested_at):
            return now
        raise


async def retry(transport: Transport, job: JobHandle[ResultT], payload: Any, *, if_unchanged: bool) -> Job[ResultT]:
    """Submit an ended job again. If an earlier try was served, and only its answer was lost, that counts."""
    body = None if payload is UNSET else payload_json(job.definition, payload)
    try:
        return await _act(transport, job, "retry", body, if_unchanged)
    except Conflict as error:
        now = await read(transport, handle_of(job)) if error.repeated else None
        if now and now.retried_as:
            return await read(transport, JobHandle(now.retried_as, job.definition))
        raise


async def _act(
    transport: Transport, job: JobHandle[ResultT], verb: str, body: bytes | None, if_unchanged: bool
) -> Job[ResultT]:
    headers = {"If-Match": _tag_of(job)} if if_unchanged else {}
    answer = await transport.send(Request("POST", f"{path_of(job)}:{verb}", body=body, headers=headers))
    return job_in(answer, handle_of(job))


def _tag_of(job: JobHandle[Any]) -> str:
    if not isinstance(job, Job) or job.etag is None:
        raise TypeError("if_unchanged needs a job as a call returned it")
    return job.etag
