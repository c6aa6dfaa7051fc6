"""Arguments and answers of the job store: plain data."""

from math import inf
from typing import Literal, NamedTuple, TypedDict

from arqway.workers.contract.keys import DEFAULT_TENANT
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState


class Idempotency(TypedDict):
    """An idempotency key, as passed to the submit script."""

    key: str
    """Digest of the caller, the route and the client's key."""
    fingerprint: str
    life: int
    """How long the key is kept, in milliseconds."""
    hold: int
    """Milliseconds allowed for answering the first request; 0: the answer follows from the submission itself."""


class Extras(TypedDict, total=False):
    """Optional parts of a submission."""

    batch: str
    tags: list[str]
    unique_key: str
    deadline_ms: int
    callback_url: str
    idempotency: Idempotency


class BatchOpening(TypedDict, total=False):
    """The batch formed by the submissions of one call."""

    id: str
    tenant: str
    atomic: bool
    idempotency: Idempotency


class Submission(NamedTuple):
    """A job to accept. Due at ``run_at_ms`` or, if that is 0, ``delay_ms`` from now."""

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
        """Return the approximate number of bytes written."""
        return len(self.envelope)


class Acceptance(NamedTuple):
    """When a job was accepted and when it is due, by the server's clock."""

    now_ms: int
    due_ms: int


class Refusal(NamedTuple):
    """The reason a job was not accepted."""

    reason: Literal["duplicate", "unique", "mismatch", "held", "kept out"]
    job_id: str = ""
    """``unique``: id of the job that holds the key."""
    wait_ms: int = 0
    """``held``: the longest time until the first request is answered."""


class Replay(NamedTuple):
    """The answer to an earlier request with the same idempotency key."""

    id: str
    created_ms: int
    due_ms: int
    answer: bytes
    """The stored answer; empty if it follows from the other fields."""


SubmitAnswer = Acceptance | Refusal | Replay


class Claim(NamedTuple):
    """A job that this worker owns for as long as the record holds ``token``."""

    id: str
    token: str
    kind: str
    """Empty if a stock producer's envelope could not be read."""
    attempt: int
    rescues: int
    max_attempts: int | None
    created_ms: int
    due_ms: int
    cancel: bool
    envelope: bytes
    """Empty if it no longer exists."""
    queue: str
    claimed_ms: int
    deadline_ms: int | None = None

    @property
    def left_s(self) -> float:
        """Seconds from the claim to the job's deadline; infinite without one."""
        return inf if self.deadline_ms is None else (self.deadline_ms - self.claimed_ms) / 1000


class Claims(NamedTuple):
    """The answer to a claim request."""

    now_ms: int
    next_due_ms: int | None
    """Score of the queue's first id afterwards; it may be in the past, or the end of a running job's lease."""
    jobs: list[Claim]


class Rest(TypedDict, total=False):
    """Optional parts of a settlement."""

    delay: int
    """Milliseconds until the job is due again."""
    back: int
    """Number of attempts to subtract, for a run that is not to count as one."""
    interrupts: int
    progress: str
    """JSON, as in the record; so is ``failure``."""
    failure: str
    event: str
    """The event's data as JSON."""
    keep_lease: int
    """Milliseconds for which stock arq still regards the id as running."""
    max_attempts: int
    """Set if the record lacks it."""
    fingerprint: str
    """Fingerprint of the failure, if the job has failed for good."""


class Settlement(NamedTuple):
    """How an attempt ends. ``state`` is the job's next state."""

    id: str
    token: str
    queue: str
    state: JobState
    retention_ms: int = 0
    result_json: str | bytes = ""
    arq_result: bytes = b""
    keep_result_ms: int = 0
    """0: not kept; -1: kept forever."""
    rest: Rest | None = None

    def size(self) -> int:
        """Return the approximate number of bytes written."""
        size = len(self.result_json) + len(self.arq_result)
        return size + sum(len(part) for part in self.rest.values() if isinstance(part, str)) if self.rest else size


class ProgressWrite(NamedTuple):
    """A progress report to write to a job's record."""

    id: str
    token: str
    progress_json: str

    def size(self) -> int:
        """Return the approximate number of bytes written."""
        return len(self.progress_json)


class CancelAnswer(NamedTuple):
    """The answer to a request to cancel a job."""

    reason: Literal["cancelled", "asked", "finished", "unknown", "changed"]
    """``asked``: the job is running, and its worker has been notified."""
    record: JobRecord | None = None
    """The record afterwards, if the reason is ``cancelled`` or ``asked``."""


class RetryAnswer(NamedTuple):
    """The answer to a request to submit a final job again."""

    reason: Literal["accepted", "unknown", "live", "changed", "retried", "unique", "gone", "duplicate"]
    job_id: str = ""
    """``accepted``: the new job; ``retried``: the job it was retried as; ``unique``: the holder of the key."""
    record: JobRecord | None = None
    """The record of the new job."""


class Lease(NamedTuple):
    """The lease a worker holds while it runs a job."""

    id: str
    token: str
    queue: str


SettleAnswer = Literal["settled", "lost", "cancel"]
RenewAnswer = Literal["renewed", "cancel", "lost"]
