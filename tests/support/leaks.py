"""Finds keys that would stay in Redis for ever."""

from collections.abc import Callable

from redis import Redis

from arqway.workers.contract import keys

_PER_JOB = (
    keys.RECORD_PREFIX,
    keys.EVENTS_PREFIX,
    keys.STEPS_PREFIX,
    keys.ENVELOPE_PREFIX,
)
_BY_PEOPLE = (keys.PAUSED_QUEUES, keys.API_KEY_PREFIX, keys.API_KEYS, keys.AUDIT)
_BOUNDED = (keys.WAKE_PREFIX, *_BY_PEOPLE)
"""They hold at most so many things as there are queues, or what a person put there."""


def keys_without_owner(client: Redis) -> list[str]:
    """Return keys that have no TTL and belong to no queue, to no job that is still in one, and to no batch of such."""
    found = [key.decode() for key in client.scan_iter(count=1000)]
    queues = [key for key in found if _is_queue(key)]
    live = {member.decode() for queue in queues for member in client.zrange(queue, 0, -1)}  # type: ignore[union-attr]
    return sorted(
        key
        for key in found
        if key not in queues
        and client.ttl(key) == -1
        and not key.startswith(_BOUNDED)
        and not _belongs_to_job(key, live)
        and not _holds_only_live_jobs(client, key, live)
    )


def _is_queue(key: str) -> bool:
    return key == keys.QUEUE_PREFIX or (key.startswith(f"{keys.QUEUE_PREFIX}:") and not key.endswith(":health-check"))


def _belongs_to_job(key: str, live: set[str]) -> bool:
    batches = {job_id.partition(".")[0] for job_id in live}
    of_batch = (keys.BATCH_PREFIX, keys.BATCH_JOBS_PREFIX)
    return any(key.startswith(prefix) and key.removeprefix(prefix) in live for prefix in _PER_JOB) or any(
        key.startswith(prefix) and key.removeprefix(prefix) in batches for prefix in of_batch
    )


def _holds_only_live_jobs(client: Redis, key: str, live: set[str]) -> bool:
    """Tell whether a list names no job that has ended."""
    members: dict[str, Callable[[], set[bytes]]] = {
        keys.LISTS_PREFIX: lambda: set(client.zrange(key, 0, -1)),  # type: ignore[arg-type]
        keys.UNIQUE_PREFIX: lambda: {client.get(key)},  # type: ignore[arg-type]
        keys.TAG_PREFIX: lambda: set(client.zrange(key, 0, -1)),  # type: ignore[arg-type]
        keys.LIVE_LISTS_PREFIX: lambda: set() if live else {b"nothing lives"},
        keys.RUNNING_JOBS: lambda: set() if live else {b"nothing runs"},
    }
    return any(
        key.startswith(prefix) and {member.decode() for member in held()} <= live for prefix, held in members.items()
    )
