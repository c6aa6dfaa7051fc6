"""The audit log: who did what, when, and to how many. One line for each action, and one entry in Redis."""

import logging

from starlette.requests import Request

from arqway.service.access.callers import caller_of
from arqway.workers.client.access import AuditEntry
from arqway.workers.contract.errors import StoreUnavailable

logger = logging.getLogger("arqway.service.access.audit")


async def audit(request: Request, action: str, target: str, count: int = 1, *, outcome: str = "done") -> None:
    """Note what an operator did; to be called once it is done, whatever came of it.

    The line of the log is always written. Where Redis does not take its entry, a warning says so, and the request goes
    on: what was done is done.

    Args:
        request: What asked for it.
        action: E.g. ``queue.pause``.
        target: What it was done to: an id, a name, a filter; never a payload.
        count: To how many.
        outcome: What came of it, where that is not plain.
    """
    caller = caller_of(request)
    entry = AuditEntry(
        action=action,
        target=target,
        count=count,
        outcome=outcome,
        key_id=caller.key_id,
        name=caller.name,
        tenant=caller.tenant,
        request_id=request.scope.get("request_id", ""),
    )
    logger.info("Operate action", extra=_named(entry))
    try:
        await request.scope["arqway"].arqway.access.audit.write(entry)
    except StoreUnavailable:
        logger.warning("Redis did not take an entry of the audit log", extra=_named(entry))


def _named(entry: AuditEntry) -> dict[str, str | int]:
    """Return the fields of a line; those that ``logging`` has a use for itself are called otherwise."""
    return {
        "action": entry.action,
        "target": entry.target,
        "count": entry.count,
        "outcome": entry.outcome,
        "key_id": entry.key_id,
        "key_name": entry.name,
        "tenant": entry.tenant,
        "request_id": entry.request_id,
    }
