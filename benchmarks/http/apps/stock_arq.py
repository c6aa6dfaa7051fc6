"""FastAPI and arq as it comes: one pool, ``enqueue_job`` in an ``async def`` endpoint."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job
from fastapi import FastAPI, HTTPException, Request

from benchmarks.http.apps import PATH, Order, State


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    yield
    await app.state.pool.aclose()


app = FastAPI(lifespan=_lifespan)


def _pool(request: Request) -> ArqRedis:
    pool: ArqRedis = request.app.state.pool
    return pool


@app.post(PATH, status_code=202)
async def submit(order: Order, request: Request) -> State:
    """Enqueue a job."""
    job = await _pool(request).enqueue_job("noop", order.model_dump())
    if job is None:
        raise HTTPException(409)
    return State(id=job.job_id, state="queued")


@app.get("/jobs/{job_id}")
async def read(job_id: str, request: Request) -> State:
    """Ask for the job's status."""
    return State(id=job_id, state=await Job(job_id, _pool(request)).status())
