"""What is handed to the job store, and what it answers: plain data."""

from math import inf
from typing import Literal, NamedTuple, TypedDict

from arqway.workers.contract.keys import DEFAULT_TENANT
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState


class Idempotency(TypedDict):
    """What makes a repeated request known, as the submit script takes it."""

    key: str
    """Digest of the caller, the route and the client's key."""
    fingerprint: str
    life: int
    """Milliseconds for which the key is remembered."""
    hold: int
    """Milliseconds within which the first request is answered; 0: its answer follows from the submission."""


class Extras(TypedDict, total=False):
    """What most submissions lack."""

    batch: str
    tags: list[str]
    unique_key: str
    deadline_ms: int
    callback_url: str
    idempotency: Idempotency


class BatchOpening(TypedDict, total=False):
    """The batch that the submissions of one call make up."""

    id: str
    tenant: str
    atomic: bool
    idempotency: Idempotency


class Submission(NamedTuple):
    """A job to accept. Due at ``run_at_ms`` or, where that is 0, ``delay_ms`` from now."""

    id: str
    kind: str
    queue: str
    envelope: bytes
    max_attempts: int
    run_at_ms: int = 0
    delay_ms: int = 0
    tenant: str = DEFAULT_TENANT
    extras: Extras | None = None

    def size(self) -> int:
        """Return about how many bytes are written."""
        return len(self.envelope)


class Acceptance(NamedTuple):
    """When a job was accepted and when it is due, by the server's clock."""

    now_ms: int
    due_ms: int


class Refusal(NamedTuple):
    """Why a job was not accepted, or not again."""

    reason: Literal["duplicate", "unique", "mismatch", "held", "kept out"]
    job_id: str = ""
    """``unique``: the job that holds the key."""
    wait_ms: int = 0
    """``held``: how long until its first request is answered, at most."""


class Replay(NamedTuple):
    """What an earlier request with the same idempotency key was answered."""

    id: str
    created_ms: int
    due_ms: int
    answer: bytes
    """As it was kept; empty where it follows from the other parts."""


SubmitAnswer = Acceptance | Refusal | Replay


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
    deadline_ms: int | None = None

    @property
    def left_s(self) -> float:
        """Time from the claim to the job's deadline; endless without one."""
        return inf if self.deadline_ms is None else (self.deadline_ms - self.claimed_ms) / 1000


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
    fingerprint: str
    """Of the failure of a job that has failed for good."""


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

    def size(self) -> int:
        """Return about how many bytes are written."""
        size = len(self.result_json) + len(self.arq_result)
        return size + sum(len(part) for part in self.rest.values() if isinstance(part, str)) if self.rest else size


class ProgressWrite(NamedTuple):
    """How far a job is."""

    id: str
    token: str
    progress_json: str

    def size(self) -> int:
        """Return about how many bytes are written."""
        return len(self.progress_json)


class CancelAnswer(NamedTuple):
    """What became of the wish to cancel a job."""

    reason: Literal["cancelled", "asked", "finished", "unknown", "changed"]
    """``asked``: it runs, and its worker was told."""
    record: JobRecord | None = None
    """Afterwards; of a job that was ``cancelled`` or ``asked``."""


class RetryAnswer(NamedTuple):
    """What became of the wish to submit a final job again."""

    reason: Literal["accepted", "unknown", "live", "changed", "retried", "unique", "gone", "duplicate"]
    job_id: str = ""
    """``accepted``: the new job; ``retried``: the later job; ``unique``: the holder of the key."""
    record: JobRecord | None = None
    """Of the new job."""


class Lease(NamedTuple):
    """What a worker holds while it runs a job."""

    id: str
    token: str
    queue: str


SettleAnswer = Literal["settled", "lost", "cancel"]
RenewAnswer = Literal["renewed", "cancel", "lost"]
