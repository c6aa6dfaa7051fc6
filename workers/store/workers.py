"""``Fleet``: the workers as Redis knows them, how each of them is, and what a dead one left."""

from typing import NamedTuple

from arqway.workers.contract import keys
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.store.connection import store_errors
from arqway.workers.store.facade import Facade
from arqway.workers.store.script import Value

_PORTION = 1000
"""Ids that one call of the release script looks at: about a millisecond of the server's time."""


class ArqHealth(NamedTuple):
    """arq's own health record, which stock arq tools read. Source: arq 0.28, ``Worker.record_health``."""

    key: str
    queue_key: str
    text: str
    """Up to the number of queued jobs, which the script adds."""
    life_ms: int


class Fleet(Facade):
    """All workers of one server."""

    async def beat(self, worker: WorkerRecord, *, life_ms: int, arq_health: ArqHealth) -> int:
        """Write how ``worker`` is, for ``life_ms``, and arq's health record. Atomic: one script, one command.

        Returns:
            Its ``started_ms``, to be kept for the next beat; where the given one is 0, this beat is its first.
        """
        args: list[Value] = [worker.id, life_ms, worker.started_ms, arq_health.text, arq_health.life_ms]
        for name, value in worker.to_hash().items():
            args += (name, value)
        return int(await self._call("heartbeat", args, [arq_health.queue_key, arq_health.key]))

    async def remove(self, worker_id: str) -> None:
        """Forget a worker that has stopped. Safe to repeat."""
        await self._pipe([("delete", keys.worker(worker_id)), ("zrem", keys.WORKERS, worker_id)], atomic=False)

    async def read(self) -> list[WorkerRecord]:
        """Return the workers that live, by id: those whose last beat still counts."""
        with store_errors():
            ids = sorted(member.decode() for member in await self.redis.zrange(keys.WORKERS, 0, -1))
        hashes = await self._pipe((("hgetall", keys.worker(worker_id)) for worker_id in ids), atomic=False)
        found = ({name.decode(): value.decode() for name, value in raw.items()} for raw in hashes)
        return [WorkerRecord.from_hash(worker_id, raw) for worker_id, raw in zip(ids, found, strict=True) if raw]

    async def release(self, queue: str, worker_id: str, *, lease_ms: int) -> int:
        """Make the jobs of a dead worker due at once, and return how many there were.

        Each job is looked at and released in one script, so none that another worker has claimed since is touched.
        Between portions jobs move in the queue, so one may be missed; a second call, or the lease's end, finds it.
        """
        released, skip = 0, 0
        while skip >= 0:
            count, skip = await self._call("release", [lease_ms, worker_id, skip, _PORTION], [keys.queue(queue)])
            released += count
        return released
