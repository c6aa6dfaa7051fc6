"""What happened to a job, as entries of the stream ``job-events:{id}``.

============  ==========================================================================
field         value
============  ==========================================================================
``name``      a ``JobState``, or ``progress``
``attempt``   the attempt it belongs to; 0 before the first
``data``      JSON object; for ``progress`` the progress, for ``failed`` and ``retrying``
              ``{"code", "message"}``; else absent
============  ==========================================================================

The entry's id is Redis's own: ``<ms>-<n>``, rising within a job.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

PROGRESS = "progress"
EVENTS_KEPT = 256
"""About so many of a job's latest events are kept; the record always holds the present."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One entry of a job's stream."""

    id: str
    name: str
    attempt: int
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def at_ms(self) -> int:
        """When it was written: Unix milliseconds by the server's clock."""
        return int(self.id.partition("-")[0])

    @classmethod
    def from_entry(cls, entry_id: str, raw: Mapping[str, str]) -> Self:
        """Read one stream entry."""
        return cls(entry_id, raw["name"], int(raw["attempt"]), json.loads(raw.get("data", "{}")))
