"""Finds keys that would stay in Redis for ever."""

from redis import Redis

from workers.contract import keys

_PER_JOB = (
    keys.RECORD_PREFIX,
    keys.EVENTS_PREFIX,
    keys.STEPS_PREFIX,
    keys.ENVELOPE_PREFIX,
)


def keys_without_owner(client: Redis) -> list[str]:
    """Return keys that have no TTL and belong neither to a queue nor to a job that is still in one."""
    found = [key.decode() for key in client.scan_iter(count=1000)]
    queues = [key for key in found if _is_queue(key)]
    live = {member.decode() for queue in queues for member in client.zrange(queue, 0, -1)}  # type: ignore[union-attr]
    return sorted(
        key
        for key in found
        if key not in queues and client.ttl(key) == -1 and not _belongs_to(key, live) and not _is_wake(key)
    )


def _is_queue(key: str) -> bool:
    return key == keys.QUEUE_PREFIX or (key.startswith(f"{keys.QUEUE_PREFIX}:") and not key.endswith(":health-check"))


def _is_wake(key: str) -> bool:
    return key.startswith(keys.WAKE_PREFIX)


def _belongs_to(key: str, live: set[str]) -> bool:
    return any(key.startswith(prefix) and key.removeprefix(prefix) in live for prefix in _PER_JOB)
