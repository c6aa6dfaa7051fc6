"""Where the API listens, and how it is reached there."""

import socket

from arqway.service.cli.errors import WRONG_INPUT, CommandError

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


def refuse_taken_port(host: str, port: int) -> None:
    """Raise CommandError if nobody could listen on ``host:port`` now."""
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
    """Return a port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def base_url(host: str, port: int) -> str:
    """Return the URL under which a client on this machine reaches an API that listens on ``host:port``."""
    reached = _ANY.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
