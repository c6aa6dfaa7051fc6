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
        on: Exception types to retry after, also within an exception group. Required if ``max_attempts`` > 1.
            A timeout is a ``JobTimedOut``, so ``(TimeoutError,)`` and ``(Exception,)`` cover it.
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
        """Decide what follows the failed ``attempt`` (from 1); ``random`` is uniform in [0, 1).

        In an exception group a ``DiscardJob`` takes precedence, then the ``RetryJob`` with the longest delay. A group
        of other exceptions is retried if the policy retries the group itself, or every one of them.
        """
        causes = causes_of(error)
        if attempt >= self.max_attempts or any(isinstance(cause, DiscardJob) for cause in causes):
            return GiveUp()
        delay_ms = self.delay_ms(attempt, random)
        if asked := [cause.after for cause in causes if isinstance(cause, RetryJob)]:
            return RetryAfter(max(delay_ms if after is None else max(0, after // _MILLISECOND) for after in asked))
        retried = isinstance(error, self.on) or all(isinstance(cause, self.on) for cause in causes)
        return RetryAfter(delay_ms) if retried else GiveUp()

    def delay_ms(self, attempt: int, random: float) -> int:
        """Return the delay after ``attempt`` (from 1), between 0 and ``cap``."""
        longest = self.base // _MILLISECOND * 2 ** min(attempt - 1, _DOUBLINGS_MAX)
        return int(random * min(self.cap // _MILLISECOND, longest))


def causes_of(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, and in the groups within it; of any other exception itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [cause for inner in error.exceptions for cause in causes_of(inner)]


NO_RETRY = RetryPolicy()
