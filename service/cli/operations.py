"""Operators' commands: ``arqway queues``, ``pause``, ``resume`` and ``dead`` over HTTP, and ``audit`` from Redis."""

from argparse import Namespace

from arqway.service.cli.jobs import ask_api
from arqway.service.cli.redis_server import ask_redis
from arqway.service.cli.terminal import WRONG_INPUT, CommandError, moment, say, say_table
from arqway.service.client import ArqwayClient
from arqway.service.client.options import ListOptions
from arqway.service.shapes.operations import DeadGroupView, QueueView
from arqway.workers.client.access import AuditEntry

_QUEUES = ("QUEUE", "DUE", "OLDEST", "LATER", "RUNNING", "IN/S", "OUT/S", "FAILED", "WORKERS", "EMPTY IN", "PAUSED")
_GROUPS = ("FINGERPRINT", "JOBS", "KIND", "CODE", "MESSAGE", "FIRST", "LATEST", "LATEST ID")
_AUDIT = ("WHEN", "WHO", "KEY", "TENANT", "ACTION", "TARGET", "COUNT", "OUTCOME", "REQUEST")
_FILTERS = ("fingerprint", "kind", "queue", "tag", "batch")
_OF_A_REDRIVE = (*_FILTERS, "dry_run", "limit", "rate")
_MESSAGE_CHARS = 60


def queues(arguments: Namespace) -> int:
    """Print statistics for every queue."""
    found = ask_api(arguments.url, lambda api: api.operations.queues())
    say_table(_QUEUES, [_queue_row(queue) for queue in found])
    return 0


def pause(arguments: Namespace) -> int:
    """Pause a queue: its jobs stop being started."""
    changed = ask_api(arguments.url, lambda api: api.operations.pause(arguments.name), changing=True)
    say("paused" if changed else "was paused already")
    return 0


def resume(arguments: Namespace) -> int:
    """Resume a paused queue."""
    changed = ask_api(arguments.url, lambda api: api.operations.resume(arguments.name), changing=True)
    say("resumed" if changed else "was not paused")
    return 0


def dead(arguments: Namespace) -> int:
    """Print the groups of dead letters or, with --redrive, resubmit those that match."""
    if arguments.redrive:
        return _redrive(arguments)
    if given := next((name for name in _OF_A_REDRIVE if getattr(arguments, name)), None):
        raise CommandError(f"--{given.replace('_', '-')} needs --redrive", WRONG_INPUT)
    say_table(_GROUPS, [_group_row(group) for group in ask_api(arguments.url, _groups)])
    return 0


def audit(last: int) -> int:
    """Print the latest entries of the audit log, oldest first."""
    say_table(_AUDIT, [_audit_row(entry) for entry in ask_redis(lambda access: access.audit.last(last))])
    return 0


def _redrive(arguments: Namespace) -> int:
    which = ListOptions(**{name: getattr(arguments, name) for name in _FILTERS})  # type: ignore[typeddict-item]
    how = {"dry_run": arguments.dry_run, "limit": arguments.limit, "rate": arguments.rate}
    done = ask_api(arguments.url, lambda api: api.operations.redrive(**how, **which), changing=True)
    number = done["matched"] if done["dry_run"] else done["redriven"]
    more = "; more match" if done["more"] else ""
    say(f"{number} would be submitted again{more}" if done["dry_run"] else f"{number} submitted again{more}")
    return 0


async def _groups(api: ArqwayClient) -> list[DeadGroupView]:
    return [group async for group in api.operations.dead()]


def _queue_row(queue: QueueView) -> tuple[str, ...]:
    return (
        queue["name"],
        str(queue["depth"]),
        f"{queue['oldest_age_s']:.1f} s" if queue["depth"] else "",
        str(queue["later"]),
        str(queue["running"]),
        f"{queue['in_rate']:.2f}",
        f"{queue['out_rate']:.2f}",
        str(queue["failed"]),
        str(queue["workers"]),
        f"{queue['drain_s']:.0f} s" if "drain_s" in queue else "",
        _to_the_second(queue["paused_at"]) if "paused_at" in queue else "",
    )


def _audit_row(entry: AuditEntry) -> tuple[str, ...]:
    who = (moment(entry.at_ms), entry.name, entry.key_id, entry.tenant)
    return (*who, entry.action, entry.target, str(entry.count), entry.outcome, entry.request_id)


def _group_row(group: DeadGroupView) -> tuple[str, ...]:
    failure = group["failure"]
    times = map(_to_the_second, (group["first_at"], group["latest_at"]))
    what = (
        group["fingerprint"],
        str(group["jobs"]),
        group["kind"],
        failure["code"],
        failure["message"][:_MESSAGE_CHARS],
    )
    return *what, *times, group["latest"]["id"]


def _to_the_second(timestamp: str) -> str:
    return timestamp.partition(".")[0] + "Z"
