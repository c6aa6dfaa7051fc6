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
from collections.abc import Mapping
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
        return {name: _encode(value) for name in _WRITTEN if (value := getattr(self, name)) is not None}

    @classmethod
    def from_hash(cls, worker_id: str, raw: Mapping[str, str]) -> Self:
        """Read the fields of ``worker:{id}``, ignoring fields of later versions of the contract."""
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
