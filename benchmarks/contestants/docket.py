"""Docket: asyncio on Redis streams."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from docket import Docket

from benchmarks import marks
from benchmarks.contestants import Client

_BULK = 1_000

tasks = [marks.noop, marks.nap]
_BY_NAME = {"noop": marks.noop, "nap": marks.nap}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on a docket."""
    async with Docket(name="benchmarks", url=os.environ["REDIS_URL"]) as docket:
        for task in tasks:
            docket.register(task)

        async def submit_many(kind: str, jobs: int) -> None:
            for start in range(0, jobs, _BULK):
                await docket.add_many([docket.call(_BY_NAME[kind])(0.0) for _ in range(min(_BULK, jobs - start))])

        yield Client(lambda kind, sent_s: docket.add(_BY_NAME[kind])(sent_s), submit_many=submit_many)
