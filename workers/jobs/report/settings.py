"""Settings of the report job, read from ``ARQWAY_REPORT_*`` and ``ARQWAY_HOME`` when an instance is made."""

from pathlib import Path
from typing import Annotated, Any

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

    home: Annotated[Path, Field(validation_alias="ARQWAY_HOME", description="Folder of what is kept locally")] = Path(
        ".arqway"
    )
    database_url: Annotated[
        str, Field(default_factory=_database_in, description="SQLAlchemy URL of an asynchronous driver")
    ]
    store_url: Annotated[
        str, Field(default_factory=_store_in, description="file://, memory://, s3://, gs:// or az:// and a prefix")
    ]
    typesetters: Annotated[int, Field(ge=1, le=64, description="Most typesetting processes of one worker")] = 2
    failure_rate: Annotated[float, Field(ge=0, le=1, description="Share of attempts which fail on purpose")] = 0.0
    failure_seed: Annotated[int | None, Field(description="Makes the injected failures repeatable")] = None
