"""Answers that are written straight to JSON."""

from time import time
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from service.schemas import retry_after_s
from workers.contract.record import JobRecord


def json_answer(view: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return ``view`` as JSON."""
    return Response(to_json(view), status, headers, "application/json")


def pace(record: JobRecord) -> dict[str, str]:
    """Return the header that says when to ask for this job again; none for a finished one."""
    seconds = retry_after_s(record, int(time() * 1000))
    return {} if seconds is None else {"Retry-After": str(seconds)}
