"""What the events of a stream say: JSON in their ``data``. ``service.sse.frames`` writes them."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from arqway.service.shapes.jobs import FailureView, ProgressView, Timestamp
from arqway.workers.contract.states import JobState


class JobEventView(TypedDict):
    """A state that a job reached, or its progress."""

    id: Annotated[str, Field(description="The job's id")]
    state: JobState
    attempt: Annotated[int, Field(description="The attempt it belongs to; 0 before the first")]
    at: Timestamp
    progress: NotRequired[Annotated[ProgressView, Field(description="Of `progress`")]]
    failure: NotRequired[Annotated[FailureView, Field(description="Of `failed` and `retrying`")]]


class BatchFinishedView(TypedDict):
    """The end of a batch: how its jobs ended."""

    id: Annotated[str, Field(description="The batch's id")]
    at: Timestamp
    succeeded: int
    failed: int
    cancelled: int
    total: int
