"""A worker inside the test's process and event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import Signals

from arqway.workers.engine.worker import JobWorker
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings


@asynccontextmanager
async def running_worker(registry: Registry, settings: Settings) -> AsyncIterator[JobWorker]:
    """Run a worker for the time of the block; what it could not finish is handed back."""
    worker = JobWorker(registry=registry, settings=settings, handle_signals=False)
    run = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        worker.handle_sig(Signals.SIGTERM)
        await run
        await worker.close()
