"""Huey with threads: a job is popped and forgotten, so that a dead worker loses it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from huey import RedisHuey

from benchmarks import marks
from benchmarks.contestants import Client

huey = RedisHuey("benchmarks", url=os.environ["REDIS_URL"])
TASKS = {
    "noop": huey.task(name="noop")(marks.blocking_noop),
    "nap": huey.task(name="nap")(marks.blocking_nap),
}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on the decorated functions."""
    yield Client(submit_blocking=lambda kind, sent_s: TASKS[kind](sent_s))
