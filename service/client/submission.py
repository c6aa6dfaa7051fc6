"""What to submit: a job's definition or kind, its payload, and how it is to be run."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from pydantic_core import PydanticSerializationError, to_json

from arqway.service.client.errors import Invalid
from arqway.service.client.views import JobHandle
from arqway.service.shapes.problems import FieldError
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.definition import JobDefinition, JobOptions

_KEY = re.compile(r"[ -~]{1,255}")
_UNPROCESSABLE, _BAD = 422, 400
UNSET: Any = object()
"""Nothing was given, not even None."""


class RawJson(bytes):
    """A payload that is JSON already, and is sent as it is."""


class HttpSubmitOptions(JobOptions, total=False):
    """How a job is to be submitted and run."""

    wait_s: float | None
    """Wait so long for its end before returning it as it is then."""
    idempotency_key: str | None
    """Names this submission, so that it makes one job however often it is sent; a random one by default."""


class NewJob(NamedTuple):
    """A job to submit."""

    job: JobDefinition[Any, Any] | str
    """Its definition or its kind."""
    payload: Any
    options: JobOptions = JobOptions()

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.job if isinstance(self.job, str) else self.job.kind

    @property
    def definition(self) -> JobDefinition[Any, Any] | None:
        """Its definition, if that is known."""
        return None if isinstance(self.job, str) else self.job

    def query(self) -> list[tuple[str, str]]:
        """Return the options as query parameters."""
        parts = _written(self.options)
        tags: Iterable[str] = parts.pop("tags", ())
        return [*((name, str(value)) for name, value in parts.items()), *(("tag", tag) for tag in tags)]

    def as_json(self) -> bytes:
        """Return it as an element of a batch's body."""
        head = to_json({"kind": self.kind, **_written(self.options)})
        return b'%b,"payload":%b}' % (head[:-1], payload_json(self.definition, self.payload))

    def handle(self, job_id: str) -> JobHandle[Any]:
        """Return what names the job that became of it."""
        return JobHandle(job_id, self.definition)


def payload_json(definition: JobDefinition[Any, Any] | None, payload: Any) -> bytes:
    """Return a payload as JSON. Raises Invalid, as the service would."""
    if isinstance(payload, RawJson):
        return payload
    try:
        return to_json(payload) if definition is None else definition.write_payload(payload)
    except InvalidPayload as error:
        errors = [FieldError(loc=["body", *one["loc"]], type=one["type"], msg=one["msg"]) for one in error.errors]
        raise Invalid(str(error), status=_UNPROCESSABLE, code="invalid_payload", errors=errors) from error
    except PydanticSerializationError as error:
        detail = "The payload cannot be written as JSON."
        raise Invalid(detail, status=_UNPROCESSABLE, code="invalid_payload") from error


def key_header(idempotency_key: str | None) -> dict[str, str]:
    """Return the header Idempotency-Key, with a random key for None. Raises Invalid.

    Source: draft-ietf-httpapi-idempotency-key-header; the value is a string after RFC 8941, section 3.3.3.
    """
    key = str(uuid4()) if idempotency_key is None else idempotency_key
    if not _KEY.fullmatch(key):
        detail = "An idempotency key is 1 to 255 visible characters."
        raise Invalid(detail, status=_BAD, code="invalid_idempotency_key")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return {"Idempotency-Key": f'"{escaped}"'}


def _written(options: JobOptions) -> dict[str, Any]:
    return {name: _plain(value) for name, value in options.items() if value is not None}


def _plain(value: Any) -> Any:
    match value:
        case timedelta():
            return value.total_seconds()
        case datetime():
            return value.isoformat()
        case str():
            return value
    return list(value)
