"""All that Redis holds of jobs, read at once, and what follows from the records alone: what every list should be."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from arqway.workers.client import JobFilter
from arqway.workers.contract import keys
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState

_LIST = "\x1f"


@dataclass
class World:
    """The jobs of one server at one moment."""

    records: dict[str, JobRecord] = field(default_factory=dict)
    lists: dict[str, dict[str, float]] = field(default_factory=dict)
    """Lists of jobs, by tag and by failure too: key → id → score."""
    unique: dict[str, str] = field(default_factory=dict)
    events: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Job id → (event id, name)."""
    feeds: dict[str, list[list[str]]] = field(default_factory=dict)
    """Tenant → lines, each as its words, without data."""
    running: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, client: Any) -> "World":
        """Read everything."""
        world = cls()
        for key in sorted(found.decode() for found in client.scan_iter(count=1000)):
            world._take(client, key)
        return world

    def _take(self, client: Any, key: str) -> None:
        prefix, _, rest = key.partition(":")
        match f"{prefix}:":
            case keys.RECORD_PREFIX:
                self.records[rest] = JobRecord.from_hash(rest, _texts(client.hgetall(key)))
            case keys.LISTS_PREFIX | keys.TAG_PREFIX | keys.ENDED_TAG_PREFIX | keys.DEAD_PREFIX:
                self.lists[key] = {
                    member.decode(): score for member, score in client.zrange(key, 0, -1, withscores=True)
                }
            case keys.UNIQUE_PREFIX:
                self.unique[rest] = client.get(key).decode()
            case keys.EVENTS_PREFIX:
                self.events[rest] = [(at.decode(), entry[b"name"].decode()) for at, entry in client.xrange(key)]
            case keys.FEED_PREFIX:
                texts = [entry[b"events"].decode() for _, entry in client.xrange(key)]
                self.feeds[rest] = [line.split(" ")[:4] for text in texts for line in text.split("\n")]
            case _ if key == keys.RUNNING_JOBS:
                self.running = {name: int(count) for name, count in _texts(client.hgetall(key)).items()}

    def jobs(self, tenant: str, which: JobFilter) -> list[str]:
        """Return the ids that a list of this filter should give, in its order."""
        found = [record for record in self.records.values() if record.tenant == tenant and _fits(record, which)]
        return [record.id for record in sorted(found, key=lambda record: _order(record, which), reverse=True)]

    def expected_lists(self) -> dict[str, dict[str, float]]:
        """Return what the lists should hold, by the records."""
        lists: dict[str, dict[str, float]] = {}
        for r in self.records.values():
            own = f"jobs:{r.state}:{r.tenant}:{r.queue}:{r.kind}"
            of_tags = "ended-tag" if r.finished else "tag"
            for key in (own, *(f"{of_tags}:{r.tenant}:{tag}" for tag in r.tags)):
                lists.setdefault(key, {})[r.id] = r.created_ms
            if _is_dead(r) and r.failure is not None:
                lists.setdefault(f"dead:{r.tenant}:{r.failure.fingerprint}", {})[r.id] = r.finished_ms or 0
        return lists

    def expected_running(self) -> dict[str, int]:
        """Return how many jobs of each queue run, by the records."""
        return dict(Counter(r.queue for r in self.records.values() if r.state is JobState.RUNNING))

    def expected_unique(self) -> dict[str, list[str]]:
        """Return which unfinished jobs have each unique key, by the records."""
        holders: dict[str, list[str]] = {}
        for r in self.records.values():
            if r.unique_key is not None and not r.finished:
                holders.setdefault(f"{r.tenant}:{r.kind}:{r.unique_key}", []).append(r.id)
        return holders

    def dead(self, tenant: str) -> dict[str, list[JobRecord]]:
        """Return the dead letters by fingerprint, by the records, the latest failure last."""
        groups: dict[str, list[JobRecord]] = {}
        failed = (r for r in self.records.values() if r.tenant == tenant and _is_dead(r))
        for r in sorted(failed, key=lambda r: (r.finished_ms or 0, r.id)):
            assert r.failure is not None
            groups.setdefault(r.failure.fingerprint or "", []).append(r)
        return groups


def _texts(raw: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in raw.items()}


def _is_dead(record: JobRecord) -> bool:
    return record.state is JobState.FAILED and record.retried_as is None and record.failure is not None


def _fits(record: JobRecord, which: JobFilter) -> bool:
    wanted: Iterable[tuple[object, object]] = (
        (which.state, record.state),
        (which.kind, record.kind),
        (which.queue, record.queue),
        (which.batch, record.batch),
        (which.fingerprint, record.failure.fingerprint if record.failure and _is_dead(record) else ""),
    )
    return (
        all(asked in {None, found} for asked, found in wanted)
        and (which.tag is None or which.tag in record.tags)
        and (which.from_ms or 0) <= record.created_ms <= (which.to_ms or record.created_ms)
        and not (which.batch and record.retried_as)
    )


def _order(record: JobRecord, which: JobFilter) -> tuple[int, str]:
    if which.batch is not None:
        return int(record.id.split(".")[1]), record.id
    moment = record.finished_ms if which.fingerprint is not None else record.created_ms
    return moment or 0, record.id
