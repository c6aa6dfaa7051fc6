"""What is handed to the job store, and what it answers: plain data."""

from typing import Literal, NamedTuple, TypedDict

from workers.contract.states import JobState


class Submission(NamedTuple):
    """A job to accept. Due at ``run_at_ms`` or, where that is 0, ``delay_ms`` from now."""

    id: str
    kind: str
    queue: str
    envelope: bytes
    max_attempts: int
    run_at_ms: int = 0
    delay_ms: int = 0


class Acceptance(NamedTuple):
    """When a job was accepted and when it is due, by the server's clock."""

    now_ms: int
    due_ms: int


class Claim(NamedTuple):
    """A job that this worker now owns, for as long as ``token`` is the record's."""

    id: str
    token: str
    kind: str
    """Empty: a stock producer's envelope could not be read."""
    attempt: int
    rescues: int
    max_attempts: int | None
    created_ms: int
    due_ms: int
    cancel: bool
    envelope: bytes
    """Empty: it is gone."""
    queue: str
    claimed_ms: int


class Claims(NamedTuple):
    """The answer to one claim."""

    now_ms: int
    next_due_ms: int | None
    """Score of the queue's first id afterwards; it may be past, or a running job's lease end."""
    jobs: list[Claim]


class Rest(TypedDict, total=False):
    """What most settlements lack."""

    delay: int
    """Milliseconds until the job is due again."""
    back: int
    """Attempts that this run gives back."""
    interrupts: int
    progress: str
    """JSON, as in the record; so is ``failure``."""
    failure: str
    event: str
    """JSON: the event's data."""
    keep_lease: int
    """Milliseconds for which the id still counts as running for stock arq."""
    max_attempts: int
    """Where the record lacks it."""


class Settlement(NamedTuple):
    """How an attempt ends. ``state`` is where the job goes."""

    id: str
    token: str
    queue: str
    state: JobState
    retention_ms: int = 0
    result_json: str | bytes = ""
    arq_result: bytes = b""
    keep_result_ms: int = 0
    """0: not kept; -1: for ever."""
    rest: Rest | None = None


class ProgressWrite(NamedTuple):
    """How far a job is."""

    id: str
    token: str
    progress_json: str


class Lease(NamedTuple):
    """What a worker holds while it runs a job."""

    id: str
    token: str
    queue: str


SettleAnswer = Literal["settled", "lost", "cancel"]
RenewAnswer = Literal["renewed", "cancel", "lost"]
CancelAnswer = Literal["cancelled", "asked", "finished", "unknown"]
