"""A client of jobs that a test runs by its own hand, and the jobs it submits."""

from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Any, NamedTuple

import pytest

from arqway import JobContext, Registry, job
from arqway.workers.client import JobQueue, open_queue
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.settings import Settings
from arqway.workers.store.attempts import Claim
from arqway.workers.store.jobs import JobStore
from tests.support.jobs import Number, retries
from tests.support.plain_jobs import settlement


@job("hand.first", queue="default", other_queues=["slow"], retry=retries(3))
async def first(ctx: JobContext, payload: Number) -> int:
    """Return the number."""
    return payload.value


@job("hand.second", queue="slow", other_queues=["default"])
async def second(ctx: JobContext, payload: Number) -> int:
    """Return the number."""
    return payload.value


REGISTRY = Registry([first, second])
QUEUES = ("default", "slow")


class ByHand(NamedTuple):
    """A client, and what runs its jobs."""

    queue: JobQueue
    store: JobStore

    @property
    def redis(self) -> Any:
        """The client's connections: a look at the server that goes past our own code."""
        return self.queue.redis

    async def submit(self, count: int = 1, **options: Any) -> list[JobRecord]:
        """Submit jobs of the first kind, one after the other."""
        return [await self.queue.submit(first, Number(value=n), **options) for n in range(count)]

    async def claim(self, want: int = 100, queue: str = "default") -> list[Claim]:
        """Begin what is due."""
        prefix = f"{token_hex(8)}."
        found = await self.store.claim(queue, want=want, lease_ms=60_000, worker="hand", token_prefix=prefix)
        return found.jobs

    async def end(self, *claims: Claim, state: JobState = JobState.SUCCEEDED, fingerprint: str = "f0") -> None:
        """End attempts."""
        answers = await self.store.settle([settlement(claim, state, 0, fingerprint) for claim in claims])
        assert set(answers) <= {"settled"}

    async def run(self, state: JobState = JobState.SUCCEEDED, *, fingerprint: str = "f0") -> None:
        """Run everything that is due, and end it in this state."""
        for queue in QUEUES:
            await self.end(*await self.claim(1_000, queue), state=state, fingerprint=fingerprint)


@pytest.fixture
async def by_hand(settings: Settings) -> AsyncIterator[ByHand]:
    """A client of jobs that the test runs by its own hand."""
    async with open_queue(settings, REGISTRY) as queue:
        yield ByHand(queue, JobStore(queue.redis))
