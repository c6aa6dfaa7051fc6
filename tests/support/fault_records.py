"""What the records say after a fault: every accepted job has ended, exactly once."""

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median

from redis import Redis

from arqway import JobDefinition, JobRecord
from arqway.workers.client import JobQueue
from arqway.workers.contract import keys
from arqway.workers.contract.errors import DuplicateJob, StoreUnavailable
from arqway.workers.contract.states import TERMINAL_STATES, JobState
from tests.support.waiting import wait_until

QUEUE = keys.queue(keys.DEFAULT_QUEUE)
Snapshot = tuple[Mapping[bytes, bytes], object, Mapping[bytes, bytes]]


def events(client: Redis, job_id: str) -> list[tuple[str, int]]:
    """Return the names of a job's events and when they happened (ms by the server's clock)."""
    entries: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange(keys.events(job_id))  # type: ignore[assignment]
    return [(fields[b"name"].decode(), int(entry.partition(b"-")[0])) for entry, fields in entries]


def snapshot(client: Redis, job_id: str) -> Snapshot:
    """Return all that is written about a job: record, events, steps."""
    record = client.hgetall(keys.record(job_id))
    return record, client.xrange(keys.events(job_id)), client.hgetall(keys.steps(job_id))  # type: ignore[return-value]


def unfinished(client: Redis) -> int:
    """Return how many jobs wait or run, which is what the queue holds."""
    return int(client.zcard(QUEUE))  # type: ignore[arg-type]


async def all_end(client: Redis, *, timeout_s: float) -> None:
    """Return once the queue is empty."""
    await wait_until(lambda: unfinished(client) == 0, "every job ends", timeout_s=timeout_s)


async def submit_surely(jobs: JobQueue, job: JobDefinition, payload: object, job_id: str) -> int:  # type: ignore[type-arg]
    """Submit under an id of ours, again until it is accepted; return how often the store was not available."""
    for refusals in range(100_000):
        try:
            await jobs.submit(job, payload, job_id=job_id)
        except StoreUnavailable:
            continue
        except DuplicateJob:  # the answer to an earlier try was lost
            assert refusals
        return refusals
    raise AssertionError(f"{job_id} was never accepted")


async def ended_once(jobs: JobQueue, client: Redis, ids: Iterable[str]) -> list[JobRecord]:
    """Return the records of jobs, each of which has ended and has told so exactly once."""
    records = [await jobs.read(job_id) for job_id in ids]
    assert {record.id: record.state for record in records if record.state not in TERMINAL_STATES} == {}
    for record in records:
        ends = [name for name, _ in events(client, record.id) if name in set(TERMINAL_STATES)]
        assert ends == [record.state], f"{record.id}: {events(client, record.id)}"
    return records


async def all_succeeded(jobs: JobQueue, client: Redis, ids: Iterable[str]) -> list[JobRecord]:
    """Return the records of jobs, each of which has ended exactly once, and well."""
    records = await ended_once(jobs, client, ids)
    assert Counter(record.state for record in records) == {JobState.SUCCEEDED: len(records)}
    return records


def figures(values: Iterable[float]) -> str:
    """Return the median, the maximum and the number of measured seconds."""
    ordered = sorted(values)
    return f"median {median(ordered):.4f} s, max {ordered[-1]:.4f} s, n {len(ordered)}" if ordered else "none"
