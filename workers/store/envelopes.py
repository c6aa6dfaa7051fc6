"""Envelopes as written by arq producers: finding, reading, and replacing those that have not changed since."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from arqway.workers.contract import keys
from arqway.workers.store.connection import Facade, Value, store_errors

_PORTION = 200
_LOOKED_AT = 1_000
_PICKLE = b"\x80"
"""First byte of a pickle of protocol 2 or later, never of JSON. Source: Python, ``pickletools``, opcode ``PROTO``."""


class Replacement(NamedTuple):
    """An envelope that is to replace another one."""

    job_id: str
    old: bytes
    new: bytes


class Envelopes(Facade):
    """The envelopes under ``arq:job:*``."""

    async def ids(self, queue_key: str | None) -> AsyncIterator[list[str]]:
        """Yield the ids of the jobs in a queue (None: of all jobs with an envelope), in portions, each id once.

        Jobs added or removed in the meantime may be missed. Source: Redis documentation, "SCAN", guarantees.
        """
        seen: set[str] = set()
        cursor: int | None = None
        while cursor != 0:
            with store_errors():
                cursor, found = await self._scan(queue_key, cursor or 0)
            new = [job_id for job_id in dict.fromkeys(found) if job_id not in seen]
            seen.update(new)
            for start in range(0, len(new), _PORTION):
                yield new[start : start + _PORTION]

    async def read(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Return the envelope of each job; None for a job without one."""
        with store_errors():
            return await self.redis.mget([keys.envelope(job_id) for job_id in job_ids]) if job_ids else []

    async def replace(self, changes: Sequence[Replacement], *, dry_run: bool) -> list[str]:
        """Replace envelopes. Returns for each: ``replaced``, ``running``, or ``changed`` since it was read.

        Atomic: one script. A dry run returns the same but writes nothing.
        """
        args: list[Value] = [int(dry_run)]
        for change in changes:
            args += change
        return [answer.decode() for answer in await self._call("replace_envelope", args)] if changes else []

    async def count_pickled(self, queue_key: str) -> int:
        """Count the pickled envelopes among the next 1,000 jobs of a queue."""
        with store_errors():
            ids = [member.decode() for member in await self.redis.zrange(queue_key, 0, _LOOKED_AT - 1)]
        return sum(envelope is not None and envelope.startswith(_PICKLE) for envelope in await self.read(ids))

    async def _scan(self, queue_key: str | None, cursor: int) -> tuple[int, list[str]]:
        if queue_key is not None:
            cursor, members = await self.redis.zscan(queue_key, cursor, count=_PORTION)
            return int(cursor), [job_id.decode() for job_id, _ in members]
        cursor, names = await self.redis.scan(cursor, match=f"{keys.ENVELOPE_PREFIX}*", count=_PORTION)
        return int(cursor), [name.decode().removeprefix(keys.ENVELOPE_PREFIX) for name in names]
