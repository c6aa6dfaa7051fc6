"""The options of a submission: as query parameters, and for each job of a batch."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model, model_validator

from arqway.service.shapes.jobs import Moment
from arqway.workers.contract import keys
from arqway.workers.contract.callback import URL_CHARS

if TYPE_CHECKING:
    from arqway.workers.client import SubmitOptions

_ARGUMENTS, _NO_OPTIONS = {"tag": "tags"}, {"kind", "payload"}
_LONGEST_DELAY_S = 100 * 365 * 86_400
_WORD = "1 to 128 of A-Z a-z 0-9 _ . : / @ + ~ -, a letter or digit first"
Word = Annotated[str, Field(pattern=f"^{keys.WORD.pattern}$")]
Tags = Annotated[list[Word], Field(max_length=8, examples=[["march"]])]


class Options(BaseModel):
    """How a job is to be run."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    delay: float | None = Field(
        default=None, ge=0, le=_LONGEST_DELAY_S, description="Start no sooner than so many seconds from now"
    )
    run_at: Moment | None = Field(default=None, description="Start no sooner than this moment; not with `delay`")
    queue: str | None = Field(default=None, description="One of the queues that the kind allows")
    unique_key: Word | None = Field(
        default=None, description=f"Refused while another job of this kind with this key is not final; {_WORD}"
    )
    deadline: Moment | None = Field(default=None, description="No attempt begins or goes on after this moment")
    callback_url: str | None = Field(
        default=None,
        max_length=URL_CHARS,
        description="Where to tell of the job's end, by a signed webhook; begins with `https://`",
        examples=["https://example.com/hook"],
        json_schema_extra={"format": "uri"},
    )

    @model_validator(mode="after")
    def _has_one_start(self) -> Self:
        if self.delay is not None and self.run_at is not None:
            raise ValueError("delay and run_at exclude each other")
        return self

    def submit_options(self) -> "SubmitOptions":
        """Return the options that were given, as the queue takes them."""
        given = {_ARGUMENTS.get(name, name): getattr(self, name) for name in self.model_fields_set - _NO_OPTIONS}
        if self.delay is not None:
            given["delay"] = timedelta(seconds=self.delay)
        return cast("SubmitOptions", given)


class QueryOptions(Options):
    """The options as query parameters."""

    tag: Tags = Field(default=[], description=f"A word to find the job by; may be repeated; {_WORD}")


def query_options(queues: Sequence[str]) -> type[QueryOptions]:
    """Return the options of a kind that may go to these queues, for the OpenAPI document."""
    names: Any = Literal[tuple(queues)]
    queue = Field(default=None, description=QueryOptions.model_fields["queue"].description)
    return create_model("QueryOptions", __base__=QueryOptions, queue=(names | None, queue))


class BatchJob(Options):
    """One job of a batch."""

    model_config = ConfigDict(strict=True)

    kind: str = Field(description="Its kind", examples=["report.generate"])
    payload: JsonValue = Field(description="What the kind takes", examples=[{"user_id": 14048}])
    tags: Tags = Field(default=[], description=f"Words to find the job by; {_WORD}")


class BatchRequest(BaseModel):
    """Jobs to accept at once."""

    model_config = ConfigDict(extra="forbid", strict=True)

    jobs: list[BatchJob] = Field(min_length=1, max_length=1000)
    atomic: bool = Field(default=False, description="Accept all of them or none; else each that can be")
