"""The floor: the least a Python worker can do for a job. No record, events, fencing, retries, time limits or logs.

Ids wait in a list and payloads beside it. One script takes a hundred jobs and notes that they are under way; another
writes the results of all that have ended. ``python -m benchmarks.contestants.floor`` runs each job in a task of its
own; with ``inline`` one after the other, which no worker could offer to jobs that wait.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import uvloop
from redis.asyncio import Redis

from benchmarks import marks
from benchmarks.contestants import Client

_SLOTS = 100
_BULK = 1_000
_FUNCTIONS: dict[str, Callable[[float], Awaitable[object]]] = {"noop": marks.noop, "nap": marks.nap}

_TAKE = """
local ids = redis.call('LPOP', 'floor:waiting', ARGV[1])
if not ids then return {} end
local scores, keys = {}, {}
for i, id in ipairs(ids) do
  scores[2 * i - 1], scores[2 * i], keys[i] = ARGV[2], id, 'floor:job:' .. id
end
redis.call('ZADD', 'floor:active', unpack(scores))
return { ids, redis.call('MGET', unpack(keys)) }
"""
_FINISH = """
local ids, keys = {}, {}
for i = 1, #ARGV, 2 do
  ids[#ids + 1], keys[#keys + 1] = ARGV[i], 'floor:job:' .. ARGV[i]
  redis.call('SET', 'floor:result:' .. ARGV[i], ARGV[i + 1], 'EX', 3600)
end
redis.call('DEL', unpack(keys))
redis.call('ZREM', 'floor:active', unpack(ids))
"""


class Floor:
    """The worker."""

    def __init__(self, redis: "Redis", *, inline: bool) -> None:
        self._redis = redis
        self._inline = inline
        self._take = redis.register_script(_TAKE)
        self._finish = redis.register_script(_FINISH)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[str | bytes] = []
        self._writer: asyncio.Task[None] | None = None
        self._freed = asyncio.Event()

    async def run(self) -> None:
        """Serve until the process ends."""
        while True:
            free = _SLOTS - len(self._tasks)
            found = await self._take(args=[free, int(asyncio.get_running_loop().time())]) if free else []
            if found:
                await self._start(found)
            elif self._tasks:
                self._freed.clear()
                await self._freed.wait()
            else:
                await self._redis.blpop(["floor:wake"], timeout=1)  # type: ignore[misc]

    async def _start(self, found: list[list[bytes]]) -> None:
        for job_id, payload in zip(*found, strict=True):
            if self._inline:
                await self._perform(job_id, payload)
            else:
                task = asyncio.create_task(self._perform(job_id, payload))
                self._tasks.add(task)
                task.add_done_callback(self._free)

    async def _perform(self, job_id: bytes, payload: bytes) -> None:
        kind, sent_s = json.loads(payload)
        self._ended += (job_id, json.dumps(await _FUNCTIONS[kind](sent_s)))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    def _free(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._freed.set()

    async def _write(self) -> None:
        while self._ended:
            batch, self._ended = self._ended[: 4 * _SLOTS], self._ended[4 * _SLOTS :]
            await self._finish(args=batch)
        self._writer = None


def _redis() -> "Redis":
    redis: Redis = Redis.from_url(os.environ["REDIS_URL"])
    return redis


async def _serve() -> None:
    async with _redis() as redis:
        await Floor(redis, inline="inline" in sys.argv).run()


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Give a client that writes what the worker reads."""
    async with _redis() as redis:

        async def submit(kind: str, sent_s: float, jobs: int = 1) -> None:
            async with redis.pipeline(transaction=False) as pipe:
                for _ in range(jobs):
                    job_id = uuid4().hex
                    pipe.set(f"floor:job:{job_id}", json.dumps((kind, sent_s)), ex=86_400)
                    pipe.rpush("floor:waiting", job_id)
                pipe.rpush("floor:wake", 1)
                pipe.ltrim("floor:wake", 0, 0)
                await pipe.execute()

        async def submit_many(kind: str, jobs: int) -> Any:
            for start in range(0, jobs, _BULK):
                await submit(kind, 0, min(_BULK, jobs - start))

        yield Client(submit, submit_many=submit_many)


if __name__ == "__main__":
    uvloop.run(_serve())
