"""Jobs and their models for the tests of definitions."""

from typing import Any

from pydantic import BaseModel

from arqway.workers.context import JobContext
from arqway.workers.definition import JobDefinition, job


class Order(BaseModel):
    """A payload and a result."""

    number: int
    note: str | None = None


_UNCHECKED: Any = Order
HOLLOW, NULL, TEXT = [_UNCHECKED.model_construct(**values) for values in ({}, {"number": None}, {"number": "one"})]
"""Orders that pydantic was told not to look at, or that were changed after it had."""


@job("order.count")
async def count(ctx: JobContext[list[str]], payload: Order) -> Order:
    """Count one up.

    The rest is for readers of the code.
    """
    await ctx.progress(1, 2, "counted")
    return Order(number=payload.number + len(ctx.resources))


def define(payload: Any, result: Any = int, **options: Any) -> JobDefinition[Any, Any]:
    """Return a job of these types."""

    async def function(ctx: Any, payload: Any) -> Any:
        """Never called here."""

    function.__annotations__ |= {"payload": payload, "return": result}
    return job("test.any", **options)(function)
