"""Settings that the service and the workers share, read once from the environment.

``REDIS_URL`` is conventional and has no prefix; all other variables begin with ``ARQWAY_``.
"""

import re
from errno import ENOTDIR
from os import strerror
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    RedisDsn,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from arqway.workers.contract import keys
from arqway.workers.contract.callback import Network, secret_key
from arqway.workers.contract.errors import ConfigurationError


def _queue_name(name: str) -> str:
    if not keys.is_queue_name(name):
        raise ValueError("a queue is named by 1 to 63 of a-z 0-9 _ . -")
    return name


def _own_queue_name(name: str) -> str:
    if _queue_name(name) == keys.WEBHOOK_QUEUE:
        raise ValueError(f"the queue {name} is served by itself, where there are webhook secrets")
    return name


def _webhook_secret(secret: SecretStr) -> SecretStr:
    secret_key(secret.get_secret_value())
    return secret


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if value) if isinstance(value, str) else value or ()


_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
CommaSeparated = NoDecode, BeforeValidator(_split)
QueueName = Annotated[str, AfterValidator(_own_queue_name)]
WebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]
PositiveSeconds = Annotated[float, Field(gt=0)]

TARGET_PATTERN = r"^\w+(\.\w+)*:\w+$"

_LAST_WRITES_S = 10.0
"""Time for a drained worker to hand back its jobs and write pending data."""


class Settings(BaseSettings):
    """Settings of the worker, shared with the service. All durations are in seconds.

    Raises pydantic's ValidationError, naming the variable, for an invalid value.
    """

    model_config = SettingsConfigDict(
        env_prefix="ARQWAY_", frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("redis_url", "REDIS_URL"),
        description="Redis or Valkey server; unset: an embedded Valkey is started",
    )
    home: Path = Field(
        default=Path(".arqway"), description="folder of the embedded server's data, the database and the reports"
    )
    jobs: str = Field(
        default="arqway.workers.jobs:JOBS",
        pattern=TARGET_PATTERN,
        description="registry, or Arqway object, to serve: package.module:NAME",
    )
    queues: Annotated[tuple[QueueName, ...], *CommaSeparated] = Field(
        default=("default",), min_length=1, description="queues a worker serves, separated by commas"
    )
    processes: int = Field(
        default=1, ge=1, le=256, description="worker processes that `arqway up` and `arqway worker` run"
    )
    max_jobs: int = Field(default=20, ge=1, le=10_000, description="jobs one worker process runs at a time")
    lease_s: float = Field(
        default=10, ge=1, le=3600, description="after so long without a sign of life a worker's jobs are rescued"
    )
    max_rescues: int = Field(
        default=3, ge=0, description="lost workers that a job survives; one more fails it with worker_lost"
    )
    poll_s: PositiveSeconds = Field(
        default=0.6, description="how often an idle worker looks for jobs nobody woke it for"
    )
    drain_s: float = Field(
        default=5, ge=0, description="time that running jobs get after SIGTERM before they are handed back"
    )
    cancel_grace_s: PositiveSeconds = Field(
        default=5, description="time a job has to end after it was cancelled or timed out"
    )
    stall_s: PositiveSeconds = Field(
        default=300, description="a worker whose event loop is blocked for so long loses its leases"
    )
    unknown_kind_s: PositiveSeconds = Field(
        default=3600, description="how long a job of an unknown kind waits for a newer worker"
    )
    worker_health_host: str = Field(
        default="127.0.0.1", min_length=1, description="address of the workers' health ports"
    )
    worker_health_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="port of /livez and /readyz of the first worker process, the next has the next",
    )
    retention_s: PositiveSeconds = Field(default=86_400, description="how long the record of a finished job is kept")
    keep_result_s: float = Field(default=3600, ge=0, description="how long arq:result:* is kept for stock arq clients")
    webhook_secrets: Annotated[tuple[WebhookSecret, ...], *CommaSeparated] = Field(
        default=(),
        description="secrets, newest first, that sign webhooks; unset: there are none, and no callback_url is taken",
    )
    webhook_allow: Annotated[tuple[Network, ...], *CommaSeparated] = Field(
        default=(), description="networks that webhooks may go to although they are private, and without TLS; as CIDR"
    )
    webhook_slots: int = Field(default=20, ge=1, le=10_000, description="webhooks one worker process sends at a time")
    max_payload_bytes: int = Field(default=1_048_576, ge=1, description="largest payload, as JSON, that a job may have")
    max_result_bytes: int = Field(
        default=1_048_576, ge=1, description="largest result of a job or a step, as JSON, that is stored"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe level that is logged"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, else JSON"
    )

    @property
    def stop_within_s(self) -> float:
        """The longest a worker takes to stop: draining, the grace period, and writing pending data."""
        return self.drain_s + self.cancel_grace_s + _LAST_WRITES_S

    @property
    def served_queues(self) -> tuple[str, ...]:
        """All queues a worker claims from, including the webhook queue if there are webhook secrets."""
        return (*self.queues, keys.WEBHOOK_QUEUE) if self.webhook_secrets else self.queues

    @model_validator(mode="before")
    @classmethod
    def _skip_service_links(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Leave out what Kubernetes sets in each pod for a Service of a name like ours: ``ARQWAY_PORT=tcp://…``.

        Source: Kubernetes, "Service", section "Environment variables".
        """
        links = {name for name, value in given.items() if isinstance(value, str) and _SERVICE_LINK.fullmatch(value)}
        return {name: value for name, value in given.items() if name not in links or name.lower() == "redis_url"}

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith("unix://"):
            RedisDsn(url.get_secret_value())
        return url


def make_private(folder: Path) -> None:
    """Create a folder, and those above it that are missing, for its owner alone; what exists keeps its permissions.

    Raises OSError.
    """
    for path in (*reversed(folder.absolute().parents), folder):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(ENOTDIR, strerror(ENOTDIR), str(folder))


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def read_settings(kind: type[SettingsT], **given: Any) -> SettingsT:
    """Read from the environment all settings that are not ``given``.

    Raises:
        ConfigurationError: A setting is invalid. The message is one line that names the variable, never its value.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        raise ConfigurationError(first_problem(error)) from None
    except SettingsError as error:
        raise ConfigurationError(_unreadable(str(error))) from None


def _unreadable(message: str) -> str:
    field = re.search(r'field "(\w+)"', message)
    return f"ARQWAY_{field[1].upper()}: not the JSON it should be" if field else message


def first_problem(error: ValidationError) -> str:
    """Return one line about the first invalid setting, without its value, which may be a secret."""
    problem = error.errors(include_url=False, include_input=False)[0]
    name = str(problem["loc"][0]).upper()
    variable = name if name == "REDIS_URL" else f"ARQWAY_{name}"
    return f"{variable}: {problem['msg']}"
