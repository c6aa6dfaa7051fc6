"""Settings of the HTTP service, including those that it shares with the worker."""

from typing import Literal

from pydantic import Field, field_validator

from arqway.workers.contract.api_key import Rate
from arqway.workers.settings import PositiveSeconds, Settings, read_settings


class ServiceSettings(Settings):
    """The shared ``Settings``, and where and how the service listens."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address the service listens on; 0.0.0.0: all")
    port: int = Field(default=8000, ge=0, le=65_535, description="port the service listens on; 0: any free one")
    root_path: str = Field(
        default="",
        pattern=r"^(/[^/?#\s]+)*$",
        description="path below which clients reach the service, e.g. /jobs, behind a proxy",
    )
    auth: Literal["off", "keys"] = Field(
        default="off", description="keys: every request needs an API key; off: none does, so only this machine may call"
    )
    trusted_hosts: tuple[str, ...] = Field(
        default=(), description="with auth off, names besides localhost that requests may use, as a JSON list"
    )
    rate_limit: str | None = Field(default=None, description="of keys without a rate of their own: 100/s burst 200")
    max_body_bytes: int = Field(default=1_048_576, ge=1, description="largest request body that is accepted")
    max_header_bytes: int = Field(default=32_768, ge=1_024, description="largest head of a request that is accepted")
    max_connections: int = Field(
        default=20_000, ge=1, description="maximum of open connections; lower if files run out"
    )
    header_timeout_s: PositiveSeconds = Field(default=10, description="time that a client has to send a request's head")
    body_timeout_s: PositiveSeconds = Field(default=30, description="time that a client has to send a request's body")
    send_timeout_s: PositiveSeconds = Field(
        default=30, description="a client that reads nothing of its response for this long is cut off"
    )
    keep_alive_s: int = Field(default=5, ge=1, description="how long a connection may wait for its next request")
    cors_origins: tuple[str, ...] = Field(
        default=(), description="origins whose pages may call the service, as a JSON list"
    )
    max_wait_s: float = Field(default=60, ge=0, description="the longest that `Prefer: wait` may ask for")
    idempotency_s: PositiveSeconds = Field(default=86_400, description="how long an Idempotency-Key is remembered")
    max_queue_depth: int | None = Field(
        default=None,
        ge=1,
        description="submissions are refused while this many jobs of the queue are ready to run; unset: never",
    )
    max_queue_age_s: PositiveSeconds | None = Field(
        default=None,
        description="submissions are refused while a job of the queue has waited for this long; unset: never",
    )
    max_streams: int = Field(default=10_000, ge=1, description="event streams that may be open")
    sse_heartbeat_s: PositiveSeconds = Field(default=15, description="longest silence on an event stream")
    access_log: bool = Field(default=True, description="whether each request is logged")

    @property
    def default_rate(self) -> Rate | None:
        """``rate_limit`` as a ``Rate``; None if it is not set."""
        return None if self.rate_limit is None else Rate.parse(self.rate_limit)

    @field_validator("rate_limit")
    @classmethod
    def _is_rate(cls, text: str | None) -> str | None:
        if text is not None:
            Rate.parse(text)
        return text


def service_settings(given: Settings) -> ServiceSettings:
    """Return the given settings, with those that only the service has read from the environment if missing.

    Raises:
        ConfigurationError: A variable that had to be read is unusable.
    """
    if isinstance(given, ServiceSettings):
        return given
    return read_settings(ServiceSettings).model_copy(update=dict(given))
