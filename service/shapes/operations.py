"""What operators see and ask for: dead letters, queues, workers, webhook deliveries, and probes."""

from typing import Annotated, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from arqway.service.shapes.jobs import AttemptView, FailureView, JobSelection, JobView, Timestamp
from arqway.workers.contract.retry import REDRIVE_MAX
from arqway.workers.contract.states import JobState


class DeadGroupView(TypedDict):
    """Jobs that failed for good, for the same reason."""

    fingerprint: Annotated[str, Field(description="The same for failures of one kind, code, error and place")]
    jobs: Annotated[int, Field(description="How many, as far as their records are kept")]
    kind: str
    failure: Annotated[FailureView, Field(description="Of the latest")]
    first_at: Timestamp
    latest_at: Timestamp
    latest: Annotated[JobView, Field(description="The one that failed last")]


class DeadView(TypedDict):
    """Groups of dead letters, the one with the latest failure first."""

    groups: list[DeadGroupView]
    next: NotRequired[Annotated[str, Field(description="Cursor of the next page; absent on the last one")]]


class RedriveFilter(JobSelection):
    """Which dead letters; those for which every part that is given holds."""

    model_config = ConfigDict(strict=True)


class RedriveRequest(BaseModel):
    """Which dead letters to submit again, and how fast."""

    model_config = ConfigDict(extra="forbid", strict=True)

    filter: RedriveFilter = Field(default_factory=RedriveFilter, description="Without one: all of them")
    dry_run: bool = Field(default=False, description="Only count")
    limit: int = Field(default=REDRIVE_MAX, ge=1, le=REDRIVE_MAX, description="So many at most, the latest first")
    rate: float | None = Field(
        default=None, ge=0.001, le=100_000, description="Jobs a second that become due; else all"
    )


class RedriveView(TypedDict):
    """The outcome of a redrive or, after a dry run, what it would be."""

    matched: int
    redriven: int
    more: Annotated[bool, Field(description="Whether more than the limit match")]
    dry_run: bool


class QueueView(TypedDict):
    """The figures of a queue."""

    name: str
    depth: Annotated[int, Field(description="Jobs that could run now")]
    oldest_age_s: Annotated[
        float, Field(description="Seconds for which the oldest of them has waited; 0 if there is none")
    ]
    later: Annotated[int, Field(description="Jobs that are scheduled, or wait for their next attempt")]
    running: int
    in_rate: Annotated[float, Field(description="Jobs submitted a second, over the last five minutes")]
    out_rate: Annotated[float, Field(description="Jobs ended a second, over the last five minutes")]
    failed: Annotated[int, Field(description="Jobs that failed for good in the last five minutes")]
    workers: Annotated[int, Field(description="Workers that serve it")]
    drain_s: NotRequired[
        Annotated[float, Field(description="Seconds until the queue is empty at this pace; absent if never")]
    ]
    paused_at: NotRequired[Timestamp]


class QueuesView(TypedDict):
    """All queues, by name."""

    queues: list[QueueView]


class PausedView(TypedDict):
    """Whether a queue is paused now, and whether that is new."""

    name: str
    paused: bool
    changed: bool


class WorkerView(TypedDict):
    """A worker process, as of its last beat."""

    id: str
    host: str
    pid: int
    version: str
    queues: list[str]
    kinds: list[str]
    max_jobs: int
    running: int
    settled: Annotated[int, Field(description="Attempts that it has ended since its start")]
    failed: Annotated[int, Field(description="Those of them after which a job was failed")]
    loop_lag_ms: int
    stalled: bool
    unready: NotRequired[Annotated[str, Field(description="Why it claims no jobs")]]
    started_at: Timestamp
    beat_at: Timestamp


class WorkersView(TypedDict):
    """All workers that are alive."""

    workers: list[WorkerView]


class DeliveryView(TypedDict):
    """A webhook delivery: a job that reports the end of another one to its callback URL."""

    id: str
    state: JobState
    created_at: Timestamp
    next_retry_at: NotRequired[Timestamp]
    status: NotRequired[Annotated[int, Field(description="HTTP status of the answer, once it was a good one")]]
    attempts: list[AttemptView]


class DeliveriesView(TypedDict):
    """The webhook deliveries of a job, the oldest first."""

    deliveries: list[DeliveryView]


class HealthView(TypedDict):
    """The answer to a probe."""

    status: Literal["ok"]
