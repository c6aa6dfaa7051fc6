"""The events of a job, stored as entries of the stream ``job-events:{id}``.

============  ==========================================================================
field         value
============  ==========================================================================
``name``      a ``JobState``, or ``progress``
``attempt``   the attempt it belongs to; 0 before the first
``data``      JSON object: the progress for ``progress``, ``{"code", "message"}`` for
              ``failed`` and ``retrying``; otherwise absent
============  ==========================================================================

Redis assigns the entry's id: ``<ms>-<n>``, increasing within a job.

The same events are in the feed of the job's tenant, the stream ``feed:{tenant}``. Each script call writes one entry,
whose field ``events`` holds lines ``{job id} {event id} {name} {attempt}[ {data}]``. The feed has two more kinds of
line: ``queued`` or ``scheduled`` for a submission, with the event id ``{created_ms}-0``; and ``finished`` for the end
of a batch, with the batch's id in place of a job's and its counts as data.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Self

from arqway.workers.contract.states import TERMINAL_STATES, JobState

PROGRESS, FINISHED = "progress", "finished"
EVENT_NAMES = frozenset({*JobState, PROGRESS, FINISHED})
EVENTS_KEPT = 256
"""Approximate number of a job's latest events that are kept; the record always holds the current state."""
FEED_KEPT = 2_000
"""Approximate number of a tenant's latest feed entries that are kept, for an hour after the last."""
START = "0-0"
"""The position before every event; also that of an empty stream."""

_SUBMITTED = frozenset({JobState.QUEUED, JobState.SCHEDULED})
_DELIVERY = ".webhook"


class JobEvent(NamedTuple):
    """An event of a job or, with a batch's id in ``job_id``, the end of a batch."""

    job_id: str
    id: str
    name: str
    attempt: int
    data_json: str = ""
    """Empty if the event has no data."""

    @property
    def at_ms(self) -> int:
        """When it was written: Unix milliseconds by the server's clock."""
        return int(self.id.partition("-")[0])

    @property
    def data(self) -> dict[str, Any]:
        """The event's data; empty if it has none."""
        return json.loads(self.data_json) if self.data_json else {}

    @property
    def order(self) -> tuple[int, int]:
        """Sort key of a job's events; their ids do not sort as text."""
        return order_of(self.id)

    @property
    def ends(self) -> bool:
        """Whether it marks the end of its job."""
        return self.name in TERMINAL_STATES

    @property
    def submits(self) -> bool:
        """Whether it is the submission itself, which appears only in feeds."""
        return self.attempt == 0 and self.name in _SUBMITTED

    @classmethod
    def from_entry(cls, job_id: str, entry_id: str, raw: Mapping[str, str]) -> Self:
        """Parse one entry of a job's stream."""
        return cls(job_id, entry_id, raw["name"], int(raw["attempt"]), raw.get("data", ""))

    @classmethod
    def from_line(cls, text: str) -> Self:
        """Parse one line of a feed."""
        job_id, event_id, name, attempt, *data = text.split(" ", 4)
        return cls(job_id, event_id, name, int(attempt), data[0] if data else "")


class FeedEvent(NamedTuple):
    """One line of a tenant's feed."""

    entry_id: str
    line: int
    """Index of the line in its entry, from 0."""
    event: JobEvent

    @property
    def order(self) -> tuple[int, int, int]:
        """Sort key of a feed's events."""
        return (*order_of(self.entry_id), self.line)


class FeedEntry(NamedTuple):
    """One entry of a tenant's feed: the events of one script call."""

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
    """Return the topics of a feed line: all events (the empty topic), its job, and its batch.

    Jobs of a batch have ids ``{batch id}.{n}``. A webhook delivery is a job too, with the id ``{job id}.webhook``, and
    belongs to no batch.
    """
    job_id = line.partition(" ")[0]
    if job_id.endswith(_DELIVERY):
        return "", job_id
    return "", job_id, batch_topic(job_id.partition(".")[0])
