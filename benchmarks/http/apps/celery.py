"""FastAPI and Celery as the tutorials have it: ``.delay()`` in a ``def`` endpoint, so in a thread of FastAPI's pool."""

import os

from celery import Celery
from fastapi import FastAPI

from benchmarks.http.apps import PATH, Order, State

_URL = os.environ["REDIS_URL"]

celery = Celery("benchmarks", broker=_URL, backend=_URL)
app = FastAPI()


def _noop(order: dict[str, object]) -> None:
    """Do nothing."""


NOOP = celery.task(name="noop")(_noop)


@app.post(PATH, status_code=202)
def submit(order: Order) -> State:
    """Send a task."""
    return State(id=NOOP.delay(order.model_dump()).id, state="queued")


@app.get("/jobs/{job_id}")
def read(job_id: str) -> State:
    """Ask the result backend."""
    return State(id=job_id, state=celery.AsyncResult(job_id).status)
