"""What a worker says about itself, and how it lies in the hash ``worker:{id}``.

====================  ================================================================================
field                 value
====================  ================================================================================
``host, pid``         where it runs
``version``           of Arqway
``queues, kinds``     JSON: the queues it serves, and the jobs it knows
``max_jobs``          jobs it runs at a time
``running``           jobs it runs now
``settled, failed``   attempts it has ended since its start, and those of them after which a job was failed
``loop_lag_ms``       how long its event loop has not turned
``stalled``           1 where that is beyond the stall limit: its leases run out; else 0
``unready``           why it claims no jobs; absent while it does
``started_ms``        its first beat: Unix milliseconds by the clock of the Redis server, as ``beat_ms``
``beat_ms``           its last beat
====================  ================================================================================
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """How a worker was at its last beat. A worker that is gone has no record."""

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
        """Return the fields that a worker writes; the two times are the server's to write."""
        return {name: _encode(value) for name in _WRITTEN if (value := getattr(self, name)) is not None}

    @classmethod
    def from_hash(cls, worker_id: str, raw: Mapping[str, str]) -> Self:
        """Read the fields of ``worker:{id}``; fields of a later version of the contract are passed over."""
        known: dict[str, Any] = {name: _DECODERS.get(name, int)(text) for name, text in raw.items() if name in _FIELDS}
        return cls(id=worker_id, **known)


_FIELDS = tuple(field.name for field in fields(WorkerRecord) if field.name != "id")
_WRITTEN = tuple(name for name in _FIELDS if name not in {"started_ms", "beat_ms"})


def _encode(value: Any) -> str:
    if isinstance(value, tuple):
        return json.dumps(value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def _names(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _flag(text: str) -> bool:
    return text == "1"


_DECODERS: Mapping[str, Any] = {
    **dict.fromkeys(["host", "version", "unready"], str),
    **dict.fromkeys(["queues", "kinds"], _names),
    "stalled": _flag,
}
