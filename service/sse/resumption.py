"""Where a client left off: the Last-Event-ID header or, for clients that cannot send it, a query parameter."""

import re
from typing import Annotated

from fastapi import Header, Query

from arqway.service.problems.errors import InvalidEventId
from arqway.workers.client.following import FeedPlace

_ENTRY = "[0-9]{1,20}-[0-9]{1,20}"
_LINE = "[0-9]{1,9}"
_JOB_EVENT = re.compile(_ENTRY)
_FEED_PLACE = re.compile(rf"({_ENTRY})(?:\.({_LINE}))?")
_NUMBERS = 1 << 64

_MEANING = "Id of the last event that was received; the stream continues after it"
_GIVEN_TWICE = f"{_MEANING}. The header takes precedence"
_JOB_PATTERN, _FEED_PATTERN = f"^({_ENTRY})?$", rf"^({_ENTRY}(\.{_LINE})?)?$"
JobEventHeader = Annotated[
    str | None, Header(alias="Last-Event-ID", description=_MEANING, json_schema_extra={"pattern": _JOB_PATTERN})
]
JobEventQuery = Annotated[
    str | None, Query(alias="last_event_id", description=_GIVEN_TWICE, json_schema_extra={"pattern": _JOB_PATTERN})
]
FeedPlaceHeader = Annotated[
    str | None, Header(alias="Last-Event-ID", description=_MEANING, json_schema_extra={"pattern": _FEED_PATTERN})
]
FeedPlaceQuery = Annotated[
    str | None, Query(alias="last_event_id", description=_GIVEN_TWICE, json_schema_extra={"pattern": _FEED_PATTERN})
]


def job_event_id(header: str | None, query: str | None) -> str | None:
    """Return an event id of a job's stream, from the header or the query. Raises InvalidEventId."""
    given = _given(header, query, _JOB_EVENT)
    return None if given is None else _checked(given[0])


def feed_place(header: str | None, query: str | None) -> FeedPlace | None:
    """Return a place in a feed, from the header or the query. Raises InvalidEventId."""
    given = _given(header, query, _FEED_PLACE)
    if given is None:
        return None
    return FeedPlace(_checked(given[1]), None if given[2] is None else int(given[2]))


def place_id(place: FeedPlace) -> str:
    """Return the event id of a place, which ``feed_place`` can read back."""
    return place.entry_id if place.line is None else f"{place.entry_id}.{place.line}"


def _given(header: str | None, query: str | None, form: re.Pattern[str]) -> re.Match[str] | None:
    """Return the header, which browsers set when they reconnect, or else the query parameter. Empty means absent.

    Raises InvalidEventId if either of them is malformed.
    """
    found = [form.fullmatch(one) for one in (header, query) if one]
    if None in found:
        raise InvalidEventId
    return found[0] if found else None


def _checked(entry_id: str) -> str:
    """Return the id in the form that Redis uses. Raises InvalidEventId if a number is out of range."""
    numbers = [int(part) for part in entry_id.split("-")]
    if max(numbers) >= _NUMBERS:
        raise InvalidEventId
    return "{}-{}".format(*numbers)
