"""The audit log: who did what, when, and to how many jobs. Each action is one log line and one entry in Redis."""

import logging
from dataclasses import asdict

from starlette.requests import Request

from arqway.service.access.callers import caller_of
from arqway.workers.client.access import AuditEntry
from arqway.workers.contract.errors import StoreUnavailable

logger = logging.getLogger("arqway.service.access.audit")


async def audit(request: Request, action: str, target: str, count: int = 1, *, outcome: str = "done") -> None:
    """Record what an operator did. Call it once the action is done, whatever its outcome.

    The log line is always written. If Redis does not accept the entry, a warning is logged and the request continues,
    since the action cannot be undone.

    Args:
        request: The request that asked for the action.
        action: E.g. ``queue.pause``.
        target: What it was done to: an id, a name or a filter; never a payload.
        count: How many jobs or keys it affected.
        outcome: Its outcome, where that is not obvious.
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
    fields = {**asdict(entry), "key_name": entry.name}
    del fields["name"], fields["at_ms"]  # the line has its own time, and ``logging`` reserves the field ``name``
    logger.info("Operate action", extra=fields)
    try:
        await request.scope["arqway"].arqway.access.audit.write(entry)
    except StoreUnavailable:
        logger.warning("Redis did not accept an entry of the audit log", extra=fields)
