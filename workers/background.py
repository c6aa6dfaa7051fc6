"""Work in the background: tasks that must end, and waiting for something that is away."""

import asyncio
from collections.abc import Iterable
from random import Random

_CANCEL_AGAIN_S = 0.1
_FIRST_S, _CAP_S = 0.05, 1.0


async def end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they have ended: one that comes while redis-py connects may turn into a connection error."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


class Backoff:
    """Gives growing waits, so that many processes do not come back at the same instant."""

    def __init__(self, *, cap_s: float = _CAP_S) -> None:
        self._cap_s = cap_s
        self._waits = 0
        self._random = Random().uniform  # noqa: S311 - jitter, not a secret
        self._longest_s = min(_FIRST_S, cap_s)

    @property
    def fresh(self) -> bool:
        """Whether nothing was waited for since the last success."""
        return self._waits == 0

    def next_s(self) -> float:
        """Return the next wait, between half and all of a bound that doubles up to the cap."""
        self._waits += 1
        longest, self._longest_s = self._longest_s, min(self._cap_s, self._longest_s * 2)
        return self._random(longest / 2, longest)

    def reset(self) -> None:
        """Begin with short waits again."""
        self._waits = 0
        self._longest_s = min(_FIRST_S, self._cap_s)
