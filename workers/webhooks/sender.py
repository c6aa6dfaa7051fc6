"""The sender: one POST to a receiver, and its answer. A receiver may be slow, broken or hostile.

Only the status and the headers are used; a little of the body is read and dropped. No proxy and no credentials are
taken from the environment. Certificates are checked against ``SSL_CERT_FILE`` if set, otherwise certifi's.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx

from arqway.workers.contract.callback import Network, check_callback_url
from arqway.workers.contract.errors import InvalidSubmission
from arqway.workers.webhooks.address import CallbackRefused, GuardedNetwork, Resolve, resolve

WITHIN_S = 15.0
_CONNECT_S = 5.0
_REDIRECTS = 3
_SAME_METHOD = (307, 308)
"""Redirects that keep the POST. Any other would make it a GET without the message. Source: RFC 9110, 15.4."""
_SKIMMED_BYTES, _SKIM_S = 4_096, 1.0
_KEPT_OPEN, _KEEP_OPEN_S = 20, 2.0
"""Shorter than servers keep idle connections, often 5 s: if one closes just as it is reused, a delivery fails."""

_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)


class Unreachable(Exception):  # noqa: N818
    """The receiver gave no answer. The text may be shown to whoever chose the receiver."""


class Answer(NamedTuple):
    """The answer of a receiver."""

    status: int
    headers: Mapping[str, str]
    """Header names are in lower case."""


class Sender:
    """Posts to receivers; close it with ``aclose``. Keeps connections open briefly, as many jobs may end at once.

    Args:
        allow: Networks that may be called although they are not public, and without TLS.
        within_s: The time limit for an answer.
        resolve: Returns the addresses of a host.
    """

    def __init__(self, allow: Sequence[Network], *, within_s: float = WITHIN_S, resolve: Resolve = resolve) -> None:
        self._allow = allow
        self._within_s = within_s
        tls = httpx.create_ssl_context()
        self._pools = {
            "https": _pool(GuardedNetwork(allow, plain=False, resolve=resolve), tls),
            "http": _pool(GuardedNetwork(allow, plain=True, resolve=resolve), tls),
        }

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one message and return the answer, whatever its status. Redirects that keep the POST are followed.

        Raises:
            CallbackRefused: ``url`` or a redirect leads where no callback may go. The text may be shown to users.
            Unreachable: There was no answer.
        """
        try:
            async with asyncio.timeout(self._within_s):
                answer = await self._post(url, headers, body)
                for _ in range(_REDIRECTS):
                    if answer.status not in _SAME_METHOD or "location" not in answer.headers:
                        break
                    url = _joined(url, answer.headers["location"])
                    answer = await self._post(url, headers, body)
                return answer
        except TimeoutError:
            raise Unreachable(f"The receiver did not answer within {self._within_s:g} s.") from None
        except _FAILURES as error:
            raise Unreachable(_reason(error)) from error

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            check_callback_url(url, self._allow)
        except InvalidSubmission as error:
            raise CallbackRefused(str(error)) from None
        async with self._pools[urlsplit(url).scheme].stream(
            "POST", url, headers=[*headers.items()], content=body, extensions={"timeout": {"connect": _CONNECT_S}}
        ) as response:
            await _skim(response)
            names = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status, names)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise CallbackRefused("The receiver redirects to something that is not a URL.") from None


def _pool(network: GuardedNetwork, tls: ssl.SSLContext) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        ssl_context=tls,
        max_connections=None,
        max_keepalive_connections=_KEPT_OPEN,
        keepalive_expiry=_KEEP_OPEN_S,
        network_backend=network,
    )


async def _skim(response: httpcore.Response) -> None:
    """Read a short body to its end, so that the connection can be reused. Failures do not matter: the status counts."""
    read = 0
    with suppress(*_FAILURES):
        async with asyncio.timeout(_SKIM_S), aclosing(response.aiter_stream()) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                read += len(chunk)
                if read > _SKIMMED_BYTES:
                    return


def _reason(error: Exception) -> str:
    """Describe what went wrong, without revealing what only this side of the connection knows."""
    if isinstance(error, httpcore.TimeoutException):
        return "The receiver took too long to accept the connection."
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"The receiver's certificate was not accepted: {cause.verify_message}."
            case ssl.SSLError():
                return "The receiver speaks no TLS, or none that fits."
            case socket.gaierror():
                return "The receiver's name cannot be resolved."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ConnectError):
        return "The receiver does not accept connections."
    return "The receiver broke the connection, or did not answer with HTTP."
