"""Waiting on a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable

_PAUSE_S = 0.005


async def wait_until(
    condition: Callable[[], bool | Awaitable[bool]], description: str, *, timeout_s: float = 10
) -> None:
    """Return once ``condition`` holds; fail with ``description`` if it does not in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                answer = condition()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {description}") from None
