"""``arqway audit``: what operators did, as far back as Redis keeps it."""

from arqway.service.cli.access import ask_redis
from arqway.service.cli.output import moment, say_table
from arqway.workers.client.access import AuditEntry

_HEADING = ("WHEN", "WHO", "KEY", "TENANT", "ACTION", "TARGET", "COUNT", "OUTCOME", "REQUEST")


def audit(last: int) -> int:
    """Print the latest entries, the oldest of them first."""
    say_table(_HEADING, [_row(entry) for entry in ask_redis(lambda access: access.audit.last(last))])
    return 0


def _row(entry: AuditEntry) -> tuple[str, ...]:
    who = (moment(entry.at_ms), entry.name, entry.key_id, entry.tenant)
    return (*who, entry.action, entry.target, str(entry.count), entry.outcome, entry.request_id)
