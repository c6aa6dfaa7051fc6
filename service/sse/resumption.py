"""Where a client left a stream: the header Last-Event-ID or, for clients that cannot send it, a query parameter."""

import re
from typing import Annotated

from fastapi import Header, Query
from starlette.requests import Request

from arqway.service.problems.errors import InvalidEventId
from arqway.workers.client.following import FeedPlace

_ENTRY = "[0-9]{1,20}-[0-9]{1,20}"
_LINE = "[0-9]{1,9}"
_JOB_EVENT = re.compile(_ENTRY)
_FEED_PLACE = re.compile(rf"({_ENTRY})(?:\.({_LINE}))?")
_NUMBERS = 1 << 64

_MEANING = "Id of the last event that was received: the stream goes on behind it"
_GIVEN_TWICE = f"{_MEANING}; the header goes before it"
_JOB_PATTERN, _FEED_PATTERN = f"^({_ENTRY})?$", rf"^({_ENTRY}(\.{_LINE})?)?$"
JobEventHeader = Annotated[str | None, Header(alias="Last-Event-ID", description=_MEANING, pattern=_JOB_PATTERN)]
JobEventQuery = Annotated[str | None, Query(alias="last_event_id", description=_GIVEN_TWICE, pattern=_JOB_PATTERN)]
FeedPlaceHeader = Annotated[str | None, Header(alias="Last-Event-ID", description=_MEANING, pattern=_FEED_PATTERN)]
FeedPlaceQuery = Annotated[str | None, Query(alias="last_event_id", description=_GIVEN_TWICE, pattern=_FEED_PATTERN)]


def job_event_id(request: Request) -> str | None:
    """Return the id of an event of a job's stream. Raises InvalidEventId."""
    given = _given(request, _JOB_EVENT)
    return None if given is None else _checked(given[0])


def feed_place(request: Request) -> FeedPlace | None:
    """Return a place in a feed. Raises InvalidEventId."""
    given = _given(request, _FEED_PLACE)
    if given is None:
        return None
    return FeedPlace(_checked(given[1]), None if given[2] is None else int(given[2]))


def place_id(place: FeedPlace) -> str:
    """Return the event id that ``feed_place`` reads."""
    return place.entry_id if place.line is None else f"{place.entry_id}.{place.line}"


def _given(request: Request, form: re.Pattern[str]) -> re.Match[str] | None:
    """Return the header, which a browser sets as it reconnects, or else what stands in the address. Empty is absent.

    Raises InvalidEventId, also for the one that does not count.
    """
    sent = (request.headers.get("last-event-id"), request.query_params.get("last_event_id"))
    found = [form.fullmatch(one) for one in sent if one]
    if None in found:
        raise InvalidEventId
    return found[0] if found else None


def _checked(entry_id: str) -> str:
    """Return the id as Redis writes it."""
    numbers = [int(part) for part in entry_id.split("-")]
    if max(numbers) >= _NUMBERS:
        raise InvalidEventId
    return "{}-{}".format(*numbers)
