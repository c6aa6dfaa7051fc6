"""Settings of the report job, read from ``ARQWAY_REPORT_*`` and ``ARQWAY_HOME`` when an instance is created."""

from pathlib import Path
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
