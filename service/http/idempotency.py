"""The header Idempotency-Key: a repeated request is answered as the first one was, and does nothing.

Source: draft-ietf-httpapi-idempotency-key-header. The key is claimed by the script that accepts the job, so two
requests cannot both be the first. A key is known by its caller's tenant and the route; what it was sent with, the query
and the JSON without its white space and the order of its names, is compared by a digest.
"""

import json
import re
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Header
from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.callers import caller_of
from arqway.service.dependencies import arqway_of
from arqway.service.http.answers import plain_etag
from arqway.service.problems.errors import InvalidIdempotencyKey
from arqway.workers.client import Idempotency
from arqway.workers.contract.view import OPERATOR_PARTS

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Any string of yours, quoted or not: a request that is sent again with the same key and the same "
        "content is answered as the first one was, and marked `Idempotency-Replayed: true`",
        examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
        pattern=r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-~][!-~]{0,254})$',
    ),
]

_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')  # RFC 8941, section 3.3.3: sf-string
_BARE = re.compile(r"[!-~]{1,255}")
_ESCAPED = re.compile(r'\\(["\\])')
_ANSWER_WITHIN_MS = 10_000
_KEPT_HEADERS = ("location", "retry-after", "etag", "preference-applied", "content-type", "cache-control")


def idempotency_of(request: Request, route: str, body: bytes, *, wait_s: int | None) -> Idempotency | None:
    """Return what makes this request known; None where it has no key.

    Args:
        request: What was asked.
        route: What the key is used for: the kind of job, or the batch.
        body: JSON, already read.
        wait_s: How long the answer may take; None where it follows from the submission.

    Raises:
        InvalidIdempotencyKey: The header is none, or was sent more than once.
    """
    sent = request.headers.getlist("idempotency-key")
    if not sent:
        return None
    if len(sent) > 1:
        raise InvalidIdempotencyKey
    hold_ms = 0 if wait_s is None else wait_s * 1000 + _ANSWER_WITHIN_MS
    names = json.dumps([caller_of(request).tenant, route, _read(sent[0])])
    return {
        "key": sha256(names.encode()).hexdigest(),
        "fingerprint": sha256(request.url.query.encode() + b"\0" + _canonical(body)).hexdigest(),
        "life": int(arqway_of(request).settings.idempotency_s * 1000),
        "hold": hold_ms,
    }


def write_answer(answer: Response) -> bytes:
    """Return what is kept of an answer: what anybody with the same key may be told, so no text of an exception."""
    headers = {name: value for name, value in answer.headers.items() if name in _KEPT_HEADERS}
    view = from_json(bytes(answer.body))
    if view.get("failure"):
        view["failure"] = {name: part for name, part in view["failure"].items() if name not in OPERATOR_PARTS}
    if "etag" in headers:
        headers["etag"] = plain_etag(headers["etag"])
    return json.dumps([answer.status_code, headers, to_json(view).decode()]).encode()


def read_answer(kept: bytes) -> Response:
    """Return the answer that was kept."""
    status, headers, body = json.loads(kept)
    return marked_as_replay(Response(body, status, headers))


def marked_as_replay(answer: Response) -> Response:
    """Mark an answer as one that was given before."""
    answer.headers["Idempotency-Replayed"] = "true"
    return answer


def _read(header: str) -> str:
    if quoted := _QUOTED.fullmatch(header):
        return _ESCAPED.sub(r"\1", quoted[1])
    if _BARE.fullmatch(header) and not header.startswith('"'):  # clients in the wild send it so
        return header
    raise InvalidIdempotencyKey


def _canonical(body: bytes) -> bytes:
    try:
        value: Any = from_json(body)
    except ValueError:
        return body  # refused later, with better words
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
