"""The header Prefer: how long a client would like to wait for a job's end. Source: RFC 7240, sections 2 and 4.3."""

import re
from typing import Annotated

from fastapi import Header
from starlette.requests import Request

_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)

PreferHeader = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: answer when the job has ended, after N seconds at the latest",
        examples=["wait=10"],
    ),
]


def wait_of(request: Request) -> int | None:
    """Return the seconds that the client would like to wait, no more than the service allows; None: not at all."""
    found = _WAIT.search(", ".join(request.headers.getlist("prefer")))
    return None if found is None else min(int(found[1]), int(request.app.state.settings.max_wait_s))


def applied(wait_s: int | None) -> dict[str, str]:
    """Return the header that tells which preference was honoured."""
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}
