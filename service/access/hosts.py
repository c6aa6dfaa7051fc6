"""Names and addresses: which of them are this machine, and whose requests may come from elsewhere."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_.-]{1,253}))(?::[0-9]{0,5})?")


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is ``localhost`` or an address of the loopback: 127.0.0.0/8, ::1. No name is looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class TrustedHosts:
    """The names by which a service without keys may be called: those of the loopback, and some more.

    A web page can have its own name lead to 127.0.0.1 and then ask us as if we were its own server (DNS rebinding).
    Such a request has the page's name as its Host, and that is how it is known.

    Args:
        names: The names besides, without a port.
        origins: Origins whose pages may ask although their names are neither, e.g. ``https://shop.test``.
    """

    def __init__(self, names: Iterable[str], origins: Iterable[str]) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._origins = frozenset(origins)
        self.has_host = lru_cache(maxsize=256)(self._has_host)
        """Tell whether this value of the header Host is trusted."""

    def has_origin(self, origin: str) -> bool:
        """Tell whether this value of the header Origin is trusted; ``null`` is not."""
        scheme, _, host = origin.partition("://")
        return origin in self._origins or (scheme in ("http", "https") and self._has_host(host))

    def _has_host(self, host: str) -> bool:
        name = _name_of(host)
        return name is not None and (is_loopback(name) or name in self._names)


def _name_of(host: str) -> str | None:
    """Return the name in ``name``, ``name:port`` or ``[address]:port``; None where it is none of them."""
    read = _HOST.fullmatch(host)
    return (read[1] or read[2]).lower() if read else None
