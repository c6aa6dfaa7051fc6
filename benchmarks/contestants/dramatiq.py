"""Dramatiq: threads, acknowledged after the run, no result stored (its default)."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks import marks
from benchmarks.contestants import Client

broker = RedisBroker(url=os.environ["REDIS_URL"])
dramatiq.set_broker(broker)
ACTORS = {
    "noop": dramatiq.actor(marks.blocking_noop, actor_name="noop"),
    "nap": dramatiq.actor(marks.blocking_nap, actor_name="nap"),
}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client on the actors."""
    yield Client(submit_blocking=lambda kind, sent_s: ACTORS[kind].send(sent_s))
