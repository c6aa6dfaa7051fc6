"""What is too large is refused with a clear error, and holds up nothing that is of the usual size."""

import pytest

from arqway import JobContext, JobState, Registry, job
from arqway.workers.client import open_queue
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.contract.values import InvalidResult
from arqway.workers.settings import Settings
from tests.conftest import OpenQueue, RunWorker

LIMIT = 10_000
QUOTES = 2


@job("test.echo")
async def echo(ctx: JobContext, payload: int) -> str:
    """Return so many letters."""
    return "x" * payload


@job("test.take")
async def take(ctx: JobContext, payload: str) -> int:
    """Return the payload's length."""
    return len(payload)


@job("test.step")
async def step(ctx: JobContext, payload: int) -> str:
    """Keep so many letters in a step."""

    async def letters() -> str:
        return "x" * payload

    try:
        await ctx.step("letters", letters)
    except InvalidResult as error:
        return str(error)
    return "kept"


@job("test.tell")
async def tell(ctx: JobContext, payload: int) -> str:
    """Report progress with so many letters."""
    try:
        await ctx.progress(1, message="x" * payload)
    except ValueError as error:
        return str(error)
    return "told"


REGISTRY = Registry([echo, take, step, tell])


async def test_results_at_and_above_the_limit(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """The limit itself is stored; one byte more fails with the sizes in the message, and those beside it succeed."""
    async with run_worker(REGISTRY, max_result_bytes=LIMIT), open_jobs(REGISTRY) as jobs:
        sizes = [1, LIMIT - QUOTES, LIMIT - QUOTES + 1, 50 * LIMIT, 2]
        ids = await jobs.submit_many(echo, sizes)
        ended = [await jobs.wait(job_id, timeout_s=10) for job_id in ids]
        steps = [await jobs.wait((await jobs.submit(step, size)).id, timeout_s=10) for size in (5, LIMIT)]
    assert [record.state is JobState.SUCCEEDED for record in ended] == [True, True, False, False, True]
    assert [record.failure.code for record in ended if record.failure] == ["invalid_result", "invalid_result"]
    assert ended[2].failure is not None
    assert "10,001 bytes" in ended[2].failure.message
    assert steps[0].result == "kept"
    assert "limit is 10,000" in str(steps[1].result)


async def test_payloads_at_and_above_the_limit(run_worker: RunWorker, settings: Settings) -> None:
    """A payload that is too large is refused at each door, before anything is stored."""
    large, fits = "x" * (LIMIT - QUOTES + 1), "x" * (LIMIT - QUOTES)
    async with open_queue(settings.model_copy(update={"max_payload_bytes": LIMIT}), REGISTRY) as jobs:
        for submit in (
            lambda: jobs.submit(take, large),
            lambda: jobs.submit_many(take, [fits, large]),
            lambda: jobs.submit_json(take.kind, f'"{large}"'.encode()),
        ):
            with pytest.raises(InvalidPayload, match="limit is 10,000"):
                await submit()
        accepted = await jobs.submit(take, fits)
        async with run_worker(REGISTRY):
            ended = await jobs.wait(accepted.id, timeout_s=10)
        with pytest.raises(InvalidPayload, match="limit is 10,000"):
            await jobs.retry(ended.id, payload_json=f'"{large}"'.encode())
        assert (await jobs.retry(ended.id, payload_json=b'"x"')).retry_of == ended.id


async def test_progress_messages_have_a_limit(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """A message of 2,000 characters is reported, a longer one is an error in the job."""
    async with run_worker(REGISTRY), open_jobs(REGISTRY) as jobs:
        ids = await jobs.submit_many(tell, [2_000, 2_001])
        ended = [await jobs.wait(job_id, timeout_s=10) for job_id in ids]
    assert ended[0].result == "told"
    assert "2,000 characters" in str(ended[1].result)
