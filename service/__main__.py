"""``python -m arqway.service``: serve HTTP until told to stop."""

import gc
import logging
import socket
import sys

from arqway.service.access.exposure import refuse_exposure, refuse_locked_door
from arqway.service.app import create_app
from arqway.service.server.server import BACKLOG, Server, server_config
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.logs import configure_logs
from arqway.workers.registry import Registry, load_registry
from arqway.workers.settings import read_settings

logger = logging.getLogger("arqway.service")


def run() -> None:
    """Run the service. Exits with 2 and one line on stderr if the configuration cannot work."""
    try:
        settings = _read_settings()
        refuse_exposure(settings)
        configure_logs(settings.log_level, settings.log_format)
        refuse_locked_door(settings)
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
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _serve(listener: socket.socket, settings: ServiceSettings, registry: Registry) -> None:
    config = server_config(create_app(settings, registry), settings)
    host, port = listener.getsockname()[:2]
    logger.info("The service listens on http://%s:%s", f"[{host}]" if ":" in host else host, port)
    _collect_less_often()
    Server(config).run(sockets=[listener])


def _collect_less_often() -> None:
    """Leave what was imported out of garbage collection, and nearly always what has lived for long.

    With 1,000 event streams open, one look at all objects kept everybody waiting for 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 4, 1_000)


def _refuse(reason: str) -> int:
    sys.stderr.write(f"arqway api: {reason}\n")
    return 2


if __name__ == "__main__":
    run()
