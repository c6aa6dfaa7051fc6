"""Reads request bodies, and refuses JSON that parsers would interpret differently (source: RFC 7493, I-JSON).

pydantic's parser takes the last of two equal names, reads NaN as a number and 1e999 as infinity, so it could accept
another job than the one that was meant. The check is a separate pass, in C except for its hooks; most bodies skip it.
"""

import re
from itertools import accumulate
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arqway.service.problems.errors import BodyTooLarge, NotJson, ServiceBusy, UnsupportedJson, UnsupportedMediaType
from arqway.workers.contract.errors import InvalidPayload

ModelT = TypeVar("ModelT", bound=BaseModel)

DEEPEST = 100
"""Levels of nesting. pydantic reads 200, and the envelope and the batch around a payload add some."""

_JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json\s*(;|$)", re.IGNORECASE)
_BODIES = 256
_BODY_UNREAD = frozenset({"GET", "HEAD", "OPTIONS"})
_MAY_OVERFLOW = re.compile(rb"NaN|Infinity|[0-9][eE]\+?[0-9]{3}|[0-9]{200}")  # 199 digits and e99 are below 1e308
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_ALL_ELSE = bytes(set(range(256)) - _STEPS.keys())


class BodyLimit:
    """Refuses a body that is too large, and any body while all bodies in memory exceed 256 times that limit.

    A body with a declared size is refused before its first byte, any other as soon as it exceeds the limit. The body of
    a GET is not counted, since no route reads it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let ``app`` serve one request. Reading a refused body raises BodyTooLarge or ServiceBusy."""
        if scope["method"] in _BODY_UNREAD:
            await app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else 0
        got = 0

        async def receive_limited() -> Message:
            nonlocal got
            self._check(size)
            message = await receive()
            part = len(message.get("body", b""))
            got += part
            self._held_bytes += part
            self._check(got)
            return message

        try:
            await app(scope, receive_limited, send)
        finally:
            self._held_bytes -= got

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise BodyTooLarge(self._max_bytes)
        if self._held_bytes > _BODIES * self._max_bytes:
            raise ServiceBusy("bodies")


async def read_json(request: Request, *, required: bool = True) -> bytes:
    """Return the body, unparsed, after checking that every parser would interpret it alike.

    Any declared type but JSON is refused, since a web page of any origin may make a browser send other types, or none,
    without a preflight. Source: Fetch standard, "CORS-safelisted request-header".

    Args:
        request: The request, whose body may be read again.
        required: Whether an empty body is refused; if not, it is returned, whatever its type.

    Raises:
        UnsupportedMediaType: The body is not declared as JSON.
        NotJson: The body is missing or not JSON.
        UnsupportedJson: See ``check_json``.
    """
    is_json = _JSON_TYPE.match(request.headers.get("content-type", ""))
    if required and not is_json:
        raise UnsupportedMediaType
    body = await _body(request)
    if body and not is_json:
        raise UnsupportedMediaType
    if required and not body:
        raise NotJson
    check_json(body)
    return body


def as_model(body: bytes, model: type[ModelT]) -> ModelT:
    """Parse a body as ``model``. Raises InvalidPayload."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidPayload("The body does not fit.", found) from error


def replayed(request: Request, body: bytes) -> Request:
    """Return the request with its body, which has already been read, available again."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)


async def _body(request: Request) -> bytes:
    """Return the body. One that arrives in a single message, as most do, bypasses Starlette's slower generator."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    return body + await request.body()


def check_json(body: bytes) -> None:
    """Refuse a body that is ambiguous. One that is not JSON at all may pass; its parser will refuse it.

    Raises:
        NotJson: It is not JSON.
        UnsupportedJson: An object has a duplicate name, a number exceeds a double or has more digits than Python
            reads, or it is nested deeper than ``DEEPEST``.
    """
    opened = body.count(b"[") + body.count(b"{")
    if opened <= DEEPEST and body.count(b":") < 2 and not _MAY_OVERFLOW.search(body):
        return
    _read(body)
    if opened > DEEPEST and _depth(body) > DEEPEST:
        raise _too_deep()


def _read(body: bytes) -> None:
    try:
        _READER.decode(body.decode())
    except RecursionError:
        raise _too_deep() from None
    except (JSONDecodeError, UnicodeDecodeError):
        raise NotJson from None
    except ValueError:  # Python's own limit: see sys.get_int_max_str_digits
        raise UnsupportedJson("A number in the body has too many digits.") from None


def _depth(body: bytes) -> int:
    """Return the levels of nesting. Only for valid JSON: unterminated strings would take quadratic time."""
    brackets = _STRING.sub(b"", body).translate(None, _ALL_ELSE)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _too_deep() -> UnsupportedJson:
    return UnsupportedJson(f"The body is nested deeper than {DEEPEST} levels.")


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise UnsupportedJson("An object in the body has the same name twice.")


def _finite(digits: str) -> None:
    if not isfinite(float(digits)):
        raise UnsupportedJson("A number in the body is beyond the range of a double.")


def _refuse_constant(_: str) -> None:
    raise NotJson("NaN and Infinity are not JSON.")


_READER = JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant)
