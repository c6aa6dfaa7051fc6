"""``Fleet``: the live workers and their state, and the jobs left by dead ones."""

from typing import NamedTuple

from arqway.workers.contract import keys
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.store.connection import Facade, Value, store_errors

_PORTION = 1000
"""Number of ids that one call of the release script examines: about a millisecond of server time."""


class ArqHealth(NamedTuple):
    """arq's own health record, which stock arq tools read. Source: arq 0.28, ``Worker.record_health``."""

    key: str
    queue_key: str
    text: str
    """The record up to the number of queued jobs, which the script appends."""
    life_ms: int


class Fleet(Facade):
    """All workers of one server."""

    async def beat(self, worker: WorkerRecord, *, life_ms: int, arq_health: ArqHealth) -> int:
        """Write the state of ``worker``, valid for ``life_ms``, and arq's health record. Atomic: one script.

        Returns:
            ``started_ms``, to be passed with the next heartbeat; 0 in ``worker`` marks its first heartbeat.
        """
        args: list[Value] = [worker.id, life_ms, worker.started_ms, arq_health.text, arq_health.life_ms]
        for field in worker.to_hash().items():
            args += field
        return int(await self._call("heartbeat", args, [arq_health.queue_key, arq_health.key]))

    async def remove(self, worker_id: str) -> None:
        """Remove a worker that has stopped. Idempotent."""
        await self._pipe([("delete", keys.worker(worker_id)), ("zrem", keys.WORKERS, worker_id)], atomic=False)

    async def read(self) -> list[WorkerRecord]:
        """Return the live workers in order of their ids: those whose last heartbeat has not expired."""
        with store_errors():
            ids = sorted(member.decode() for member in await self.redis.zrange(keys.WORKERS, 0, -1))
        hashes = await self._pipe((("hgetall", keys.worker(worker_id)) for worker_id in ids), atomic=False)
        found = ({name.decode(): value.decode() for name, value in raw.items()} for raw in hashes)
        return [WorkerRecord.from_hash(worker_id, raw) for worker_id, raw in zip(ids, found, strict=True) if raw]

    async def release(self, queue: str, worker_id: str, *, lease_ms: int) -> int:
        """Make the jobs of a dead worker due at once, and return their number.

        Each job is checked and released in one script, so jobs claimed by another worker in the meantime are left
        alone. Jobs move in the queue between portions, so one may be missed; a second call or the end of its lease
        catches it.
        """
        released, skip = 0, 0
        while skip >= 0:
            count, skip = await self._call("release", [lease_ms, worker_id, skip, _PORTION], [keys.queue(queue)])
            released += count
        return released
