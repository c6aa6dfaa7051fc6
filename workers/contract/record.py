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
``tenant``          whose job it is; absent: ``default``
``batch``           id of the batch it belongs to
``tags``            JSON list of words to find it by
``unique_key``      no other job of its tenant and kind has this key, until it is final
``deadline_ms``     no attempt begins or goes on after this moment
``callback_url``    is told of the end, by a job of its own
``retry_of``        id of the final job that was submitted again as this one
``retried_as``      id of the job that this final one was submitted again as
``attempts``        JSON list: attempts that were followed by another one, ``AttemptRecord``; the last few
``extras``          1 where it has a batch, tags, a unique key, a deadline, a callback, steps or a ``retry_of``
``envelope``        what was in ``arq:job:{id}``, kept when the job has ended
==================  ==================================================================================
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from arqway.workers.contract.keys import DEFAULT_TENANT
from arqway.workers.contract.states import TERMINAL_STATES, JobState

ATTEMPTS_KEPT = 20
"""So many of a job's ended attempts are kept, the last ones."""


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
        fingerprint: The same for failures of one kind, code, error and place in the code.
    """

    code: str
    message: str
    error: str | None = None
    detail: str | None = None
    traceback: str | None = None
    fingerprint: str | None = None

    def to_json(self) -> str:
        """Return the JSON of the ``failure`` field, without the parts that are None."""
        return json.dumps({f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote; parts of a later version are passed over."""
        return cls(**_known(cls, json.loads(text)))


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt that has ended, though its job has not.

    Args:
        attempt: Its number; an attempt that lost its worker shares it with the one that followed.
        started_ms: Unix milliseconds, as ``ended_ms``.
        ended_ms: For ``worker_lost``, when another worker noticed.
        worker: Id of the worker that ran it.
        outcome: ``failed``, ``interrupted`` or ``worker_lost``.
        code: Of the failure, as ``message``; None unless it failed.
    """

    attempt: int
    started_ms: int
    ended_ms: int
    worker: str
    outcome: str
    code: str | None = None
    message: str | None = None


def _read_attempts(text: str) -> tuple[AttemptRecord, ...]:
    return tuple(AttemptRecord(**_known(AttemptRecord, parts)) for parts in json.loads(text))


def _read_tags(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _read_flag(text: str) -> bool:
    return text == "1"


def _known(kind: type[Progress | Failure | AttemptRecord], parts: dict[str, Any]) -> dict[str, Any]:
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
    tenant: str = DEFAULT_TENANT
    batch: str | None = None
    tags: tuple[str, ...] = ()
    unique_key: str | None = None
    deadline_ms: int | None = None
    callback_url: str | None = None
    retry_of: str | None = None
    retried_as: str | None = None
    attempts: tuple[AttemptRecord, ...] = ()
    extras: bool = False

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
            name: _encode(value)
            for name in RECORD_FIELDS
            if (value := getattr(self, _attribute(name))) is not None and value != _ABSENT.get(name)
        }

    @classmethod
    def from_hash(cls, job_id: str, raw: Mapping[str, str]) -> Self:
        """Read the fields of ``job:{id}``; fields of a later version of the contract are passed over."""
        known: dict[str, Any] = {
            _attribute(name): _DECODERS.get(name, str)(text) for name, text in raw.items() if name in _FIELD_SET
        }
        return cls(id=job_id, **known)

    @classmethod
    def from_values(cls, job_id: str, values: Sequence[bytes | None]) -> Self | None:
        """Read the values of ``RECORD_FIELDS``, in their order; None where there is no record."""
        found = {name: value.decode() for name, value in zip(RECORD_FIELDS, values, strict=True) if value is not None}
        return cls.from_hash(job_id, found) if "state" in found else None


def _attribute(field: str) -> str:
    return "result_json" if field == "result" else field


def _encode(value: Any) -> str:
    match value:
        case Progress() | Failure():
            return value.to_json()
        case tuple():
            return json.dumps([asdict(item) if isinstance(item, AttemptRecord) else item for item in value])
        case bool():
            return str(int(value))
    return str(value)


RECORD_FIELDS = tuple("result" if f.name == "result_json" else f.name for f in fields(JobRecord) if f.name != "id")
"""The fields that a reader of the record asks for: all but ``token``, ``steps`` and ``envelope``."""

_ABSENT = {"tenant": DEFAULT_TENANT, "tags": (), "attempts": (), "extras": False}
"""Values that need no field."""
_FIELD_SET = frozenset(RECORD_FIELDS)
_DECODERS: Mapping[str, Any] = {
    "state": JobState,
    "progress": Progress.from_json,
    "failure": Failure.from_json,
    "tags": _read_tags,
    "attempts": _read_attempts,
    "extras": _read_flag,
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
            "deadline_ms",
        ],
        int,
    ),
}
