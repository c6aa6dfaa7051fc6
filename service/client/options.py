"""What calls are given, written as the service reads it: jobs to submit, their options, and filters."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import uuid4

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python
from typing_extensions import TypedDict

from arqway.service.client.errors import Invalid
from arqway.service.client.views import JobHandle
from arqway.service.shapes.problems import FieldError
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.contract.states import JobState
from arqway.workers.definition import JobDefinition, JobOptions

_KEY = re.compile(r"[ -~]{1,255}")
UNSET: Any = object()
"""The argument was omitted; None is a value."""


class RawJson(bytes):
    """A payload that is already JSON and is sent unchanged."""


class HttpSubmitOptions(JobOptions, total=False):
    """How a job is to be submitted and run."""

    wait_s: float | None
    """How long to wait for its end before it is returned as it is then."""
    idempotency_key: str | None
    """Identifies this submission, so that it makes one job however often it is sent; random by default."""


class ListOptions(TypedDict, total=False):
    """A filter of jobs. A job must match every option that is given."""

    state: JobState | str | None
    kind: str | None
    queue: str | None
    tag: str | None
    batch: str | None
    fingerprint: str | None
    """The fingerprint of the failure of dead letters."""
    created_from: datetime | None
    """Accepted at this time or later; needs a time zone."""
    created_to: datetime | None
    """Accepted at this time or earlier; needs a time zone."""


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
        """Its definition, if it is known."""
        return None if isinstance(self.job, str) else self.job

    def query(self) -> list[tuple[str, str]]:
        """Return the options as query parameters."""
        parts = written(self.options)
        tags = parts.pop("tags", ())
        return [*((name, str(value)) for name, value in parts.items()), *(("tag", tag) for tag in tags)]

    def as_json(self) -> bytes:
        """Return the job as an element of a batch's body."""
        head = to_json({"kind": self.kind, **written(self.options)})
        return b'%b,"payload":%b}' % (head[:-1], payload_json(self.definition, self.payload))

    def handle(self, job_id: str) -> JobHandle[Any]:
        """Return a handle of the job that this became."""
        return JobHandle(job_id, self.definition)


def written(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options or a filter as JSON values, without those that are None."""
    present = {name: value for name, value in given.items() if value is not None}
    return cast(dict[str, Any], to_jsonable_python(present, timedelta_mode="float"))


def payload_json(definition: JobDefinition[Any, Any] | None, payload: Any) -> bytes:
    """Return a payload as JSON. Raises Invalid, as the service would."""
    if isinstance(payload, RawJson):
        return payload
    try:
        return to_json(payload) if definition is None else definition.write_payload(payload)
    except InvalidPayload as error:
        errors = [FieldError(loc=["body", *one["loc"]], type=one["type"], msg=one["msg"]) for one in error.errors]
        raise Invalid(str(error), status=422, code="invalid_payload", errors=errors) from error
    except PydanticSerializationError as error:
        raise Invalid("The payload cannot be written as JSON.", status=422, code="invalid_payload") from error


def key_header(idempotency_key: str | None) -> dict[str, str]:
    """Return the header Idempotency-Key, with a random key for None. Raises Invalid.

    Source: draft-ietf-httpapi-idempotency-key-header; the value is a string after RFC 8941, section 3.3.3.
    """
    key = str(uuid4()) if idempotency_key is None else idempotency_key
    if not _KEY.fullmatch(key):
        detail = "An idempotency key is 1 to 255 visible characters."
        raise Invalid(detail, status=400, code="invalid_idempotency_key")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return {"Idempotency-Key": f'"{escaped}"'}
