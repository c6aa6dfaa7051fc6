"""Jobs that wait for a commit, and the threads of synchronous clients."""

import threading
from typing import Any

from sqlalchemy import text

from arqway import JobNotFound, JobQueue, Registry
from arqway.workers.client import PendingJob
from tests.support.jobs import Number, double

JOBS = Registry([double])
INSERT = text("INSERT INTO orders DEFAULT VALUES")


async def is_known(jobs: JobQueue, pending: PendingJob) -> bool:
    """Tell whether the job was accepted."""
    try:
        await jobs.read(pending.id)
    except JobNotFound:
        return False
    return True


async def hold(jobs: JobQueue, session: Any, value: int = 1, **options: Any) -> PendingJob:
    """Submit a job after the session's commit."""
    return await jobs.submit(double, Number(value=value), after_commit=session, **options)


def background_threads() -> list[threading.Thread]:
    """Return the threads of all clients of this process."""
    return [thread for thread in threading.enumerate() if thread.name == "arqway-client"]
