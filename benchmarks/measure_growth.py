"""What a script costs the server when few jobs wait, and when many do: our own scripts alone, without a worker."""

import asyncio
from collections.abc import Awaitable
from statistics import median
from typing import Any
from uuid import uuid4

from arqway.workers.contract.states import JobState
from arqway.workers.store.attempts import Claims, Settlement
from arqway.workers.store.connection import open_redis
from arqway.workers.store.jobs import JobStore, Submission
from benchmarks.measure import Figures
from benchmarks.server import Server
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage

_BATCH = 100
_FILL = 1_000
_FILLERS = 4
_WARM_UP_ROUNDS = 5
_LEASE_MS = 600_000
_ENVELOPE = b'{"t":null,"f":"noop","a":[{"sent_s":0.0}],"k":{},"et":1}'
_KEPT_MS = 3_600_000


def growth(stage: Stage, sizes: Sizes, run: int) -> Figures:
    """Time batches of a hundred: submit, claim, settle, so that the queue is as long afterwards as before."""
    return asyncio.run(_growth(stage.server, sizes))


async def _growth(server: Server, sizes: Sizes) -> Figures:
    redis = open_redis(server.url)
    try:
        rounds = _Rounds(JobStore(redis), server)
        await rounds.fill(sizes.few_waiting)
        few = await rounds.costs(sizes.rounds)
        few_bytes = server.memory_bytes()
        await rounds.fill(sizes.many_waiting)
        added_bytes = server.memory_bytes() - few_bytes
        many = await rounds.costs(sizes.rounds)
        return {
            **{f"{name}_us_few": cost for name, cost in few.items()},
            **{f"{name}_us_many": cost for name, cost in many.items()},
            "waiting_bytes_per_job": added_bytes / (sizes.many_waiting - sizes.few_waiting),
        }
    finally:
        await redis.aclose()


class _Rounds:
    def __init__(self, store: JobStore, server: Server) -> None:
        self._store = store
        self._server = server
        self._waiting = 0
        self._claims = 0

    async def costs(self, rounds: int) -> Figures:
        """Return the median cost of each script, in µs of server time for a job."""
        for _ in range(_WARM_UP_ROUNDS):
            await self._round()
        costs = [await self._round() for _ in range(rounds)]
        return {name: median(cost[name] for cost in costs) for name in costs[0]}

    async def fill(self, waiting: int) -> None:
        """Submit until so many jobs wait."""
        while self._waiting < waiting:
            jobs = min(_FILL, (waiting - self._waiting) // _FILLERS or 1)
            fillers = min(_FILLERS, (waiting - self._waiting) // jobs)
            await asyncio.gather(*(self._store.submit(_submissions(jobs)) for _ in range(fillers)))
            self._waiting += jobs * fillers

    async def _round(self) -> Figures:
        _, submit_us = await self._timed(self._store.submit(_submissions(_BATCH)))
        claims, claim_us = await self._timed(self._claim())
        _, settle_us = await self._timed(self._store.settle(_settlements(claims)))
        return {"submit": submit_us, "claim": claim_us, "settle": settle_us}

    async def _claim(self) -> Claims:
        self._claims += 1
        prefix = f"growth.{self._claims}."
        return await self._store.claim("default", want=_BATCH, lease_ms=_LEASE_MS, worker="growth", token_prefix=prefix)

    async def _timed(self, call: Awaitable[Any]) -> tuple[Any, float]:
        before = self._server.counters()
        answer = await call
        return answer, self._server.counters().since(before).usec["evalsha"] / _BATCH


def _submissions(jobs: int) -> list[Submission]:
    return [Submission(uuid4().hex, "noop", "default", _ENVELOPE, 1) for _ in range(jobs)]


def _settlements(claims: Claims) -> list[Settlement]:
    return [
        Settlement(
            claim.id,
            claim.token,
            claim.queue,
            JobState.SUCCEEDED,
            result_json=b"null",
            arq_result=b"{}",
            keep_result_ms=_KEPT_MS,
            retention_ms=_KEPT_MS,
        )
        for claim in claims.jobs
    ]
