"""Limits on the resources that clients may use."""

import sys
from dataclasses import dataclass

from arqway.service.settings import ServiceSettings

if sys.platform != "win32":
    import resource

_MANY_FILES = 1 << 20
_FILES_KEPT = 1_000
"""Open files reserved for Redis, reports and the like. Half may be used to tell excess clients to come back later."""


@dataclass(frozen=True)
class WireLimits:
    """The limits. Beyond ``max_connections``, up to ``max_refused`` clients get a 503; any others are disconnected."""

    max_connections: int
    max_refused: int
    max_header_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    send_timeout_s: float
    log: bool

    @classmethod
    def of(cls, settings: ServiceSettings, files: int) -> "WireLimits":
        """Return the limits for a process that may have ``files`` files open."""
        kept = min(_FILES_KEPT, files // 4)
        return cls(
            max_connections=min(settings.max_connections, files - kept),
            max_refused=kept // 2,
            max_header_bytes=settings.max_header_bytes,
            header_timeout_s=settings.header_timeout_s,
            body_timeout_s=settings.body_timeout_s,
            send_timeout_s=settings.send_timeout_s,
            log=settings.access_log,
        )


def raise_open_files() -> int:
    """Raise this process's limit of open files to the hard limit, and return the new limit."""
    if sys.platform == "win32":
        return _MANY_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS: the kernel allows less than the hard limit says
        hard = soft
    return _MANY_FILES if hard == resource.RLIM_INFINITY else hard
