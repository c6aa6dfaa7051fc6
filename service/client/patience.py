"""How long and how often a request is tried again: pure arithmetic."""

from collections.abc import Callable
from random import Random

FIRST_S, LONGEST_S = 0.2, 10.0
"""The pause after the first failure is up to the first of these, and doubles up to the second."""

Uniform = Callable[[float, float], float]
jitter: Uniform = Random().uniform  # noqa: S311 - not a secret


class Patience:
    """Pauses between tries, with full jitter: clients that fail together do not come back together.

    Args:
        until_s: When to give up, by the clock of ``pause_s``.
        retries: Tries after the first; None: as many as there is time for.
        uniform: A random number between two others.
    """

    def __init__(self, *, until_s: float, retries: int | None, uniform: Uniform = jitter) -> None:
        self._until_s = until_s
        self._retries = retries
        self._uniform = uniform
        self._failures = 0

    def left_s(self, now_s: float) -> float:
        """Return how much time is left."""
        return max(0.0, self._until_s - now_s)

    def pause_s(self, now_s: float, told_s: float | None) -> float | None:
        """Return how long to wait before the next try; None: there is to be none.

        Args:
            now_s: The time.
            told_s: What the service asked for. The next try is never sooner.
        """
        left_s, least_s = self.left_s(now_s), told_s or 0.0
        if self._failures == self._retries or least_s >= left_s:
            return None
        most_s = min(FIRST_S * 2 ** min(self._failures, 16), LONGEST_S, (left_s - least_s) / 2)
        self._failures += 1
        return least_s + self._uniform(0.0, most_s)
