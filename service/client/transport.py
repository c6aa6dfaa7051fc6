"""Sending requests, and sending them again where that is safe and may help."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx

from arqway.service.client.errors import ApiError, Unavailable, error_of
from arqway.service.client.patience import Patience
from arqway.service.client.views import ViewT, read_object, read_view
from arqway.workers.contract.errors import ConfigurationError

_CONNECTIONS = 1_000
"""Each waiter and each stream holds one."""
_KEEP_ALIVE_S = 4.0
"""Less than the service's 5 s, so that a request does not meet a connection that is being closed."""
_TRIES_IN_TIME = 3
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Request(NamedTuple):
    """What to ask."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    repeatable: bool = True
    """Whether it does no harm if the service gets it twice."""


class Transport:
    """Requests to one service. Safe to share between tasks of one event loop.

    Args:
        base_url: Where the service is.
        api_key: Is sent with every request, and appears nowhere else.
        timeout_s: How long a call may take, all its tries together. One try of a request that may be repeated gets a
            third of it.
        retries: Tries after the first.
        connect: Makes the connections; None: httpx as it is, without the environment's proxies and certificates.

    Raises:
        ConfigurationError: The URL or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        timeout_s: float,
        retries: int,
        connect: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        url = _checked_url(base_url)
        self.url = str(url.copy_with(userinfo=b""))
        self.timeout_s = timeout_s
        self._retries = retries
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=_authorization(api_key),
            limits=httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S),
            transport=connect,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def patience(self, *, wait_s: float = 0, stubborn: bool = False) -> Patience:
        """Return the patience of one call; ``stubborn``: as many tries as there is time for."""
        until_s = asyncio.get_running_loop().time() + self.timeout_s + wait_s
        return Patience(until_s=until_s, retries=None if stubborn else self._retries)

    async def send(self, request: Request, *, wait_s: float = 0, patience: Patience | None = None) -> httpx.Response:
        """Return a good answer, or a 304.

        A request is sent again after 429, 502, 503, 504, a 409 that says the first one with its Idempotency-Key is
        still being served, and a broken connection; one that must not be repeated only if it was not served for sure.

        Args:
            request: What to ask.
            wait_s: How long the service will take because it was asked to.
            patience: How long and how often to try; None: as the client was told.

        Raises:
            ApiError: Another answer, or none.
        """
        patience = patience or self.patience(wait_s=wait_s)
        repeated = False
        while True:
            try:
                return await self._send_once(request, patience, wait_s)
            except ApiError as error:
                error.repeated = repeated
                await self.rest(request, error, patience)
                repeated |= _may_have_served(error)

    async def ask(self, request: Request, kind: type[ViewT], *, wait_s: float = 0) -> ViewT:
        """Return what a good answer says, as one of ``service.shapes``. Raises ApiError, as ``send``."""
        return read_view(kind, read_object((await self.send(request, wait_s=wait_s)).content))

    async def rest(self, request: Request, error: ApiError, patience: Patience) -> None:
        """Wait until the request may be sent again. Raises the error if it may not."""
        may = error.is_passing and (request.repeatable or not _may_have_served(error))
        pause_s = patience.pause_s(asyncio.get_running_loop().time(), error.retry_after_s) if may else None
        if pause_s is None:
            raise error
        await asyncio.sleep(pause_s)

    async def _send_once(self, request: Request, patience: Patience, wait_s: float) -> httpx.Response:
        left_s = patience.left_s(asyncio.get_running_loop().time())
        try_s = wait_s + self.timeout_s / (_TRIES_IN_TIME if request.repeatable else 1)
        try:
            async with asyncio.timeout(left_s):
                answer = await self._http.send(self._built(request, min(left_s, try_s)))
        except (httpx.RequestError, TimeoutError) as error:
            raise self._no_answer(error) from error
        if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
            return answer
        raise error_of(answer)

    @asynccontextmanager
    async def open(self, request: Request, *, silence_s: float) -> AsyncIterator[httpx.Response]:
        """Give an answer whose body is still coming. It is tried once.

        Args:
            request: What to ask.
            silence_s: For so long nothing may come.

        Raises:
            ApiError: Another answer, or none, or one that broke off.
        """
        try:
            answer = await self._http.send(self._built(request, silence_s), stream=True)
            try:
                if not answer.is_success:
                    await answer.aread()
                    raise error_of(answer)
                yield answer
            finally:
                await answer.aclose()
        except httpx.RequestError as error:
            raise self._no_answer(error) from error

    def _built(self, request: Request, timeout_s: float) -> httpx.Request:
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, self.timeout_s / _TRIES_IN_TIME))
        declared = {} if request.body is None else {"Content-Type": "application/json"}
        return self._http.build_request(
            request.method,
            request.path,
            params=request.query or None,  # type: ignore[arg-type]  # httpx takes any sequence of pairs
            content=request.body,
            headers={**declared, **request.headers},
            timeout=timeout,
        )

    def _no_answer(self, error: Exception) -> Unavailable:
        why = str(error) or type(error).__name__
        if isinstance(error, _UNSENT):
            unsent = Unavailable(f"No service answers at {self.url}: {why}")
            unsent.reached = False
            return unsent
        return Unavailable(f"The service at {self.url} broke off: {why}")


def _may_have_served(error: ApiError) -> bool:
    """Tell whether the request may have had its effect. A 503 may come from behind it: Redis was lost on the way."""
    return error.reached and isinstance(error, Unavailable)


def _checked_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise ConfigurationError("The base URL is none.") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError("The base URL must start with http:// or https:// and a host.")
    return url


def _authorization(api_key: str | None) -> dict[str, str]:
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise ConfigurationError("This cannot be an API key: it has spaces or odd characters.")
    return {"Authorization": f"Bearer {api_key}"}
