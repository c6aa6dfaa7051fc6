"""Batches: many jobs accepted, followed and acted on as one."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from arqway.service.shapes.jobs import Timestamp
from arqway.service.shapes.problems import ItemProblem
from arqway.workers.contract.states import JobState


class AcceptedItem(TypedDict):
    """The outcome of one job of a batch: ``id`` and ``state`` if it was accepted, else ``problem``."""

    index: Annotated[int, Field(description="Its place in the request, from 0")]
    id: NotRequired[str]
    state: NotRequired[JobState]
    problem: NotRequired[ItemProblem]


class AcceptedBatchView(TypedDict):
    """A batch that was accepted."""

    id: Annotated[str, Field(description="The batch's id; those of its jobs are `{id}.{index}`")]
    accepted: int
    refused: int
    jobs: list[AcceptedItem]


class BatchCounts(TypedDict):
    """How many of a batch's jobs are in each state."""

    scheduled: int
    queued: int
    running: int
    retrying: int
    succeeded: int
    failed: int
    cancelled: int


class BatchProgress(TypedDict):
    """How far a batch is: jobs that have ended, of all."""

    current: int
    total: int


class BatchView(TypedDict):
    """A batch: how many of its jobs are in each state, and how far it is."""

    id: str
    created_at: Timestamp
    finished_at: NotRequired[Annotated[Timestamp, Field(description="When its last job ended")]]
    total: int
    counts: BatchCounts
    progress: BatchProgress


class BatchFinishedView(TypedDict):
    """The data of the event that ends a batch: how its jobs ended."""

    id: Annotated[str, Field(description="The batch's id")]
    at: Timestamp
    succeeded: int
    failed: int
    cancelled: int
    total: int


class ActedView(TypedDict):
    """How many jobs an action reached."""

    jobs: int
