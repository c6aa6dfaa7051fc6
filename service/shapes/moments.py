"""Moments, as clients write them."""

import re
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Strict

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _check(moment: Any) -> Any:
    """Refuse what pydantic would take besides, such as a number: one reader takes it for seconds, another does not."""
    if not isinstance(moment, str) or not _RFC_3339.fullmatch(moment):
        raise ValueError("a moment is written as RFC 3339 says, such as 2026-03-01T09:30:00Z")
    return moment


Moment = Annotated[AwareDatetime, Strict(False), BeforeValidator(_check)]  # behind a check, a strict body takes no text
"""A date and time with its offset, after RFC 3339."""
