"""The guard: a network backend for httpcore that connects only to addresses that may be called.

A name is resolved once. All its addresses are checked, and the connection goes to one of them. Nothing is resolved
again, so a name that changes its address (DNS rebinding) gains nothing. Redirects connect through the guard like any
other request. TLS runs above it and checks the certificate against the name.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import httpcore

from arqway.workers.contract.callback import Network, may_be_called

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class CallbackRefused(Exception):  # noqa: N818
    """A callback leads where none may go. The text may be shown to whoever asked for it."""

    def __init__(self, message: str = "The callback URL leads to an address that may not be called.") -> None:
        super().__init__(message)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, the best first. Raises OSError.

    Each call has a thread of its own. A name server may take half a minute to fail; in the event loop's thread pool,
    lookups that wait for it would block the jobs, and the reconnection to Redis.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def tell(method: Callable[[Any], None], value: object) -> None:
        with suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(lambda: None if answer.done() else method(value))

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)
        except OSError as error:
            tell(answer.set_exception, error)
        else:
            tell(answer.set_result, [str(entry[4][0]) for entry in found])

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    return await answer


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that may be called.

    Args:
        allow: Networks that may be called although they are not public.
        plain: Whether its connections have no TLS; they may go to ``allow`` only.
        resolve: Returns the addresses of a host, which may itself be an address.
    """

    def __init__(self, allow: Sequence[Network], *, plain: bool, resolve: Resolve = resolve) -> None:
        self._allow = allow
        self._plain = plain
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect within ``timeout`` seconds, including name resolution.

        Raises:
            CallbackRefused: One of the host's addresses may not be called.
            httpcore.ConnectError: The host cannot be resolved, or none of its addresses accepts the connection.
            httpcore.ConnectTimeout: There was not enough time.
        """
        loop = asyncio.get_running_loop()
        deadline_s = None if timeout is None else loop.time() + timeout
        try:
            async with asyncio.timeout_at(deadline_s):
                addresses = self._checked(await self._resolve(host, port))
        except TimeoutError:
            raise httpcore.ConnectTimeout("the host was not resolved in time") from None
        except OSError as error:
            raise httpcore.ConnectError("the host cannot be resolved") from error
        return await self._connect_to_first(addresses, port, deadline_s)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a callback never leads to a socket of this machine."""
        raise CallbackRefused

    async def sleep(self, seconds: float) -> None:
        """Wait, as httpcore requires of a network backend."""
        await asyncio.sleep(seconds)

    def _checked(self, found: Sequence[str]) -> list[str]:
        """Return the distinct addresses. One that may not be called rules out all: no honest name has such a mix."""
        addresses = [ip_address(text) for text in dict.fromkeys(found)]
        if not all(may_be_called(address, self._allow, plain=self._plain) for address in addresses):
            raise CallbackRefused
        return [str(address) for address in addresses]

    async def _connect_to_first(
        self, addresses: Sequence[str], port: int, deadline_s: float | None
    ) -> httpcore.AsyncNetworkStream:
        """Try the addresses in turn; each gets its share of the remaining time."""
        now = asyncio.get_running_loop().time
        failure: Exception = httpcore.ConnectError("the host has no address")
        for tried, address in enumerate(addresses):
            share_s = None if deadline_s is None else max(0.0, deadline_s - now()) / (len(addresses) - tried)
            try:
                return await self._network.connect_tcp(address, port, timeout=share_s)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure
