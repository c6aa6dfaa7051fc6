"""Waiting on a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable

from arqway import JobRecord
from arqway.workers.client import JobQueue
from arqway.workers.contract.errors import JobNotFound

_PAUSE_S = 0.005


async def wait_until(
    condition: Callable[[], object | Awaitable[object]], description: str, *, timeout_s: float = 10
) -> None:
    """Return once ``condition`` holds; fail with ``description`` if it does not in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                answer = condition()
                if await answer if isinstance(answer, Awaitable) else answer:
                    return
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {description}") from None


async def wait_for(jobs: JobQueue, job_id: str, condition: Callable[[JobRecord], bool], description: str) -> JobRecord:
    """Return the job's record once it exists and ``condition`` holds for it."""
    found: list[JobRecord] = []

    async def holds() -> bool:
        try:
            record = await jobs.read(job_id)
        except JobNotFound:
            return False
        found.append(record)
        return condition(record)

    await wait_until(holds, f"job {job_id} {description}")
    return found[-1]
