"""The record of a job, and its representation in the hash ``job:{id}``.

==================  ==================================================================================
field               value
==================  ==================================================================================
``kind, queue``     names
``state``           a ``JobState``
``attempt``         the number of the current or last attempt, from 1; 0 before the first
``max_attempts``    maximum number of attempts, by the retry policy
``rescues``         times a worker was lost while running the job; costs no attempt
``interrupts``      times a worker shutting down handed the job back; costs no attempt
``created_ms``      Unix time in milliseconds by the clock of the Redis server, as all ``_ms`` fields
``due_ms``          earliest time the job may start (or might have): submission, ``run_at`` or next retry
``started_ms``      start of the current or last attempt
``finished_ms``     when a terminal state was reached
``cancel_ms``       when a person asked to cancel a running job
``progress``        JSON ``{"current", "total", "message"}``
``result``          JSON, after success
``failure``         JSON: ``Failure``, of the last failed attempt
``worker``          id of the worker that runs or last ran the job
``token``           identifies the one attempt that may write while the job runs; never leaves the worker
``steps``           1 if ``job-steps:{id}`` exists
``version``         number of writes, from 1
``tenant``          the tenant that owns the job; absent: ``default``
``batch``           id of the batch it belongs to
``tags``            JSON list of words to find the job by
``unique_key``      until the job is final, no other job of its tenant and kind may have this key
``deadline_ms``     no attempt starts or continues after this time
``callback_url``    receives a webhook when the job has ended, delivered by a separate job
``retry_of``        id of the final job that was resubmitted as this one
``retried_as``      id of the job that this final one was resubmitted as
``attempts``        JSON list of ``AttemptRecord``: the last few attempts that were followed by another
``extras``          1 if it has a batch, tags, a unique key, a deadline, a callback, steps or ``retry_of``
``envelope``        the contents of ``arq:job:{id}``, kept once the job has ended
==================  ==================================================================================
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from arqway.workers.contract.keys import DEFAULT_TENANT
from arqway.workers.contract.states import TERMINAL_STATES, JobState

ATTEMPTS_KEPT = 20
"""How many of a job's ended attempts are kept: the last ones."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A job's progress. ``total`` is None if the job does not know it."""

    current: float
    total: float | None = None
    message: str | None = None

    def to_json(self) -> str:
        """Return the JSON of the ``progress`` field."""
        return json.dumps({"current": self.current, "total": self.total, "message": self.message})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of ``to_json``, ignoring parts of later versions."""
        return cls(**_known(cls, json.loads(text)))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed.

    Args:
        code: Stable, for machines, e.g. ``timeout``.
        message: For the job's owner; never the text of an unexpected exception.
        error: The exception's class, e.g. ``builtins.ValueError``. Operators only.
        detail: The exception's text. Operators only.
        traceback: The last frames. Operators only.
        fingerprint: Equal for failures with the same kind of job, code, error and place in the code.
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
        """Parse the output of ``to_json``, ignoring parts of later versions."""
        return cls(**_known(cls, json.loads(text)))


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt that ended before its job did.

    Args:
        attempt: Its number; an attempt that lost its worker shares it with the next one.
        started_ms: Start in Unix milliseconds.
        ended_ms: End in Unix milliseconds; for ``worker_lost``, when another worker noticed.
        worker: Id of the worker that ran it.
        outcome: ``failed``, ``interrupted`` or ``worker_lost``.
        code: The failure's code; None unless it failed.
        message: The failure's message; None unless it failed.
    """

    attempt: int
    started_ms: int
    ended_ms: int
    worker: str
    outcome: str
    code: str | None = None
    message: str | None = None


def _known(kind: type[Progress | Failure | AttemptRecord], parts: dict[str, Any]) -> dict[str, Any]:
    return {f.name: parts[f.name] for f in fields(kind) if f.name in parts}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A consistent snapshot of a job, from one read of its hash."""

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
        """Whether the job is in a final state."""
        return self.state in TERMINAL_STATES

    @property
    def result(self) -> Any:
        """The result as JSON values; None unless the job succeeded."""
        return None if self.result_json is None else json.loads(self.result_json)

    @property
    def next_retry_ms(self) -> int | None:
        """When the next attempt is due; None unless the job is waiting for a retry."""
        return self.due_ms if self.state is JobState.RETRYING else None

    @classmethod
    def from_hash(cls, job_id: str, raw: Mapping[str, str]) -> Self:
        """Read the fields of ``job:{id}``, ignoring fields of later versions of the contract."""
        known: dict[str, Any] = {name: _DECODERS[name](text) for name, text in raw.items() if name in _DECODERS}
        if "result" in known:
            known["result_json"] = known.pop("result")
        return cls(id=job_id, **known)

    @classmethod
    def from_values(cls, job_id: str, values: Sequence[bytes | None]) -> Self | None:
        """Read the values of ``RECORD_FIELDS``, in that order; None if there is no record, or none that can be read."""
        try:
            found = {
                name: value.decode() for name, value in zip(RECORD_FIELDS, values, strict=True) if value is not None
            }
            return cls.from_hash(job_id, found) if "state" in found else None
        except (ValueError, TypeError, AttributeError, KeyError):  # somebody else wrote it; it concerns no other job
            return None


RECORD_FIELDS = tuple("result" if f.name == "result_json" else f.name for f in fields(JobRecord) if f.name != "id")
"""The fields that readers of the record request: all but ``token``, ``steps`` and ``envelope``."""

_DECODERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(RECORD_FIELDS, str),
    **{f.name: int for f in fields(JobRecord) if f.type in (int, int | None)},
    "state": JobState,
    "progress": Progress.from_json,
    "failure": Failure.from_json,
    "tags": lambda text: tuple(json.loads(text)),
    "attempts": lambda text: tuple(AttemptRecord(**_known(AttemptRecord, parts)) for parts in json.loads(text)),
    "extras": lambda text: text == "1",
}
