"""``python -m service``: serve HTTP until told to stop."""

import logging
import socket
import sys

import uvicorn

from service.app import create_app
from service.settings import ServiceSettings
from workers.contract.errors import ConfigurationError
from workers.definition import Registry, load_registry
from workers.logs import configure_logs
from workers.settings import read_settings

logger = logging.getLogger("service")

_GRACEFUL_S = 10
_BACKLOG = 2048


def run() -> None:
    """Run the service. Exits with 2 and one line on stderr if the configuration cannot work."""
    try:
        settings = _read_settings()
        configure_logs(settings.log_level, settings.log_format)
        registry = load_registry(settings.jobs)
        listener = _listen(settings.host, settings.port)
    except ConfigurationError as error:
        sys.exit(_refuse(str(error)))
    with listener:
        _serve(listener, settings, registry)


def _read_settings() -> ServiceSettings:
    settings = read_settings(ServiceSettings)
    if settings.redis_url is None:
        raise ConfigurationError("REDIS_URL is not set; `arqway up` starts a server of its own")
    return settings


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _serve(listener: socket.socket, settings: ServiceSettings, registry: Registry) -> None:
    config = uvicorn.Config(
        create_app(settings, registry),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACEFUL_S,
    )
    host, port = listener.getsockname()[:2]
    logger.info("The service listens on http://%s:%s", f"[{host}]" if ":" in host else host, port)
    uvicorn.Server(config).run(sockets=[listener])


def _refuse(reason: str) -> int:
    sys.stderr.write(f"arqway api: {reason}\n")
    return 2


if __name__ == "__main__":
    run()
