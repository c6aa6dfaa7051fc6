"""The Idempotency-Key header: a repeated request gets the response of the first one and has no effect.

Source: draft-ietf-httpapi-idempotency-key-header. The script that accepts the job also claims the key, so two requests
cannot both be the first. Keys are scoped to the caller's tenant and the route. Requests are compared by a digest of
the query and the JSON, regardless of white space and the order of names.
"""

import json
import re
from contextlib import suppress
from hashlib import sha256
from typing import Annotated

from fastapi import Header
from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.callers import caller_of
from arqway.service.http.routing import OPERATORS, arqway_of
from arqway.service.problems.errors import InvalidIdempotencyKey
from arqway.workers.client import Idempotency
from arqway.workers.contract.errors import IdempotencyHeld, IdempotencyMismatch
from arqway.workers.contract.view import OPERATOR_PARTS

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Any string that you choose, quoted or not. A request that is repeated with the same key and "
        "content gets the response of the first one, marked `Idempotency-Replayed: true`",
        examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
        pattern=r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-~][!-~]{0,254})$',
    ),
]

PROBLEMS = (InvalidIdempotencyKey, IdempotencyHeld, IdempotencyMismatch)
"""The errors of every route with this header."""

_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')  # RFC 8941, section 3.3.3: sf-string
_BARE = re.compile(r"[!-~]{1,255}")
_ESCAPED = re.compile(r'\\(["\\])')
_ANSWER_WITHIN_MS = 10_000
_KEPT_HEADERS = ("location", "retry-after", "etag", "preference-applied", "content-type", "cache-control")


def claim_of(request: Request, route: str, body: bytes, *, wait_s: int | None) -> Idempotency:
    """Return the idempotency claim of this request, which has the header.

    Args:
        request: The request.
        route: What the key is used for: the kind of job, or batches.
        body: The JSON body, already read.
        wait_s: How long the response may take; None if it follows directly from the submission.

    Raises:
        InvalidIdempotencyKey: The header is malformed, or was sent more than once.
    """
    sent = request.headers.getlist("idempotency-key")
    if len(sent) > 1:
        raise InvalidIdempotencyKey
    with suppress(ValueError):  # what is not JSON is refused later, with a better message
        body = json.dumps(from_json(body), sort_keys=True, separators=(",", ":")).encode()
    names = json.dumps([caller_of(request).tenant, route, _read(sent[0])])
    return {
        "key": sha256(names.encode()).hexdigest(),
        "fingerprint": sha256(request.url.query.encode() + b"\0" + body).hexdigest(),
        "life": int(arqway_of(request).settings.idempotency_s * 1000),
        "hold": 0 if wait_s is None else wait_s * 1000 + _ANSWER_WITHIN_MS,
    }


def write_answer(answer: Response) -> bytes:
    """Serialise a response for replay. Any caller with the key may see it, so it has no text of an exception."""
    headers = {name: value for name, value in answer.headers.items() if name in _KEPT_HEADERS}
    view = from_json(bytes(answer.body))
    if view.get("failure"):
        view["failure"] = {name: part for name, part in view["failure"].items() if name not in OPERATOR_PARTS}
    if "etag" in headers:
        headers["etag"] = headers["etag"].replace(f'{OPERATORS}"', '"')
    return json.dumps([answer.status_code, headers, to_json(view).decode()]).encode()


def read_answer(kept: bytes) -> Response:
    """Return the response that ``write_answer`` serialised."""
    status, headers, body = json.loads(kept)
    return Response(body, status, headers)


def as_replay(answer: Response) -> Response:
    """Mark a response as a replay."""
    answer.headers["Idempotency-Replayed"] = "true"
    return answer


def _read(header: str) -> str:
    if quoted := _QUOTED.fullmatch(header):
        return _ESCAPED.sub(r"\1", quoted[1])
    if _BARE.fullmatch(header) and not header.startswith('"'):  # some clients send it unquoted
        return header
    raise InvalidIdempotencyKey
