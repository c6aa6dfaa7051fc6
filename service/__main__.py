"""``python -m arqway.service``: serve HTTP until asked to stop."""

import gc
import logging
import socket
import sys

from pydantic import SecretStr

from arqway.service.access.hosts import refuse_exposure, refuse_locked_door
from arqway.service.app import create_app
from arqway.service.server.server import BACKLOG, Server, server_config
from arqway.service.settings import ServiceSettings, service_settings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.logs import configure_logs
from arqway.workers.processes.target import load_target
from arqway.workers.registry import Registry
from arqway.workers.settings import read_settings

logger = logging.getLogger("arqway.service")


def run(target_name: str | None = None, *, port: int | None = None, redis_url: str | None = None) -> None:
    """Run the service. Exits with code 2 and one line on stderr if the configuration is unusable.

    Args:
        target_name: The registry or ``Arqway`` object, ``package.module:NAME``; by default the one in ``ARQWAY_JOBS``.
        port: Overrides the one in the settings.
        redis_url: Overrides the one in the settings.
    """
    try:
        settings, registry = _read(target_name, port, redis_url)
        refuse_exposure(settings)
        configure_logs(settings.log_level, settings.log_format)
        refuse_locked_door(settings)
        listener = _listen(settings.host, settings.port)
    except ConfigurationError as error:
        sys.stderr.write(f"arqway api: {error}\n")
        sys.exit(2)
    with listener:
        config = server_config(create_app(settings, registry), settings)
        host, bound_port = listener.getsockname()[:2]
        logger.info("The service listens on http://%s:%s", f"[{host}]" if ":" in host else host, bound_port)
        _collect_less_often()
        Server(config).run(sockets=[listener])


def _read(target_name: str | None, port: int | None, redis_url: str | None) -> tuple[ServiceSettings, Registry]:
    settings = read_settings(ServiceSettings)
    target = load_target(target_name or settings.jobs)
    if target.settings is not None:
        settings = service_settings(target.settings)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    if redis_url is not None:
        settings = settings.model_copy(update={"redis_url": SecretStr(redis_url)})
    if settings.redis_url is None:
        raise ConfigurationError("REDIS_URL is not set; `arqway up` starts a server of its own")
    return settings, target.registry


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _collect_less_often() -> None:
    """Exclude imported modules from garbage collection, and scan long-lived objects only rarely.

    With 1,000 event streams open, a full collection stalled every request for 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 4, 1_000)


if __name__ == "__main__":
    run()
