"""Lists that the service gives page by page."""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from arqway.service.client.errors import UnexpectedAnswer
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import read_object
from arqway.workers.contract.states import JobState

_PAGE = 200


class ListOptions(TypedDict, total=False):
    """Which jobs: those for which every part that is given holds."""

    state: JobState | str | None
    kind: str | None
    queue: str | None
    tag: str | None
    batch: str | None
    fingerprint: str | None
    """Of the failure of dead letters."""
    created_from: datetime | None
    """Accepted at this moment or later; needs a time zone."""
    created_to: datetime | None
    """Accepted at this moment or earlier; needs a time zone."""


def written(which: ListOptions) -> dict[str, str]:
    """Return a filter as the service takes it."""
    given = ((name, value) for name, value in which.items() if value is not None)
    return {name: value.isoformat() if isinstance(value, datetime) else str(value) for name, value in given}


async def pages(
    transport: Transport, path: str, part: str, query: Iterable[tuple[str, str]] = ()
) -> AsyncGenerator[dict[str, Any], None]:
    """Give the elements of all pages, the next page when it is needed.

    Args:
        transport: Sends.
        path: Where the list is.
        part: The member that has the elements.
        query: What else to ask for.
    """
    asked = [*query, ("limit", str(_PAGE))]
    cursor: list[tuple[str, str]] = []
    while True:
        page = read_object((await transport.send(Request("GET", path, [*asked, *cursor]))).content)
        elements = page.get(part)
        if not isinstance(elements, list) or not all(isinstance(element, dict) for element in elements):
            raise UnexpectedAnswer(f"What answers has no {part}.")
        for element in elements:
            yield element
        if page.get("next") is None:
            return
        cursor = [("cursor", str(page["next"]))]
