"""The workers as Redis knows them: how they are, and what a dead one left. One typed method per Lua script.

As in ``workers.store.jobs``, all methods raise ``StoreUnavailable`` while Redis is away, loading, read-only or full.
"""

from collections.abc import Callable
from typing import NamedTuple

from redis.asyncio import Redis

from arqway.workers.contract import keys
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.store.connection import store_errors
from arqway.workers.store.script import Script, Value

_SERVER_CLOCK = 0
_PORTION = 1000
"""Ids that one call of the release script looks at: about a millisecond of the server's time."""


class ArqHealth(NamedTuple):
    """arq's own health record, which stock arq tools read. Source: arq 0.28, ``Worker.record_health``."""

    key: str
    queue_key: str
    text: str
    """Up to the number of queued jobs, which the script adds."""
    life_ms: int


class Fleet:
    """All workers of one server.

    Args:
        redis: A client that does not decode replies.
        clock: Unix milliseconds, for tests that move time; by default the server's clock rules.
    """

    def __init__(self, redis: Redis, *, clock: Callable[[], int] | None = None) -> None:
        self._redis = redis
        self._clock = clock or (lambda: _SERVER_CLOCK)
        self._heartbeat, self._release = Script("heartbeat"), Script("release")

    async def beat(self, worker: WorkerRecord, *, life_ms: int, arq_health: ArqHealth) -> int:
        """Write how ``worker`` is, for ``life_ms``, and arq's health record. Atomic: one script, one command.

        Returns:
            Its ``started_ms``, to be kept for the next beat; where the given one is 0, this beat is its first.
        """
        args: list[Value] = [self._clock(), worker.id, life_ms, worker.started_ms, arq_health.text, arq_health.life_ms]
        for name, value in worker.to_hash().items():
            args += (name, value)
        with store_errors():
            return int(await self._heartbeat(self._redis, [arq_health.queue_key, arq_health.key], args))

    async def remove(self, worker_id: str) -> None:
        """Forget a worker that has stopped. Safe to repeat."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.delete(keys.worker(worker_id))
                pipe.zrem(keys.WORKERS, worker_id)
                await pipe.execute()

    async def read(self) -> list[WorkerRecord]:
        """Return the workers that live, by id: those whose last beat still counts."""
        with store_errors():
            ids = sorted(member.decode() for member in await self._redis.zrange(keys.WORKERS, 0, -1))
            async with self._redis.pipeline(transaction=False) as pipe:
                for worker_id in ids:
                    pipe.hgetall(keys.worker(worker_id))
                hashes = await pipe.execute()
        found = ({name.decode(): value.decode() for name, value in raw.items()} for raw in hashes)
        return [WorkerRecord.from_hash(worker_id, raw) for worker_id, raw in zip(ids, found, strict=True) if raw]

    async def release(self, queue: str, worker_id: str, *, lease_ms: int) -> int:
        """Make the jobs of a dead worker due at once, and return how many there were.

        Each job is looked at and released in one script, so none that another worker has claimed since is touched.
        Between portions jobs move in the queue, so one may be missed; a second call, or the lease's end, finds it.
        """
        released, skip = 0, 0
        while skip >= 0:
            args: list[Value] = [self._clock(), lease_ms, worker_id, skip, _PORTION]
            with store_errors():
                count, skip = await self._release(self._redis, [keys.queue(queue)], args)
            released += count
        return released
