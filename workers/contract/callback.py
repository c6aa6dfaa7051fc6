"""Validation of callback URLs and of the addresses behind them, and the format of webhook secrets.

A URL is checked twice: here by its text, when it is submitted; and by the addresses its host resolves to, on every
delivery (``workers.webhooks.address``). Only the second check knows where a host name leads.
"""

import re
from base64 import b64decode
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from arqway.workers.contract.errors import InvalidSubmission

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

URL_CHARS = 2_048
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, not a secret
_SECRET_BYTES = range(24, 65)

_PRINTABLE = re.compile(r"[!-~]*")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:\d{1,5})?")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_HOST_CHARS = 253
_NUMBER = re.compile(r"(\d+|0[xX][0-9a-fA-F]*)")

_THIS_HOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All other IPv6 addresses have a special purpose. Source: IANA, "IPv6 Address Space"."""
_NAT64 = IPv6Network("64:ff9b::/96")
_SPECIAL: tuple[Network, ...] = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))
"""Special-purpose networks, global to some versions of ``ipaddress``. Source: IANA's special-purpose registries."""


def may_be_called(address: Address, allow: Sequence[Network], *, plain: bool = False) -> bool:
    """Return whether ``address`` is in a network of ``allow`` or, unless ``plain`` (without TLS), public.

    An IPv6 address with an embedded IPv4 address, which its packets are sent to, is judged by that one.
    """
    if isinstance(address, IPv6Address):  # a mapped address, or one behind a NAT64 gateway (RFC 6052)
        embedded = IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else address.ipv4_mapped
        address = embedded or address
    return any(address in network for network in allow) or (not plain and _is_public(address))


def _is_public(address: Address) -> bool:
    if any(address in network for network in _SPECIAL):
        return False
    if isinstance(address, IPv6Address):
        if address not in _GLOBAL_UNICAST or address.teredo is not None:
            return False
        if address.sixtofour is not None and not _is_public(address.sixtofour):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_callback_url(url: str, allow: Sequence[Network]) -> None:
    """Check a callback URL as far as possible without resolving its host.

    Args:
        url: The URL a client submitted.
        allow: Networks that may be called although they are not public, and without TLS.

    Raises:
        InvalidSubmission: The URL cannot be called.
    """
    if (problem := _problem_of_text(url) or _problem_of_parts(url, allow)) is not None:
        raise InvalidSubmission(f"The callback URL {problem}.")


def _problem_of_text(url: str) -> str | None:
    if len(url) > URL_CHARS:
        return f"is longer than {URL_CHARS:,} characters"
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        return "has a character other than printable ASCII, or a backslash"
    return "has a fragment, which is never sent to a server" if "#" in url else None


def _problem_of_parts(url: str, allow: Sequence[Network]) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and not allow):
        return "does not begin with https://"
    if "@" in parts.netloc:
        return "contains a user name"
    if not _AUTHORITY.fullmatch(parts.netloc) or port == 0:
        return "has no host that can be called"
    return _problem_of_host(parts, allow)


def _problem_of_host(parts: SplitResult, allow: Sequence[Network]) -> str | None:
    name = (parts.hostname or "").removesuffix(".")
    addresses: Sequence[Address]
    try:
        addresses = (ip_address(name),)
    except ValueError:
        if not _is_name(name):
            return "has no host that can be called"
        addresses = _THIS_HOST if name == "localhost" or name.endswith(".localhost") else ()
    if addresses and not any(may_be_called(address, allow, plain=parts.scheme == "http") for address in addresses):
        return "leads to an address that may not be called"
    return None


def _is_name(name: str) -> bool:
    """Return whether ``name`` is a host name. Names ending in a number are not: 127.1 may be resolved as an address."""
    labels = name.split(".")
    return len(name) <= _HOST_CHARS and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])


def secret_key(secret: str) -> bytes:
    """Return the key in a secret ``whsec_<base64>``. Raises ValueError, without the secret in its message.

    Source: Standard Webhooks 1.0.0, "Signature scheme": 24 to 64 bytes.
    """
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise ValueError(f"a webhook secret is {SECRET_PREFIX} followed by the base64 of 24 to 64 random bytes")
    return key
