"""A worker's report about itself, and its representation in the hash ``worker:{id}``.

====================  ================================================================================
field                 value
====================  ================================================================================
``host, pid``         host name and process id
``version``           version of Arqway
``queues, kinds``     JSON lists: the queues it serves and the kinds of job it knows
``max_jobs``          maximum number of concurrent jobs
``running``           jobs running now
``settled, failed``   attempts settled since it started, and how many of these left their job failed
``loop_lag_ms``       how long its event loop has been blocked
``stalled``           1 if the lag exceeds the stall limit, so that its leases expire; else 0
``unready``           why it claims no jobs; absent while it does
``started_ms``        first heartbeat: Unix milliseconds by the clock of the Redis server, as ``beat_ms``
``beat_ms``           last heartbeat
====================  ================================================================================
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """A worker's state as of its last heartbeat. A worker that is gone has no record."""

    id: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    kinds: tuple[str, ...]
    max_jobs: int
    running: int = 0
    settled: int = 0
    failed: int = 0
    loop_lag_ms: int = 0
    stalled: bool = False
    unready: str | None = None
    started_ms: int = 0
    beat_ms: int = 0

    def to_hash(self) -> dict[str, str]:
        """Return the fields that a worker writes; the server sets the two times."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_WRITTEN}
        values |= {"queues": json.dumps(self.queues), "kinds": json.dumps(self.kinds), "stalled": int(self.stalled)}
        return {name: str(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_hash(cls, worker_id: str, raw: Mapping[str, str]) -> Self:
        """Read the fields of ``worker:{id}``, ignoring fields of later versions of the contract."""
        known: dict[str, Any] = {name: _DECODERS[name](text) for name, text in raw.items() if name in _DECODERS}
        return cls(id=worker_id, **known)


_NOT_WRITTEN = {"id", "started_ms", "beat_ms"}
_DECODERS: Mapping[str, Callable[[str], Any]] = {
    **{f.name: int for f in fields(WorkerRecord) if f.type is int},
    **dict.fromkeys(["host", "version", "unready"], str),
    **dict.fromkeys(["queues", "kinds"], lambda text: tuple(json.loads(text))),
    "stalled": lambda text: text == "1",
}
