"""``AuditLog``: what operators did, the last 10,000 times or so.

An entry of the stream ``audit`` has the fields of ``AuditEntry``; when it was is the entry's id.
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
    """One action: who did what to what, to how many, and how it went."""

    action: str
    """What was done, e.g. ``queue.pause``."""
    target: str
    """To what: an id, a name, a filter."""
    count: int = 1
    """To how many."""
    outcome: str = "done"
    key_id: str
    """Of the API key; empty where there was none: the service asked for none, or it was the command line."""
    name: str
    """Of the key, or of the user of the command line."""
    tenant: str
    request_id: str = ""
    at_ms: int = 0
    """Unix milliseconds by the server's clock, once it is written."""

    @classmethod
    def from_entry(cls, entry_id: str, raw: Mapping[str, str]) -> Self:
        """Read one entry of the stream; fields of a later version are passed over."""
        known = {name: raw[name] for name in _TEXTS if name in raw}
        return cls(**known, count=int(raw["count"]), at_ms=int(entry_id.partition("-")[0]))


_TEXTS = ("action", "target", "outcome", "key_id", "name", "tenant", "request_id")


class AuditLog(Facade):
    """The stream."""

    async def write(self, entry: AuditEntry) -> None:
        """Add an entry."""
        written = {name: value for name, value in asdict(entry).items() if name != "at_ms"}
        with store_errors():
            await self.redis.xadd(keys.AUDIT, written, maxlen=_KEPT, approximate=True)  # type: ignore[arg-type]

    async def last(self, count: int) -> list[AuditEntry]:
        """Return the latest entries, the oldest of them first."""
        with store_errors():
            entries = await self.redis.xrevrange(keys.AUDIT, count=count)
        return [AuditEntry.from_entry(entry_id.decode(), _decoded(raw)) for entry_id, raw in reversed(entries)]


def _decoded(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in raw.items()}
