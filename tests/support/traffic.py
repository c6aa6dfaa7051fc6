"""Jobs of one tenant that are there, and jobs that come and go: something to be read, acted on and followed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

from arqway.workers.client import Batches, BatchItem, JobQueue

NOWHERE = "https://127.0.0.1:1/hook"
_EACH = 8
_LATER = timedelta(hours=1)
_PAUSE = timedelta(milliseconds=200)


class Seeds(NamedTuple):
    """The ids of what there is."""

    jobs: list[str]
    """Some that succeeded, some that failed and have a delivery, some that wait for long."""
    batches: list[str]
    reports: list[str]


async def sow(queue: JobQueue, tenant: str) -> Seeds:
    """Submit jobs of ``tests.support.http_jobs``, and return once those that end have ended; a worker must run."""

    async def submit(kind: str, payload: bytes, delay: timedelta | None = None, callback_url: str | None = None) -> str:
        accepted = await queue.submit_json(kind, payload, tenant=tenant, delay=delay, callback_url=callback_url)
        return accepted.record.id

    made = await submit("report.generate", b'{"user_id":5}')
    ended = [made, *[await submit("test.sum", b"[1,2]") for _ in range(_EACH)]]
    ended += [await submit("test.leaky", b'{"user_id":5}', callback_url=NOWHERE) for _ in range(_EACH)]
    waiting = [await submit("test.sum", b"[3]", delay=_LATER) for _ in range(_EACH)]
    for job_id in ended:
        await queue.wait(job_id, timeout_s=10)
    return Seeds(ended + waiting, [await _one_batch(queue, tenant)], [made])


@asynccontextmanager
async def going_on(queue: JobQueue, tenant: str) -> AsyncIterator[None]:
    """Let a tenant's jobs begin and end for the time of the block, so that no stream of events is silent for long."""

    async def go_on() -> None:
        while True:
            await _one_batch(queue, tenant)
            paced = await queue.submit_json("test.sum", b"[1]", tenant=tenant, delay=_PAUSE)
            await queue.wait(paced.record.id, timeout_s=10)
            waiting = await queue.submit_json("test.nothing", b"{}", tenant=tenant, delay=_LATER)
            await queue.cancel(waiting.record.id, tenant=tenant)

    busy = asyncio.create_task(go_on())
    try:
        yield
    finally:
        busy.cancel()


async def _one_batch(queue: JobQueue, tenant: str) -> str:
    """Return the id of a batch that has finished, with a job that succeeded and one that failed."""
    items = [BatchItem("test.sum", b"[1]", {}), BatchItem("test.leaky", b'{"user_id":1}', {})]
    batch = await Batches(queue, tenant).submit(items)
    for number in range(len(items)):
        await queue.wait(f"{batch.id}.{number}", timeout_s=10)
    return batch.id
