"""What has to be in the server before a series begins: keys and jobs, put there by the product's own client."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, SecretStr

from arqway.workers.client import JobQueue, open_queue
from arqway.workers.contract import keys
from arqway.workers.contract.api_key import ALL_SCOPES, Rate
from arqway.workers.settings import Settings
from arqway.workers.store.access import ApiKeys
from arqway.workers.store.connection import open_redis
from benchmarks.http.apps import Order
from benchmarks.http.apps.arqway import JOBS

_AT_A_TIME = 1_000
_MUCH = Rate.of(10_000, 100_000)
"""More than comes, so that each request pays for its limit and none is refused."""


def make_key(url: str) -> Mapping[str, str]:
    """Make an API key that may do everything, and return the header that carries it."""
    return asyncio.run(_make_key(url))


async def _make_key(url: str) -> Mapping[str, str]:
    async with open_redis(url) as redis:
        made = await ApiKeys(redis).create("benchmark", tenant=keys.DEFAULT_TENANT, scopes=ALL_SCOPES, rate=_MUCH)
    assert made is not None  # noqa: S101 - that is for `if_none` only
    return {"Authorization": f"Bearer {made.token.reveal()}"}


def submit(url: str, kind: str, jobs: int, *, payload: BaseModel | None = None, tags: Sequence[str] = ()) -> list[str]:
    """Submit so many jobs of a kind, and return their ids."""
    return asyncio.run(_submit(url, kind, jobs, payload or Order(name="Ada", n=1), tags))


async def _submit(url: str, kind: str, jobs: int, payload: BaseModel, tags: Sequence[str]) -> list[str]:
    async with open_queue(Settings(redis_url=SecretStr(url)), JOBS) as queue:
        ids: list[str] = []
        for start in range(0, jobs, _AT_A_TIME):
            ids += await _submit_some(queue, kind, min(_AT_A_TIME, jobs - start), payload, list(tags))
        return ids


async def _submit_some(queue: JobQueue, kind: str, jobs: int, payload: Any, tags: list[str]) -> list[str]:
    if not tags:
        return await queue.submit_many(JOBS[kind], [payload] * jobs)
    records = await asyncio.gather(*(queue.submit(JOBS[kind], payload, tags=tags) for _ in range(jobs)))
    return [record.id for record in records]
