"""Workers made as arq users make them, and a stock client beside them."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job

from arqway.workers.engine.worker import JobWorker
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis

MakeWorker = Callable[..., JobWorker]


@pytest.fixture
async def arq(redis_url: str) -> AsyncIterator[ArqRedis]:
    """A stock arq client that speaks JSON."""
    client = open_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def make_worker(settings: Settings) -> AsyncIterator[MakeWorker]:
    """Makes workers as arq users do, a burst by default, and closes them."""
    made: list[JobWorker] = []

    def make(*functions: Any, **options: Any) -> JobWorker:
        defaults = {"burst": True, "handle_signals": False, "poll_delay": 0.02}
        made.append(JobWorker(functions, settings=settings, **{**defaults, **options}))
        return made[-1]

    yield make
    for worker in made:
        await worker.close()


async def submitted(client: ArqRedis, *call: Any, **options: Any) -> Job:
    """Enqueue a job as any arq producer does."""
    job = await client.enqueue_job(*call, **options)
    assert job is not None
    return job


async def add(ctx: dict[str, Any], a: int, *, b: int = 0) -> int:
    """Add."""
    return a + b


async def fail(ctx: dict[str, Any]) -> None:
    """Fail."""
    raise ValueError("secret")
