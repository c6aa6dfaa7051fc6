"""Sending requests, and sending them again if that is safe and may help."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import httpx

from arqway.service.client.errors import ApiError, Unavailable, UnexpectedAnswer, error_of
from arqway.service.client.views import ViewT, read_object, read_view
from arqway.workers.contract.errors import ConfigurationError

EVENT_STREAM = "text/event-stream"
FIRST_S, LONGEST_S = 0.2, 10.0
"""The pause after the first failure is up to the first of these, and doubles up to the second."""
_CONNECTIONS = 1_000
"""Each call that waits, and each stream, holds one."""
_KEEP_ALIVE_S = 4.0
"""Less than the service's 5 s, so that no request is sent on a connection that the service is closing."""
_TRIES_IN_TIME = 3
_PAGE = 200
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

jitter = Random().uniform  # noqa: S311 - not a secret


@dataclass(kw_only=True)
class Patience:
    """How long and how often a request is tried again, with full jitter: clients that fail together return apart."""

    until_s: float
    """When to give up, by the clock of ``pause_s``."""
    retries: int | None
    """Tries after the first; None: as many as there is time for."""
    uniform: Callable[[float, float], float] = jitter
    """Returns a random number between two others."""
    failures: int = field(default=0, init=False)

    def left_s(self, now_s: float) -> float:
        """Return how much time is left."""
        return max(0.0, self.until_s - now_s)

    def pause_s(self, now_s: float, told_s: float | None) -> float | None:
        """Return how long to wait before the next try, or None if there should be none.

        Args:
            now_s: The time.
            told_s: What the service asked for. The next try is never sooner.
        """
        left_s, least_s = self.left_s(now_s), told_s or 0.0
        if self.failures == self.retries or least_s >= left_s:
            return None
        most_s = min(FIRST_S * 2 ** min(self.failures, 16), LONGEST_S, (left_s - least_s) / 2)
        self.failures += 1
        return least_s + self.uniform(0.0, most_s)


class Request(NamedTuple):
    """A request to the service."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    repeatable: bool = True
    """Whether it does no harm if the service receives it twice."""


class Transport:
    """Requests to one service. Tasks of one event loop may share it.

    Args:
        url: The URL of the service.
        api_key: Sent with every request, and never shown.
        timeout_s: How long a call may take, including all its tries. One try of a request that may be repeated gets a
            third of it.
        retries: Tries after the first.
        connect: Opens the connections; None: httpx's default, without the environment's proxies and certificates.

    Raises:
        ConfigurationError: The URL or the key is malformed.
    """

    def __init__(
        self, url: str, *, api_key: str | None, timeout_s: float, retries: int, connect: httpx.AsyncBaseTransport | None
    ) -> None:
        try:
            base_url = httpx.URL(url)
        except (httpx.InvalidURL, TypeError):
            raise ConfigurationError("The base URL is malformed.") from None
        if base_url.scheme not in {"http", "https"} or not base_url.host:
            raise ConfigurationError("The base URL must start with http:// or https:// and a host.")
        if api_key and not re.fullmatch("[!-~]+", api_key):
            raise ConfigurationError("This cannot be an API key: it has spaces or odd characters.")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S)
        self.url = str(base_url.copy_with(userinfo=b""))
        self._timeout_s, self._try_s = timeout_s, timeout_s / _TRIES_IN_TIME
        self._retries = retries
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=headers, limits=limits, transport=connect, trust_env=False
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def patience(self, *, wait_s: float = 0, stubborn: bool = False) -> Patience:
        """Return the patience of one call; ``stubborn``: as many tries as there is time for."""
        until_s = asyncio.get_running_loop().time() + self._timeout_s + wait_s
        return Patience(until_s=until_s, retries=None if stubborn else self._retries)

    async def send(self, request: Request, *, wait_s: float = 0, patience: Patience | None = None) -> httpx.Response:
        """Return a successful response, or a 304.

        A request is sent again after 429, 502, 503, 504, a broken connection, and a 409 that says that the first
        request with its Idempotency-Key is still being served. A request that must not be repeated is sent again only
        if it was certainly not served.

        Args:
            request: The request.
            wait_s: How long the service was asked to wait before it responds.
            patience: How long and how often to try; None: as the client was told.

        Raises:
            ApiError: Another response, or none.
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
        """Return the body of a successful response, as one of ``service.shapes``. Raises ApiError, as ``send``."""
        return read_view(kind, read_object((await self.send(request, wait_s=wait_s)).content))

    async def pages(
        self, path: str, member: str, query: Sequence[tuple[str, str]] = ()
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the elements of all pages of a list, each page fetched when it is needed.

        Args:
            path: The path of the list.
            member: The member of a page that has the elements.
            query: Other parameters.
        """
        cursor: list[tuple[str, str]] = []
        while True:
            request = Request("GET", path, [*query, ("limit", str(_PAGE)), *cursor])
            page = read_object((await self.send(request)).content)
            elements = page.get(member)
            if not isinstance(elements, list) or not all(isinstance(element, dict) for element in elements):
                raise UnexpectedAnswer(f"The response has no {member}.")
            for element in elements:
                yield element
            if page.get("next") is None:
                return
            cursor = [("cursor", str(page["next"]))]

    async def rest(self, request: Request, error: ApiError, patience: Patience) -> None:
        """Wait until the request may be sent again. Raises the error if it may not."""
        may = error.is_passing and (request.repeatable or not _may_have_served(error))
        pause_s = patience.pause_s(asyncio.get_running_loop().time(), error.retry_after_s) if may else None
        if pause_s is None:
            raise error
        await asyncio.sleep(pause_s)

    async def _send_once(self, request: Request, patience: Patience, wait_s: float) -> httpx.Response:
        left_s = patience.left_s(asyncio.get_running_loop().time())
        try_s = wait_s + (self._try_s if request.repeatable else self._timeout_s)
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
        """Yield the response to a request for an event stream, which is tried once: the open stream, or a 204.

        Args:
            request: The request.
            silence_s: How long the stream may be silent.

        Raises:
            ApiError: Another response, or none, or the stream broke off.
        """
        try:
            answer = await self._http.send(self._built(request, silence_s), stream=True)
            async with aclosing(answer):
                if not answer.is_success:
                    await answer.aread()
                    raise error_of(answer)
                has_events = answer.headers.get("content-type", "").startswith(EVENT_STREAM)
                if answer.status_code != httpx.codes.NO_CONTENT and not has_events:
                    raise UnexpectedAnswer("The response is not an event stream.")
                yield answer
        except httpx.RequestError as error:
            raise self._no_answer(error) from error

    def _built(self, request: Request, timeout_s: float) -> httpx.Request:
        method, path, query, body, headers, _ = request
        if body is not None:
            headers = {"Content-Type": "application/json", **headers}
        params, timeout = tuple(query) or None, httpx.Timeout(timeout_s, connect=min(timeout_s, self._try_s))
        return self._http.build_request(method, path, params=params, content=body, headers=headers, timeout=timeout)

    def _no_answer(self, error: Exception) -> Unavailable:
        why = str(error) or type(error).__name__
        if isinstance(error, _UNSENT):
            return Unavailable(f"No service answers at {self.url}: {why}", reached=False)
        return Unavailable(f"The service at {self.url} broke off: {why}")


def _may_have_served(error: ApiError) -> bool:
    """Return whether the request may have had its effect. A 503 may come after it: Redis was lost meanwhile."""
    return error.reached and isinstance(error, Unavailable)
