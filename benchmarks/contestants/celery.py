"""Celery with a pool of threads, results in Redis."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from celery import Celery

from benchmarks import marks
from benchmarks.contestants import Client

_URL = os.environ["REDIS_URL"]

app = Celery("benchmarks", broker=_URL, backend=_URL)
TASKS = {
    "noop": app.task(marks.blocking_noop, name="noop"),
    "nap": app.task(marks.blocking_nap, name="nap"),
}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on the application's tasks."""
    yield Client(submit_blocking=lambda kind, sent_s: TASKS[kind].delay(sent_s))
