"""Conditional requests: what version of a job a client has seen. Source: RFC 9110, sections 8.8.3 and 13.1."""

import re

from starlette.requests import Request

from service.auth import caller_of
from workers.contract.errors import JobChanged
from workers.contract.record import JobRecord

_OPERATORS = "-o"
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def etag_of(record: JobRecord, request: Request) -> str:
    """Return the entity tag of a job as this caller sees it: an operator is told more of a failure."""
    seen_by = _OPERATORS if caller_of(request).is_operator else ""
    return f'"{record.version}-{record.created_ms:x}{seen_by}"'


def plain_etag(etag: str) -> str:
    """Return the tag of the same version as everybody sees it."""
    return etag.replace(f'{_OPERATORS}"', '"')


def is_known(etag: str, request: Request) -> bool:
    """Tell whether If-None-Match names this tag, in which case the answer is a 304."""
    given = request.headers.get("if-none-match")
    return given is not None and (given == etag or given.strip() == "*" or etag in _TAG.findall(given))


def expected_version(record: JobRecord, request: Request) -> int | None:
    """Return the version that a change must find, as If-Match says; None where it says nothing, or any.

    Raises:
        JobChanged: If-Match names other versions than the present one. Weak tags match nothing here.
    """
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    strong = {tag.strip() for tag in given.split(",")}
    if etag_of(record, request) not in strong:
        raise JobChanged
    return record.version
