"""Host names and addresses: which of them mean this machine, and which others are trusted."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_.-]{1,253}))(?::[0-9]{0,5})?")


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
        name = _name_of(host)
        return name is not None and (is_loopback(name) or name in self._names)


def _name_of(host: str) -> str | None:
    """Return the name in ``name``, ``name:port`` or ``[address]:port``; None for any other text."""
    read = _HOST.fullmatch(host)
    return (read[1] or read[2]).lower() if read else None
