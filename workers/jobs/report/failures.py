"""Deliberate transient failures, so that a demonstration or a test can watch a job retry and recover."""

from dataclasses import dataclass
from random import Random


class TransientFailure(Exception):  # noqa: N818  the outside world failed for a moment; it is not an error of the job
    """A failure that another attempt may not meet."""


@dataclass(frozen=True, slots=True)
class FailureInjector:
    """Decides which attempts fail: a share of ``rate`` (0 to 1), the same ones each time if ``seed`` is given."""

    rate: float = 0.0
    seed: int | None = None

    def strikes(self, job_id: str, attempt: int) -> bool:
        """Return whether this attempt (from 1) is to fail. With a seed, a pure function of its arguments."""
        chance = Random(None if self.seed is None else f"{self.seed}:{job_id}:{attempt}")  # noqa: S311  no secret
        return chance.random() < self.rate

    def strike(self, job_id: str, attempt: int) -> None:
        """Fail this attempt if it is one of those that are to fail.

        Raises:
            TransientFailure: For a share of ``rate`` of all attempts.
        """
        if self.strikes(job_id, attempt):
            raise TransientFailure(f"Attempt {attempt} fails on purpose: ARQWAY_REPORT_FAILURE_RATE={self.rate:g}")
