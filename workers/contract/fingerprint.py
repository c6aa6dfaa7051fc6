"""Fingerprints group failures of the same kind of job, code and error class from the same place in the code."""

import re
from hashlib import sha256

from arqway.workers.contract.record import Failure

_FRAME = re.compile(r'^  File ".*?([^/\\"]+)", line \d+, in (.+)$', re.MULTILINE)
_DIGITS = 16


def fingerprint_of(kind: str, failure: Failure) -> str:
    """Return 16 hex digits, equal for similar failures.

    The place is the file and function of the last frame, without the line number, so that edits above it do not split
    a group. The message and the exception's text are ignored, since they often contain ids.
    """
    frames = _FRAME.findall(failure.traceback or "")
    parts = (kind, failure.code, failure.error or "", *(frames[-1] if frames else ()))
    return sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:_DIGITS]
