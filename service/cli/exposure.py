"""What ``service.access.exposure`` refuses, asked before any process is started and told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from arqway.service.access import exposure
from arqway.service.access.hosts import is_loopback
from arqway.service.cli.errors import WRONG_INPUT, CommandError
from arqway.service.cli.redis_server import on_server
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.embedded import EmbeddedServer


def refuse_exposure(settings: ServiceSettings) -> None:
    """Raise CommandError where others could call the API and it would ask them for no key."""
    with _in_one_line():
        exposure.refuse_exposure(settings)


def refuse_locked_door(settings: ServiceSettings, server: EmbeddedServer | None) -> None:
    """Raise CommandError where others are meant to call the API, and no key would let them in.

    On the loopback that is no reason to refuse; the API itself tells it.

    Args:
        settings: What the API will read.
        server: The embedded server it will use, if any.
    """
    if not is_loopback(settings.host):
        with _in_one_line():
            exposure.refuse_locked_door(on_server(settings, server))


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise CommandError(str(error), WRONG_INPUT) from None
