"""A problem type: how all problems of the type are reported and explained."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from arqway.service.shapes.jobs import EXAMPLE_ID
from arqway.service.shapes.problems import Problem

TYPE_PREFIX = "urn:arqway:problem:"
_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")
_FIELD = {"loc": ["body", "user_id"], "type": "int_type", "msg": "Input should be a valid integer"}
_MEMBERS: Mapping[str, Mapping[str, Any]] = {
    "invalid-payload": {"errors": [_FIELD]},
    "invalid-request": {"errors": [{**_FIELD, "loc": ["query", "delay"], "type": "float_parsing"}]},
    "not-unique": {"job_id": EXAMPLE_ID},
    "job-retried": {"job_id": EXAMPLE_ID},
    "batch-refused": {"items": [{"index": 1, "code": "unknown_kind", "detail": "No job of this kind is registered."}]},
}


class ProblemKind(NamedTuple):
    """One row of the problem table."""

    status: int
    title: str
    meaning: str
    """When it happens."""
    remedy: str
    """What the client can do."""
    retry: bool = False
    """Whether the same request may succeed later."""
    retry_after_s: int | None = None
    slug: str = ""

    @property
    def uri(self) -> str:
        """The ``type`` of these problems; it never changes."""
        return TYPE_PREFIX + self.slug

    @property
    def code(self) -> str:
        """The slug with underscores, for programs to compare; it never changes."""
        return self.slug.replace("-", "_")

    def named_after(self, error: type[Exception]) -> Self:
        """Return the kind with its slug: ``JobNotFound`` becomes ``job-not-found``."""
        name = error.__name__.replace("RequestValidationError", "InvalidRequest")
        return self._replace(slug=_WORD_START.sub("-", name).lower())

    def example(self) -> Problem:
        """Return a problem of this kind, for documentation."""
        problem = self.problem(f"{self.title}.")
        return {**problem, **_MEMBERS.get(self.slug, {})}  # type: ignore[typeddict-item]

    def problem(self, detail: str) -> Problem:
        """Return the members that all problems of this kind share."""
        return {"type": self.uri, "title": self.title, "status": self.status, "detail": detail, "code": self.code}
