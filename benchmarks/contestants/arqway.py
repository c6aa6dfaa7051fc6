"""Our engine as shipped: record, events, fencing, JSON, validated payloads and results, default settings and logs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel

from arqway import JobContext, Registry, job
from arqway.workers.client import open_queue
from arqway.workers.settings import Settings, read_settings
from benchmarks import marks
from benchmarks.contestants import Client

_BULK = 1_000


class Sent(BaseModel):
    """The payload of every job."""

    sent_s: float


@job("noop")
async def noop(ctx: JobContext, payload: Sent) -> None:
    """Do nothing."""
    await marks.noop(payload.sent_s)


@job("nap")
async def nap(ctx: JobContext, payload: Sent) -> None:
    """Wait a little."""
    await marks.nap(payload.sent_s)


@job("compute")
async def compute(ctx: JobContext, payload: Sent) -> None:
    """Compute a little."""
    await marks.compute(payload.sent_s)


JOBS = Registry([noop, nap, compute])


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on the product's own ``JobQueue``."""
    async with open_queue(read_settings(Settings), JOBS) as queue:
        together: Any = getattr(queue, "submit_many", None)

        async def submit(kind: str, sent_s: float) -> None:
            await queue.submit(JOBS[kind], Sent(sent_s=sent_s))

        async def submit_many(kind: str, jobs: int) -> None:
            for start in range(0, jobs, _BULK):
                payloads = [Sent(sent_s=0) for _ in range(min(_BULK, jobs - start))]
                if together is not None:
                    await together(JOBS[kind], payloads)
                else:  # calls at one time share their round trips
                    await asyncio.gather(*(queue.submit(JOBS[kind], payload) for payload in payloads))

        yield Client(submit, submit_many=submit_many)
