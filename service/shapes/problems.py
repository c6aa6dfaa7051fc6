"""Problems after RFC 9457, and their types as the pages tell them to programs."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict


class FieldError(TypedDict):
    """One part of the request that does not fit, in FastAPI's words but without the value."""

    loc: list[str | int]
    type: str
    msg: str


class Problem(TypedDict):
    """A problem after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: NotRequired[list[FieldError]]
    job_id: NotRequired[str]
    items: NotRequired[list["ItemProblem"]]


class ItemProblem(TypedDict):
    """Why one job of a batch was not accepted."""

    index: int
    code: str
    detail: str
    errors: NotRequired[list[FieldError]]


class ProblemTypeView(TypedDict):
    """All there is to say about a type of problem."""

    type: Annotated[str, Field(description="The `type` of such problems; it never changes")]
    code: Annotated[str, Field(description="Their `code`; it never changes")]
    title: str
    status: Annotated[int, Field(description="The HTTP status of such answers")]
    meaning: Annotated[str, Field(description="When it happens")]
    remedy: Annotated[str, Field(description="What a client can do")]
    retry: Annotated[bool, Field(description="Whether the same request may succeed later")]
    example: Problem


class ProblemTypesView(TypedDict):
    """All types of problems, by status."""

    problems: list[ProblemTypeView]
