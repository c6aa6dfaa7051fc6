"""Whether the service may listen where it was told to: not beyond this machine without API keys."""

import asyncio
import logging

from arqway.service.access.hosts import is_loopback
from arqway.service.settings import ServiceSettings
from arqway.workers.client.access import open_access
from arqway.workers.contract.errors import ConfigurationError, StoreUnavailable

logger = logging.getLogger("arqway.service")

_PATIENCE_S = 2.0


def refuse_exposure(settings: ServiceSettings) -> None:
    """Raise ConfigurationError where others could call the service and it would ask them for no key."""
    if settings.auth == "off" and not is_loopback(settings.host):
        raise ConfigurationError(
            f"ARQWAY_HOST={settings.host} lets other machines in: set ARQWAY_AUTH=keys, "
            "and make a key with `arqway keys create`"
        )


def refuse_locked_door(settings: ServiceSettings) -> None:
    """Raise ConfigurationError where others are meant to call the service, and there is no key that would let them in.

    Whoever is on this machine can still make a key, so on the loopback it is only told. Redis that does not answer is
    no reason either: keys are asked for again with each request.
    """
    if settings.auth == "off" or asyncio.run(_has_usable_key(settings)):
        return
    if not is_loopback(settings.host):
        raise ConfigurationError("there is no API key that can be used: make one with `arqway keys create --name NAME`")
    logger.warning("There is no API key that can be used; `arqway keys create --name NAME` makes one")


async def _has_usable_key(settings: ServiceSettings) -> bool:
    """Tell whether there is one; true where Redis does not say."""
    try:
        async with asyncio.timeout(_PATIENCE_S), open_access(settings) as access:
            return any(found.usable_ms for found in await access.keys.read_all())
    except (StoreUnavailable, TimeoutError):
        return True
