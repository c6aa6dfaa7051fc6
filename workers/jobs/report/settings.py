"""Settings of the report job, from ``ARQWAY_REPORT_*`` and ``ARQWAY_HOME``, and the failures that they can request.

A demonstration or a test lets a share of the attempts fail on purpose, so that one can watch a job retry and recover.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _database_in(values: dict[str, Any]) -> str:
    return f"sqlite+aiosqlite:///{values['home'].absolute()}/arqway.db"


def _store_in(values: dict[str, Any]) -> str:
    return f"{values['home'].absolute().as_uri()}/reports"


class ReportSettings(BaseSettings):
    """Where the report job reads its orders, where it puts its reports, and how often it fails on purpose."""

    model_config = SettingsConfigDict(
        env_prefix="ARQWAY_REPORT_", frozen=True, extra="forbid", populate_by_name=True, validate_default=True
    )

    home: Path = Field(
        default=Path(".arqway"), validation_alias="ARQWAY_HOME", description="folder of what is kept locally"
    )
    database_url: str = Field(
        default_factory=_database_in, description="SQLAlchemy URL of an asynchronous driver: SQLite or PostgreSQL"
    )
    store_url: str = Field(
        default_factory=_store_in, description="file://, memory://, s3://, gs:// or az:// and a prefix"
    )
    typesetters: int = Field(default=2, ge=1, le=64, description="most typesetting processes of one worker")
    failure_rate: float = Field(default=0.0, ge=0, le=1, description="share of attempts that fail on purpose")
    failure_seed: int | None = Field(default=None, description="makes those failures repeatable")


class TransientFailure(Exception):  # noqa: N818  the outside world failed for a moment; it is not an error of the job
    """A failure that another attempt may not meet."""


@dataclass(frozen=True, slots=True)
class FailureInjector:
    """Decides which attempts fail: a share of ``rate`` (0 to 1), the same ones each time when ``seed`` is given."""

    rate: float = 0.0
    seed: int | None = None

    def strikes(self, job_id: str, attempt: int) -> bool:
        """Tell whether this attempt (from 1) is to fail. With a seed, a pure function of its arguments."""
        chance = Random(None if self.seed is None else f"{self.seed}:{job_id}:{attempt}")  # noqa: S311  no secret
        return chance.random() < self.rate

    def strike(self, job_id: str, attempt: int) -> None:
        """Let this attempt fail if its turn has come.

        Raises:
            TransientFailure: for a share of ``rate`` of all attempts.
        """
        if self.strikes(job_id, attempt):
            raise TransientFailure(f"Attempt {attempt} fails on purpose: ARQWAY_REPORT_FAILURE_RATE={self.rate:g}")
