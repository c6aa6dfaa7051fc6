"""Taskiq on a Redis stream, which gives jobs of dead workers out again, with its Redis result backend."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks import marks
from benchmarks.contestants import Client

_URL = os.environ["REDIS_URL"]

# From "0" on: jobs that were sent before the first worker made its group would be passed over otherwise.
broker = RedisStreamBroker(_URL, consumer_id="0").with_result_backend(
    RedisAsyncResultBackend(_URL, result_ex_time=3600)
)
TASKS = {
    "noop": broker.register_task(marks.noop, task_name="noop"),
    "nap": broker.register_task(marks.nap, task_name="nap"),
}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on the broker."""
    await broker.startup()
    try:
        yield Client(lambda kind, sent_s: TASKS[kind].kiq(sent_s))
    finally:
        await broker.shutdown()
