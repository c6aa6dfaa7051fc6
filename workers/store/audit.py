"""``AuditLog``: the last actions of operators, about 10,000 of them.

An entry of the stream ``audit`` has the fields of ``AuditEntry``; its time is the entry's id.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from arqway.workers.contract import keys
from arqway.workers.store.connection import store_errors
from arqway.workers.store.facade import Facade

_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action of an operator."""

    action: str
    """The action, e.g. ``queue.pause``."""
    target: str
    """What it was applied to: an id, a name or a filter."""
    count: int = 1
    """Number of objects affected."""
    outcome: str = "done"
    key_id: str
    """Id of the API key; empty if the service requires none, or for the command line."""
    name: str
    """Name of the key, or of the user of the command line."""
    tenant: str
    request_id: str = ""
    at_ms: int = 0
    """Unix milliseconds by the server's clock; set once the entry is written."""

    @classmethod
    def from_entry(cls, entry_id: str, raw: Mapping[str, str]) -> Self:
        """Parse one entry of the stream, ignoring fields of later versions."""
        known = {name: raw[name] for name in _TEXTS if name in raw}
        return cls(**known, count=int(raw["count"]), at_ms=int(entry_id.partition("-")[0]))


_TEXTS = ("action", "target", "outcome", "key_id", "name", "tenant", "request_id")


class AuditLog(Facade):
    """The audit stream."""

    async def write(self, entry: AuditEntry) -> None:
        """Add an entry."""
        written = {name: value for name, value in asdict(entry).items() if name != "at_ms"}
        with store_errors():
            await self.redis.xadd(keys.AUDIT, written, maxlen=_KEPT, approximate=True)  # type: ignore[arg-type]

    async def last(self, count: int) -> list[AuditEntry]:
        """Return the latest ``count`` entries, oldest first."""
        with store_errors():
            entries = await self.redis.xrevrange(keys.AUDIT, count=count)
        return [AuditEntry.from_entry(entry_id.decode(), _decoded(raw)) for entry_id, raw in reversed(entries)]


def _decoded(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in raw.items()}
