"""FastAPI alone: the payload is validated and an answer written, and nothing is done. No queue can be faster."""

from fastapi import FastAPI

from benchmarks.http.apps import PATH, Order, State

app = FastAPI()

_ID = "0" * 32


@app.post(PATH, status_code=202)
async def submit(order: Order) -> State:
    """Accept an order, and forget it."""
    return State(id=_ID, state="queued")


@app.get("/jobs/{job_id}")
async def read(job_id: str) -> State:
    """Say that it waits."""
    return State(id=job_id, state="queued")
