"""Jobs that a test runs by its own hand: each write to Redis is a call of the test."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from secrets import token_hex

from arqway.workers.contract.keys import DEFAULT_TENANT
from arqway.workers.contract.states import JobState
from arqway.workers.store.attempts import Claim, ProgressWrite, Rest, Settlement
from arqway.workers.store.connection import open_redis
from arqway.workers.store.jobs import BatchOpening, Extras, JobStore, Submission

ENVELOPE = b'{"t":null,"f":"test.hand","a":[{}],"k":{},"et":1}'
FAILURE = json.dumps({"code": "exception", "message": "The job failed."})
_LEASE_MS, _RETENTION_MS = 60_000, 60_000


class HandRun:
    """A worker without a loop of its own."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self._boots = count()

    async def submit(
        self, jobs: int = 1, *, tenant: str = DEFAULT_TENANT, batch: str | None = None, delay_ms: int = 0
    ) -> list[str]:
        """Submit so many jobs, as a batch of this id if one is given, and return their ids."""
        ids = [f"{batch}.{n}" for n in range(jobs)] if batch else [token_hex(8) for _ in range(jobs)]
        extras: Extras | None = {"batch": batch} if batch else None
        opening: BatchOpening | None = {"id": batch, "tenant": tenant, "atomic": True} if batch else None
        submissions = [
            Submission(job_id, "test.hand", "default", ENVELOPE, 3, 0, delay_ms, tenant, extras) for job_id in ids
        ]
        await self.store.submit(submissions, opening)
        return ids

    async def claim(self, want: int = 100) -> list[Claim]:
        """Claim what is due."""
        prefix = f"{next(self._boots)}.{token_hex(4)}."
        claims = await self.store.claim("default", want=want, lease_ms=_LEASE_MS, worker="hand", token_prefix=prefix)
        return claims.jobs

    async def begin(self, *, tenant: str = DEFAULT_TENANT) -> Claim:
        """Submit a job and claim it."""
        (job_id,) = await self.submit(tenant=tenant)
        return next(claim for claim in await self.claim() if claim.id == job_id)

    async def progress(self, claim: Claim, current: int, message: str | None = None) -> None:
        """Report progress."""
        told = json.dumps({"current": current, "total": None, "message": message})
        assert await self.store.write_progress([ProgressWrite(claim.id, claim.token, told)]) == [True]

    async def settle(self, *claims: Claim, state: JobState = JobState.SUCCEEDED) -> None:
        """End attempts, all in one write."""
        assert set(await self.store.settle([_settlement(claim, state) for claim in claims])) == {"settled"}


def _settlement(claim: Claim, state: JobState) -> Settlement:
    rest: Rest | None = (
        {"failure": FAILURE, "event": FAILURE} if state in (JobState.FAILED, JobState.RETRYING) else None
    )
    result = "1" if state is JobState.SUCCEEDED else ""
    return Settlement(claim.id, claim.token, claim.queue, state, _RETENTION_MS, result, rest=rest)


@asynccontextmanager
async def hand_run(redis_url: str) -> AsyncIterator[HandRun]:
    """Give a hand on the server at ``redis_url``."""
    redis = open_redis(redis_url)
    try:
        yield HandRun(JobStore(redis))
    finally:
        await redis.aclose()
