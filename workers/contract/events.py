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

The same events stand in the feed of the job's tenant, the stream ``feed:{tenant}``, one entry for all that one script
wrote: its field ``events`` holds lines ``{job id} {event id} {name} {attempt}[ {data}]``. Besides, a submission gives
a line there, ``queued`` or ``scheduled`` with the event id ``{created_ms}-0``; and the end of a batch, ``finished``
with the batch's id in place of a job's and its counts as data.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Self

from arqway.workers.contract.states import TERMINAL_STATES, JobState

PROGRESS, FINISHED = "progress", "finished"
EVENT_NAMES = frozenset({*JobState, PROGRESS, FINISHED})
EVENTS_KEPT = 256
"""About so many of a job's latest events are kept; the record always holds the present."""
FEED_KEPT = 2_000
"""About so many of the latest entries of a tenant's feed are kept, for an hour after the last."""
START = "0-0"
"""Before every event: what an empty stream ends with."""

_SUBMITTED = frozenset({JobState.QUEUED, JobState.SCHEDULED})
_DELIVERY = ".webhook"


class JobEvent(NamedTuple):
    """Something that happened to a job."""

    job_id: str
    id: str
    name: str
    attempt: int
    data_json: str = ""
    """Empty where the event has no data."""

    @property
    def at_ms(self) -> int:
        """When it was written: Unix milliseconds by the server's clock."""
        return int(self.id.partition("-")[0])

    @property
    def data(self) -> dict[str, Any]:
        """What it says besides its name."""
        return json.loads(self.data_json) if self.data_json else {}

    @property
    def order(self) -> tuple[int, int]:
        """What a job's events rise by; their ids as texts do not."""
        return order_of(self.id)

    @property
    def ends(self) -> bool:
        """Whether its job has ended with it."""
        return self.name in TERMINAL_STATES

    @property
    def submits(self) -> bool:
        """Whether it is the submission itself, which stands in a feed only."""
        return self.attempt == 0 and self.name in _SUBMITTED

    @classmethod
    def from_entry(cls, job_id: str, entry_id: str, raw: Mapping[str, str]) -> Self:
        """Read one entry of a job's stream."""
        return cls(job_id, entry_id, raw["name"], int(raw["attempt"]), raw.get("data", ""))

    @classmethod
    def from_line(cls, text: str) -> Self:
        """Read one line of a feed."""
        job_id, event_id, name, attempt, *data = text.split(" ", 4)
        return cls(job_id, event_id, name, int(attempt), data[0] if data else "")


class FeedEvent(NamedTuple):
    """One line of a tenant's feed."""

    entry_id: str
    line: int
    """Its place in the entry, from 0."""
    event: JobEvent

    @property
    def order(self) -> tuple[int, int, int]:
        """What a feed's events rise by."""
        return (*order_of(self.entry_id), self.line)


class FeedEntry(NamedTuple):
    """What one script told a tenant."""

    id: str
    lines: list[str]


@lru_cache(maxsize=1024)
def order_of(entry_id: str) -> tuple[int, int]:
    """Return the two numbers of an entry's id."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


def batch_topic(batch_id: str) -> str:
    """Return the topic of a batch's events."""
    return f"{batch_id}."


def topics_of(line: str) -> tuple[str, ...]:
    """Return who a line of a feed is for: listeners to all, to its job, or to its batch.

    Jobs of a batch have ids ``{batch id}.{n}``. The delivery of a callback is a job, too, with the id of its job before
    ``.webhook``, and in no batch.
    """
    job_id = line.partition(" ")[0]
    if job_id.endswith(_DELIVERY):
        return "", job_id
    return "", job_id, batch_topic(job_id.partition(".")[0])
