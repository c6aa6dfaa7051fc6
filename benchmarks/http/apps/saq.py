"""FastAPI and SAQ: ``enqueue`` and ``job`` of its queue in ``async def`` endpoints."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from saq import Queue

from benchmarks.http.apps import PATH, Order, State

_QUEUE = Queue.from_url(os.environ["REDIS_URL"])


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    await _QUEUE.connect()
    yield
    await _QUEUE.disconnect()


app = FastAPI(lifespan=_lifespan)


@app.post(PATH, status_code=202)
async def submit(order: Order) -> State:
    """Enqueue a job."""
    job = await _QUEUE.enqueue("noop", **order.model_dump())
    if job is None:
        raise HTTPException(409)
    return State(id=job.key, state="queued")


@app.get("/jobs/{job_id}")
async def read(job_id: str) -> State:
    """Read the job."""
    job = await _QUEUE.job(job_id)
    if job is None:
        raise HTTPException(404)
    return State(id=job_id, state=job.status)
