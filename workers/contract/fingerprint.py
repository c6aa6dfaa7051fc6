"""Which failures are alike: those of one kind of job, code and class of error, from the same place in the code."""

import re
from hashlib import sha256

from arqway.workers.contract.record import Failure

_FRAME = re.compile(r'^  File ".*?([^/\\"]+)", line \d+, in (.+)$', re.MULTILINE)
_DIGITS = 16


def fingerprint_of(kind: str, failure: Failure) -> str:
    """Return 16 hex digits, the same for alike failures.

    The place is the last frame's file and function, without the line, so that a change above it keeps the group whole.
    Neither the message nor the exception's text counts: they often hold an id.
    """
    frames = _FRAME.findall(failure.traceback or "")
    parts = (kind, failure.code, failure.error or "", *(frames[-1] if frames else ()))
    return sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:_DIGITS]
