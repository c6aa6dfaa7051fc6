"""Jobs with callbacks, and their deliveries, on a real worker."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr
from redis import Redis

from arqway import JobContext, JobRecord, JobState, Registry, job
from arqway.workers.client import JobQueue, open_queue
from arqway.workers.contract import keys
from arqway.workers.engine.worker import JobWorker
from arqway.workers.settings import Settings
from arqway.workers.store.jobs import Submission
from arqway.workers.webhooks.delivery import RETRY
from tests.support.jobs import Empty, Number, double
from tests.support.waiting import wait_for
from tests.support.webhook_receiver import LOOPBACK, Receiver
from tests.support.worker import running_worker

NEW, OLD = "whsec_" + "bmV3" * 8, "whsec_" + "b2xk" * 8
FINAL = (JobState.SUCCEEDED, JobState.FAILED)


def with_webhooks(settings: Settings) -> Settings:
    """Return settings with webhooks on, which may go to this machine."""
    changes = {"webhook_secrets": (SecretStr(NEW), SecretStr(OLD)), "webhook_allow": tuple(LOOPBACK)}
    return settings.model_copy(update=changes)


@job("test.fails")
async def fails(ctx: JobContext, payload: Empty) -> None:
    """Fail with a text that is nobody's business."""
    raise ValueError("secret text")


REGISTRY = Registry([double, fails])


@asynccontextmanager
async def stack(settings: Settings, registry: Registry = REGISTRY) -> AsyncIterator[tuple[JobWorker, JobQueue]]:
    """A worker, and a client of its jobs."""
    async with running_worker(registry, settings) as worker, open_queue(settings, registry) as jobs:
        yield worker, jobs


async def submitted(jobs: JobQueue, receiver: Receiver) -> str:
    """Submit a job with a callback; return the id of its delivery."""
    return f"{(await jobs.submit(double, Number(value=21), callback_url=receiver.url)).id}.webhook"


async def delivery(jobs: JobQueue, delivery_id: str, *states: JobState) -> JobRecord:
    """Return a delivery's record once it is in one of the states, by default a final one."""
    wanted = states or FINAL
    return await wait_for(jobs, delivery_id, lambda record: record.state in wanted, f"is one of {wanted}")


async def waits_after(jobs: JobQueue, delivery_id: str, attempt: int) -> None:
    """Return once this attempt has failed, and the next one is waited for."""

    def waits(record: JobRecord) -> bool:
        return (record.state, record.attempt) == (JobState.RETRYING, attempt)

    await wait_for(jobs, delivery_id, waits, f"waits after attempt {attempt}")


def make_due(redis_url: str, delivery_id: str) -> None:
    """Let no more time pass until the next attempt, as an operator would with arq's own tools."""
    with Redis.from_url(redis_url) as client:
        client.zadd(keys.queue("webhooks"), {delivery_id: 1})
        client.rpush(keys.wake("webhooks"), "1")


async def redeliver(jobs: JobQueue, job_id: str, delivery_id: str) -> None:
    """Submit a delivery by hand."""
    envelope = json.dumps({"t": None, "f": "webhook.deliver", "a": [{"job_id": job_id}], "k": {}, "et": 1}).encode()
    submission = Submission(delivery_id, "webhook.deliver", "webhooks", envelope, RETRY.max_attempts)
    await jobs._store.submit([submission])
