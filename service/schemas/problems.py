"""Types of problems, as their pages tell them to programs."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.problems import Problem


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
