"""Settings of the report job, from ``ARQWAY_REPORT_*`` and ``ARQWAY_HOME``, and the failures that they can request.

In a demonstration or a test, a share of the attempts can be made to fail, to show how a job is retried and recovers.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ReportSettings(BaseSettings):
    """Where the report job reads its orders, where it puts its reports, and how often it fails on purpose."""

    model_config = SettingsConfigDict(
        env_prefix="ARQWAY_REPORT_", frozen=True, extra="forbid", populate_by_name=True, validate_default=True
    )

    home: Path = Field(
        default=Path(".arqway"), validation_alias="ARQWAY_HOME", description="folder of what is kept locally"
    )
    database_url: str = Field(
        default_factory=lambda values: f"sqlite+aiosqlite:///{values['home'].absolute()}/arqway.db",
        description="SQLAlchemy URL of an asynchronous driver: SQLite or PostgreSQL",
    )
    store_url: str = Field(
        default_factory=lambda values: f"{values['home'].absolute().as_uri()}/reports",
        description="file://, memory://, s3://, gs:// or az:// and a prefix",
    )
    typesetters: int = Field(default=2, ge=1, le=64, description="most typesetting processes of one worker")
    failure_rate: float = Field(default=0.0, ge=0, le=1, description="share of attempts that fail on purpose")
    failure_seed: int | None = Field(default=None, description="makes those failures repeatable")


class TransientFailure(Exception):  # noqa: N818  the outside world failed for a moment; it is not an error of the job
    """A failure that may not recur in another attempt."""


@dataclass(frozen=True, slots=True)
class FailureInjector:
    """Decides which attempts fail: a share of ``rate`` (0 to 1), the same ones every time if ``seed`` is given."""

    rate: float = 0.0
    seed: int | None = None

    def strikes(self, job_id: str, attempt: int) -> bool:
        """Return whether this attempt (from 1) should fail. With a seed, it depends on the arguments alone."""
        chance = Random(None if self.seed is None else f"{self.seed}:{job_id}:{attempt}")  # noqa: S311  no secret
        return chance.random() < self.rate

    def strike(self, job_id: str, attempt: int) -> None:
        """Raise if this attempt (from 1) should fail.

        Raises:
            TransientFailure: For a share of ``rate`` of all attempts.
        """
        if self.strikes(job_id, attempt):
            raise TransientFailure(f"Attempt {attempt} fails on purpose: ARQWAY_REPORT_FAILURE_RATE={self.rate:g}")
