"""Retry policies: a pure decision whether and when to run a failed job again.

``delay = random * min(cap, base * 2 ** (attempt - 1))``, the "full jitter" form.
Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from dataclasses import dataclass
from datetime import timedelta

from arqway.workers.contract.errors import DiscardJob, RetryJob

REDRIVE_MAX = 10_000
"""Maximum number of dead letters that one call submits again."""
_MILLISECOND = timedelta(milliseconds=1)
_DOUBLINGS_MAX = 40
"""2 ** 40 ms is 35 years: a larger exponent would exceed any sensible cap, and would overflow."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Run the job again ``delay_ms`` from now."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not run the job again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, how soon and after which errors a job is run again.

    Args:
        max_attempts: Total number of runs, the first included; 1 means no retry.
        on: Exception types to retry after. Required if ``max_attempts`` > 1. A timeout is a ``JobTimedOut``, so
            ``(Exception,)`` covers it.
        base: The longest delay after the first attempt; doubles with each further attempt.
        cap: Upper bound of all delays.
    """

    max_attempts: int = 1
    on: tuple[type[Exception], ...] = ()
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError("max_attempts counts runs, so it must be at least 1")
        if self.max_attempts > 1 and not self.on:
            raise ValueError("a policy with max_attempts > 1 must name the exceptions to retry: on=(…,)")
        if self.base < timedelta(0) or self.cap < timedelta(0):
            raise ValueError("base and cap must not be negative")

    def decide(self, error: BaseException, attempt: int, random: float) -> RetryAfter | GiveUp:
        """Decide what follows the failed ``attempt`` (from 1); ``random`` is uniform in [0, 1)."""
        if isinstance(error, DiscardJob) or attempt >= self.max_attempts:
            return GiveUp()
        if isinstance(error, RetryJob) and error.after is not None:
            return RetryAfter(max(0, error.after // _MILLISECOND))
        return RetryAfter(self.delay_ms(attempt, random)) if isinstance(error, (RetryJob, *self.on)) else GiveUp()

    def delay_ms(self, attempt: int, random: float) -> int:
        """Return the delay after ``attempt`` (from 1), between 0 and ``cap``."""
        longest = self.base // _MILLISECOND * 2 ** min(attempt - 1, _DOUBLINGS_MAX)
        return int(random * min(self.cap // _MILLISECOND, longest))


NO_RETRY = RetryPolicy()
