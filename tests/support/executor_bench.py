"""An executor on a real server whose clock the test moves, and jobs that do what the test says."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from arqway import JobContext, JobDefinition, JobQueue, Registry, job
from arqway.workers.contract.record import JobRecord
from arqway.workers.runners.executor import Executor
from arqway.workers.settings import Settings
from arqway.workers.store.attempts import Claim
from arqway.workers.store.connection import open_redis
from arqway.workers.store.jobs import JobStore, Submission
from tests.support.jobs import Empty
from tests.support.plain_jobs import RETENTION_MS
from tests.support.waiting import wait_until

LEASE_MS = 10_000
QUEUE = "default"


class Bench:
    """A store whose clock the test moves, and executors on it."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.now_ms = int(time.time() * 1000)
        self._count = 0

    def executor(self, *jobs: JobDefinition[Any, Any], **limits: Any) -> Executor:
        """Return an executor that knows these jobs."""
        usual = {"max_rescues": 3, "unknown_kind_s": 60, "cancel_grace_s": 0.05, "retention_s": RETENTION_MS / 1000}
        registry = {definition.kind: definition for definition in jobs}
        queue = JobQueue(self.store, Registry(jobs), Settings())
        settings = Settings(**{**usual, **limits})
        return Executor(self.store, registry, "resources", settings, queue=queue, arq_result_ms=RETENTION_MS)

    async def claimed(self, definition: JobDefinition[Any, Any], payload: bytes = b"{}", **extras: Any) -> Claim:
        """Submit a job, and claim it."""
        self._count += 1
        envelope = b'{"f":"%b","a":[%b],"k":{},"et":1}' % (definition.kind.encode(), payload)
        tries = definition.retry.max_attempts
        job_id = f"job{self._count}"
        await self.store.submit([Submission(job_id, definition.kind, QUEUE, envelope, tries, extras=extras or None)])  # type: ignore[arg-type]
        return await self.claim()

    async def claim(self) -> Claim:
        """Claim the one job that is due."""
        self._count += 1
        prefix = f"t{self._count}."
        found = await self.store.claim(QUEUE, want=10, lease_ms=LEASE_MS, worker="w", token_prefix=prefix)
        (claim,) = found.jobs
        return claim

    async def claim_again(self) -> Claim:
        """Claim the job that runs once its lease has run out."""
        self.now_ms += LEASE_MS + 1
        return await self.claim()

    async def ask_to_cancel(self, job_id: str) -> None:
        """Ask as a person does, without telling the executor."""
        assert (await self.store.cancel(job_id, retention_ms=RETENTION_MS)).reason == "asked"

    async def read(self, job_id: str) -> JobRecord:
        """Return the job's record."""
        record = await self.store.read(job_id)
        assert record is not None
        return record

    async def run(self, executor: Executor, claim: Claim) -> JobRecord:
        """Run a claimed job to its end, and return its record."""
        await asyncio.wait(executor.start([claim]).values())
        return await self.settled(executor, claim.id)

    async def settled(self, executor: Executor, job_id: str) -> JobRecord:
        """Return the job's record once nothing of it is left in the executor."""
        await wait_until(lambda: job_id not in executor.running, "the outcome is written")
        await executor.drained()
        return await self.read(job_id)

    async def end(self, record: JobRecord) -> None:
        """Cancel a job that still waits, so that nothing is left behind."""
        assert (await self.store.cancel(record.id, retention_ms=RETENTION_MS)).reason == "cancelled"


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    """A bench on an empty server."""
    redis = open_redis(redis_url)
    made = Bench(JobStore(redis, clock=lambda: made.now_ms))
    yield made
    await redis.aclose(close_connection_pool=True)


def failure_of(record: JobRecord) -> str:
    """Return the code of a job's failure."""
    assert record.failure is not None
    return record.failure.code


def that(function: Callable[[], Any], **options: Any) -> JobDefinition[Empty, Any]:
    """Return a job that does what ``function`` does."""

    @job("test.that", **options)
    async def do(ctx: JobContext, payload: Empty) -> Any:
        answer = function()
        return await answer if asyncio.iscoroutine(answer) else answer

    return do


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()
