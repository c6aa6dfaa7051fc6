"""Checks whether the service may listen on its configured address: beyond this machine only with API keys."""

import asyncio
import logging

from arqway.service.access.hosts import is_loopback
from arqway.service.settings import ServiceSettings
from arqway.workers.client.access import open_access
from arqway.workers.contract.errors import ConfigurationError, StoreUnavailable

logger = logging.getLogger("arqway.service")

_PATIENCE_S = 2.0


def refuse_exposure(settings: ServiceSettings) -> None:
    """Raise ConfigurationError if other machines could call the service without an API key."""
    if settings.auth == "off" and not is_loopback(settings.host):
        raise ConfigurationError(
            f"ARQWAY_HOST={settings.host} lets other machines in: set ARQWAY_AUTH=keys, "
            "and make a key with `arqway keys create`"
        )


def refuse_locked_door(settings: ServiceSettings) -> None:
    """Raise ConfigurationError if other machines should be able to call the service, but no usable API key exists.

    On the loopback interface this is only a warning, since anyone on this machine can still make a key. Nor is it an
    error if Redis does not answer: keys are looked up again with each request.
    """
    if settings.auth == "off" or asyncio.run(_has_usable_key(settings)):
        return
    if not is_loopback(settings.host):
        raise ConfigurationError("there is no API key that can be used: make one with `arqway keys create --name NAME`")
    logger.warning("There is no API key that can be used; `arqway keys create --name NAME` makes one")


async def _has_usable_key(settings: ServiceSettings) -> bool:
    """Return whether a usable key exists; True if Redis does not answer."""
    try:
        async with asyncio.timeout(_PATIENCE_S), open_access(settings) as access:
            return any(found.usable_ms for found in await access.keys.read_all())
    except (StoreUnavailable, TimeoutError):
        return True
