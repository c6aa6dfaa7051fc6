"""Sample jobs and payloads that several tests share."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from arqway import JobContext, RetryPolicy, job

AT_ONCE = timedelta(0)
SOON = timedelta(milliseconds=50)


class Empty(BaseModel):
    """A payload that says nothing."""

    model_config = ConfigDict(extra="forbid")


class Number(BaseModel):
    """A payload of one integer."""

    value: int


@job("test.double")
async def double(ctx: JobContext, payload: Number) -> int:
    """Return twice the number."""
    await ctx.progress(1, 1, "Doubled")
    return payload.value * 2


def retries(max_attempts: int = 3) -> RetryPolicy:
    """Return a policy that tries again at once after anything."""
    return RetryPolicy(max_attempts=max_attempts, base=AT_ONCE, on=(Exception,))
