"""Host names and addresses: which mean this machine, which others are trusted, and on which the service may listen."""

import asyncio
import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from arqway.service.settings import ServiceSettings
from arqway.workers.client.access import open_access
from arqway.workers.contract.errors import ConfigurationError, StoreUnavailable

logger = logging.getLogger("arqway.service")

_PATIENCE_S = 2.0
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_.-]{1,253}))(?::[0-9]{0,5})?")
"""``name``, ``name:port`` or ``[address]:port``."""


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is ``localhost`` or a loopback address (127.0.0.0/8, ::1). Names are not resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class TrustedHosts:
    """The host names by which a service without keys may be called: those of the loopback interface, and some more.

    A web page can make its own host name resolve to 127.0.0.1 and then call this service as if it were the page's own
    server (DNS rebinding). Such a request is recognised by its Host header, which holds the page's name.

    Args:
        names: Further host names, without ports.
        origins: Origins whose pages may call although their host is not trusted, e.g. ``https://shop.test``.
    """

    def __init__(self, names: Iterable[str], origins: Iterable[str]) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._origins = frozenset(origins)
        self.has_host = lru_cache(maxsize=256)(self._has_host)
        """Return whether this value of the Host header is trusted."""

    def has_origin(self, origin: str) -> bool:
        """Return whether this value of the Origin header is trusted; ``null`` is not."""
        scheme, _, host = origin.partition("://")
        return origin in self._origins or (scheme in ("http", "https") and self._has_host(host))

    def _has_host(self, host: str) -> bool:
        if (found := _HOST.fullmatch(host)) is None:
            return False
        name = (found[1] or found[2]).lower()
        return is_loopback(name) or name in self._names


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
