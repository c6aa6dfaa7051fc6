"""The record of a job, and how it lies in the hash ``job:{id}``.

==================  ==================================================================================
field               value
==================  ==================================================================================
``kind, queue``     names
``state``           a ``JobState``
``attempt``         the number of the current or last attempt, from 1; 0 before the first
``max_attempts``    attempts in all that the retry policy allows
``rescues``         times a worker was lost while it ran the job; costs no attempt
``interrupts``      times a shutting-down worker handed the job back; costs no attempt
``created_ms``      Unix time, as all ``_ms`` fields: milliseconds by the clock of the Redis server
``due_ms``          when the job may (or might) start: submit time, ``run_at`` or the next retry
``started_ms``      start of the current or last attempt
``finished_ms``     when a terminal state was reached
``cancel_ms``       when a person asked to cancel a running job
``progress``        JSON ``{"current", "total", "message"}``
``result``          JSON, after success
``failure``         JSON: ``Failure``, of the last failed attempt
``worker``          id of the worker that runs or last ran it
``token``           names the one attempt that may write while the job runs. Never leaves the worker
``steps``           1 where ``job-steps:{id}`` exists
``version``         counts the writes, from 1
``envelope``        what was in ``arq:job:{id}``, kept when the job has ended
==================  ==================================================================================
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from workers.contract.states import TERMINAL_STATES, JobState


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. ``total`` is None where the job cannot tell."""

    current: float
    total: float | None = None
    message: str | None = None

    def to_json(self) -> str:
        """Return the JSON of the ``progress`` field."""
        return json.dumps({"current": self.current, "total": self.total, "message": self.message})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote; parts of a later version are passed over."""
        return cls(**_known(cls, json.loads(text)))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed.

    Args:
        code: Stable, for machines, e.g. ``timeout``.
        message: For the job's owner; never the text of an exception.
        error: The exception's class, e.g. ``builtins.ValueError``. Operators only.
        detail: The exception's text. Operators only.
        traceback: The last frames. Operators only.
    """

    code: str
    message: str
    error: str | None = None
    detail: str | None = None
    traceback: str | None = None

    def to_json(self) -> str:
        """Return the JSON of the ``failure`` field, without the parts that are None."""
        return json.dumps({f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote; parts of a later version are passed over."""
        return cls(**_known(cls, json.loads(text)))


def _known(kind: type[Progress | Failure], parts: dict[str, Any]) -> dict[str, Any]:
    return {f.name: parts[f.name] for f in fields(kind) if f.name in parts}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One consistent view of a job: one read of its hash."""

    id: str
    kind: str
    queue: str
    state: JobState
    attempt: int = 0
    max_attempts: int = 1
    rescues: int = 0
    interrupts: int = 0
    created_ms: int
    due_ms: int
    started_ms: int | None = None
    finished_ms: int | None = None
    cancel_ms: int | None = None
    progress: Progress | None = None
    result_json: str | None = None
    failure: Failure | None = None
    worker: str | None = None
    version: int = 1

    @property
    def finished(self) -> bool:
        """Whether the job has reached a state that nothing follows."""
        return self.state in TERMINAL_STATES

    @property
    def result(self) -> Any:
        """The result as JSON values; None unless the job succeeded."""
        return None if self.result_json is None else json.loads(self.result_json)

    @property
    def next_retry_ms(self) -> int | None:
        """When the next attempt is due; None unless one is waited for."""
        return self.due_ms if self.state is JobState.RETRYING else None

    def to_hash(self) -> dict[str, str]:
        """Return the fields of ``job:{id}``; a value of None has no field."""
        return {
            name: _encode(value) for name in RECORD_FIELDS if (value := getattr(self, _attribute(name))) is not None
        }

    @classmethod
    def from_hash(cls, job_id: str, raw: Mapping[str, str]) -> Self:
        """Read the fields of ``job:{id}``; fields of a later version of the contract are passed over."""
        known: dict[str, Any] = {
            _attribute(name): _DECODERS.get(name, str)(text) for name, text in raw.items() if name in _FIELD_SET
        }
        return cls(id=job_id, **known)


def _attribute(field: str) -> str:
    return "result_json" if field == "result" else field


def _encode(value: Any) -> str:
    return value.to_json() if isinstance(value, Progress | Failure) else str(value)


RECORD_FIELDS = tuple("result" if f.name == "result_json" else f.name for f in fields(JobRecord) if f.name != "id")
"""The fields that a reader of the record asks for: all but ``token``, ``steps`` and ``envelope``."""

_FIELD_SET = frozenset(RECORD_FIELDS)
_DECODERS: Mapping[str, Any] = {
    "state": JobState,
    "progress": Progress.from_json,
    "failure": Failure.from_json,
    **dict.fromkeys(
        [
            "attempt",
            "max_attempts",
            "rescues",
            "interrupts",
            "version",
            "created_ms",
            "due_ms",
            "started_ms",
            "finished_ms",
            "cancel_ms",
        ],
        int,
    ),
}
