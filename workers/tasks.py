"""Tasks that must end."""

import asyncio
from collections.abc import Iterable

_CANCEL_AGAIN_S = 0.1


async def end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they have ended: one that comes while redis-py connects may turn into a connection error."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
