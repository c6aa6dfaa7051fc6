"""Where the API listens: whether it can and may, and its URL. This is checked before any process is started."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from arqway.service.access import hosts
from arqway.service.cli.redis_server import on_server
from arqway.service.cli.terminal import WRONG_INPUT, CommandError
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.embedded import EmbeddedServer

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, never listened on


def refuse_taken_port(host: str, port: int) -> None:
    """Raise CommandError if ``host:port`` cannot be listened on at the moment."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in addresses:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "set ARQWAY_PORT to another port, or ARQWAY_HOST to another address"
        raise CommandError(f"cannot listen on {host}:{port}: {reason}; {hint}", WRONG_INPUT) from None


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def base_url(host: str, port: int) -> str:
    """Return the URL at which a client on this machine reaches an API that listens on ``host:port``."""
    reached = _ANY.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def refuse_exposure(settings: ServiceSettings) -> None:
    """Raise CommandError if other machines could call the API without a key."""
    with _in_one_line():
        hosts.refuse_exposure(settings)


def refuse_locked_door(settings: ServiceSettings, server: EmbeddedServer | None) -> None:
    """Raise CommandError if other machines should be able to call the API, but no usable key exists.

    On the loopback interface this is not an error; the API itself logs a warning.

    Args:
        settings: The settings that the API will use.
        server: The embedded server that it will use, if any.
    """
    if not hosts.is_loopback(settings.host):
        with _in_one_line():
            hosts.refuse_locked_door(on_server(settings, server))


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise CommandError(str(error), WRONG_INPUT) from None
