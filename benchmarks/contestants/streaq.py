"""streaQ: asyncio on Redis streams, made by arq's users after arq."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streaq import Worker

from benchmarks import marks
from benchmarks.contestants import Client

_BULK = 1_000

worker = Worker(redis_url=os.environ["REDIS_URL"], concurrency=100)
TASKS = {"noop": worker.task(marks.noop), "nap": worker.task(marks.nap)}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on the worker's tasks."""

    async def submit(kind: str, sent_s: float) -> None:
        await TASKS[kind].enqueue(sent_s)

    async def submit_many(kind: str, jobs: int) -> None:
        for start in range(0, jobs, _BULK):
            await worker.enqueue_many([TASKS[kind].enqueue(0.0) for _ in range(min(_BULK, jobs - start))])

    async with worker:
        yield Client(submit, submit_many=submit_many)
