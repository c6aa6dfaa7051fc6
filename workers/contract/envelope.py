"""Envelopes in arq's own keys, ``arq:job:{id}`` and ``arq:result:{id}``, always as JSON and never as pickle.

Job: ``{"t": try, "f": kind, "a": [payload], "k": {}, "et": ms}``. A stock producer may put the payload's fields into
``k`` instead. Result: the same fields plus ``s`` (success), ``r`` (result), ``st``, ``ft`` (ms), ``q``, ``id``.
Source: arq 0.28, ``jobs.py`` ``serialize_job`` and ``serialize_result``.

Stock arq interoperates with Arqway if given ``encode`` as ``job_serializer`` and ``decode`` as ``job_deserializer``.
"""

import asyncio
import json
from functools import lru_cache
from typing import Any

from arqway.workers.contract.errors import JobFailed

_ERROR = "__error__"


def encode(envelope: dict[str, Any]) -> bytes:
    """Serialize an envelope. Raises TypeError for values that JSON cannot represent."""
    return json.dumps(envelope, default=_encode_error, separators=(",", ":")).encode()


def decode(raw: bytes) -> dict[str, Any]:
    """Parse an envelope. Raises ValueError for anything but a JSON object; never executes what it reads."""
    try:
        envelope = json.loads(raw)
    except RecursionError:
        raise ValueError("the envelope is nested too deeply") from None
    if not isinstance(envelope, dict):
        raise ValueError("an envelope must be a JSON object")  # noqa: TRY004 - one error for every unreadable envelope
    if envelope.get("s") is False and isinstance(result := envelope.get("r"), dict) and _ERROR in result:
        envelope["r"] = _decode_error(result[_ERROR])
    return envelope


def write_result(
    *,
    job_id: str,
    kind: str,
    queue: str,
    attempt: int,
    success: bool,
    value_json: bytes,
    created_ms: int,
    started_ms: int,
    ended_ms: int,
) -> bytes:
    """Return the value of ``arq:result:{id}`` for stock arq clients; ``queue`` is a key, as in arq.

    The arguments are left out; they stay in the record's envelope.
    """
    quoted_id = b'"%b"' % job_id.encode() if job_id.isalnum() and job_id.isascii() else _quoted(job_id)
    names = _quoted(kind), _quoted(queue), quoted_id
    flag = b"true" if success else b"false"
    return b'{"t":%d,"f":%b,"q":%b,"id":%b,"et":%d,"st":%d,"ft":%d,"a":[],"k":{},"s":%b,"r":%b}' % (
        attempt,
        *names,
        created_ms,
        started_ms,
        ended_ms,
        flag,
        value_json,
    )


@lru_cache(maxsize=1024)
def _quoted(text: str) -> bytes:
    return json.dumps(text).encode()


def error_json(code: str, message: str) -> bytes:
    """Return the ``r`` of a job that did not succeed."""
    return json.dumps({_ERROR: {"code": code, "message": message}}).encode()


CANCELLED_JSON = error_json("cancelled", "The job was cancelled.")
"""The ``r`` of a cancelled job: stock ``Job.abort()`` expects the CancelledError that ``decode`` turns it into."""


def _encode_error(value: object) -> dict[str, Any]:
    match value:
        case asyncio.CancelledError():
            return json.loads(CANCELLED_JSON)  # type: ignore[no-any-return]
        case BaseException():
            return {_ERROR: {"code": "error", "message": type(value).__name__}}
    raise TypeError(f"{type(value).__name__} is not JSON")


def _decode_error(error: Any) -> BaseException:
    match error:
        case {"code": "cancelled", "message": str(message)}:
            return asyncio.CancelledError(message)
        case {"code": str(code), "message": str(message)}:
            return JobFailed(message, code=code)
    raise ValueError("an error must have a code and a message")
