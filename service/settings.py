"""Settings of the HTTP service; the worker's, which it shares, included."""

from pydantic import Field

from workers.settings import Settings


class ServiceSettings(Settings):
    """What ``Settings`` says, and where and how the service listens."""

    host: str = Field("127.0.0.1", min_length=1, description="address the service listens on; 0.0.0.0: all")
    port: int = Field(8000, ge=0, le=65_535, description="port the service listens on; 0: any free one")
    max_body_bytes: int = Field(1_048_576, ge=1, description="largest request body that is accepted")
    cors_origins: tuple[str, ...] = Field((), description="origins whose pages may call the service, as a JSON list")
    access_log: bool = Field(True, description="whether each request is logged")
