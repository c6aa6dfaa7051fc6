"""Webhooks from end to end: a job ends, and its receiver hears of it, whatever happens on the way."""

import json
from pathlib import Path

import pytest

from arqway import JobState
from arqway.workers.client import open_queue
from arqway.workers.contract.view import job_view
from arqway.workers.settings import Settings
from arqway.workers.webhooks.delivery import RETRY
from arqway.workers.webhooks.signature import tenant_secret
from tests.support.jobs import Empty, Number, double
from tests.support.webhook_jobs import (
    NEW,
    OLD,
    REGISTRY,
    delivery,
    fails,
    make_due,
    redeliver,
    stack,
    submitted,
    waits_after,
    with_webhooks,
)
from tests.support.webhook_receiver import OK, answer, make_certificate, receiving, served_with
from tests.support.worker import running_worker


@pytest.fixture
def hooked(settings: Settings) -> Settings:
    """Settings with webhooks on, which may go to this machine."""
    return with_webhooks(settings)


async def test_a_receiver_hears_that_a_job_succeeded(hooked: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """It gets the job's view, signed by the old secret and the new; the delivery's record tells how it went."""
    caplog.set_level("DEBUG")
    async with receiving() as receiver, stack(hooked) as (_, jobs):
        delivery_id = await submitted(jobs, receiver)
        record = await delivery(jobs, delivery_id)
        told = await jobs.read(delivery_id.removesuffix(".webhook"))
    (message,) = receiver.messages
    body = json.loads(message.body)
    assert (body["type"], body["data"]) == ("job.succeeded", json.loads(json.dumps(job_view(told))))
    assert body["timestamp"] == body["data"]["finished_at"]
    assert message.headers["content-type"] == "application/json"
    for master in (NEW, OLD):
        assert message.verified(tenant_secret(master, "default")) == message.headers["webhook-id"]
    assert (record.state, record.kind, record.queue) == (JobState.SUCCEEDED, "webhook.deliver", "webhooks")
    assert (record.result["status"], record.result["url_host"], record.attempt) == (204, "127.0.0.1", 1)
    assert not [secret for secret in (NEW, OLD, "key=1") if secret in caplog.text]


async def test_a_receiver_hears_that_a_job_failed(hooked: Settings) -> None:
    """Safely: code and message, never the exception's text."""
    async with receiving() as receiver, stack(hooked) as (_, jobs):
        accepted = await jobs.submit(fails, Empty(), callback_url=receiver.url)
        await delivery(jobs, f"{accepted.id}.webhook")
    (message,) = receiver.messages
    body = json.loads(message.body)
    assert (body["type"], body["data"]["failure"]["code"]) == ("job.failed", "exception")
    assert b"secret text" not in message.body


async def test_a_receiver_hears_that_a_waiting_job_was_cancelled(hooked: Settings) -> None:
    """The script that cancels submits the delivery, too; a worker that comes later runs it."""
    async with receiving() as receiver, open_queue(hooked, REGISTRY) as jobs:
        accepted = await jobs.submit(double, Number(value=1), callback_url=receiver.url)
        await jobs.cancel(accepted.id)
        async with running_worker(REGISTRY, hooked):
            await delivery(jobs, f"{accepted.id}.webhook")
    (message,) = receiver.messages
    assert json.loads(message.body)["type"] == "job.cancelled"


async def test_https_is_spoken_to_receivers(hooked: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name in the URL; the operator's own authority may be named by SSL_CERT_FILE."""
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with receiving(tls=served_with(certificate), host="localhost") as receiver, stack(hooked) as (_, jobs):
        record = await delivery(jobs, await submitted(jobs, receiver))
    assert (record.state, record.result["url_host"]) == (JobState.SUCCEEDED, "localhost")


async def test_a_refused_message_is_sent_again_under_the_same_id(hooked: Settings, redis_url: str) -> None:
    """Each attempt is in the log with its code, and signed at its own time; the receiver can tell it is the same."""
    async with receiving(answer(503), answer(500), OK) as receiver, stack(hooked) as (_, jobs):
        delivery_id = await submitted(jobs, receiver)
        for attempt in (1, 2):
            await waits_after(jobs, delivery_id, attempt)
            make_due(redis_url, delivery_id)
        record = await delivery(jobs, delivery_id)
    assert (record.state, record.attempt, record.max_attempts) == (JobState.SUCCEEDED, 3, RETRY.max_attempts)
    assert [(past.attempt, past.code) for past in record.attempts] == [(1, "http_503"), (2, "http_500")]
    assert len({message.verified(tenant_secret(NEW, "default")) for message in receiver.messages}) == 1
    assert len(receiver.messages) == 3


async def test_a_redelivery_has_the_same_id(hooked: Settings) -> None:
    """Another delivery job of the same end sends the same message."""
    async with receiving() as receiver, stack(hooked) as (_, jobs):
        delivery_id = await submitted(jobs, receiver)
        await delivery(jobs, delivery_id)
        await redeliver(jobs, delivery_id.removesuffix(".webhook"), "again")
        await delivery(jobs, "again")
    first, second = receiver.messages
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


@pytest.mark.parametrize(("wait", "least_s", "most_s"), [("3600", 3_600, 3_610), ("999999999", 10_800, 10_810)])
async def test_a_receiver_may_ask_for_time(hooked: Settings, wait: str, least_s: int, most_s: int) -> None:
    """The next attempt is due when ``Retry-After`` says, three hours later at most."""
    async with receiving(answer(429, retry_after=wait)) as receiver, stack(hooked) as (_, jobs):
        delivery_id = await submitted(jobs, receiver)
        record = await delivery(jobs, delivery_id, JobState.RETRYING)
        await jobs.cancel(delivery_id)
    assert record.failure is not None
    assert (record.failure.code, record.failure.message) == ("http_429", "The receiver answered 429.")
    assert least_s <= (record.due_ms - (record.started_ms or 0)) / 1000 <= most_s


async def test_a_receiver_that_is_gone_is_left_alone(hooked: Settings) -> None:
    """After 410 there is no further attempt, and the record says why."""
    async with receiving(answer(410)) as receiver, stack(hooked) as (_, jobs):
        record = await delivery(jobs, await submitted(jobs, receiver))
    assert (record.state, record.attempt, len(receiver.messages)) == (JobState.FAILED, 1, 1)
    assert record.failure is not None
    assert record.failure.code == "gone"


async def test_a_receiver_that_does_not_answer_is_tried_again(hooked: Settings) -> None:
    """Nobody listens any more: the attempt's code is ``unreachable``; the rest is for operators."""
    async with receiving() as receiver:
        pass
    async with stack(hooked) as (_, jobs):
        delivery_id = await submitted(jobs, receiver)
        record = await delivery(jobs, delivery_id, JobState.RETRYING)
        await jobs.cancel(delivery_id)
    assert record.failure is not None
    assert record.failure.code == "unreachable"
    assert record.failure.message == "The receiver does not accept connections."


async def test_a_callback_that_is_not_allowed_any_more_is_not_called(hooked: Settings) -> None:
    """The worker's own setting counts, at the moment of the call: the job ends as ``callback_refused``."""
    strict = hooked.model_copy(update={"webhook_allow": ()})
    async with receiving() as receiver, open_queue(hooked, REGISTRY) as jobs, running_worker(REGISTRY, strict):
        record = await delivery(jobs, await submitted(jobs, receiver))
    assert record.failure is not None
    assert (record.failure.code, record.attempt, receiver.connections) == ("callback_refused", 1, 0)


async def test_a_redirect_to_a_private_address_is_not_followed(hooked: Settings) -> None:
    """The receiver is public, so to say, and sends us to the cloud's metadata: no, and not again."""
    lure = answer(307, location="https://169.254.169.254/latest/meta-data/")
    async with receiving(lure) as receiver, stack(hooked) as (_, jobs):
        record = await delivery(jobs, await submitted(jobs, receiver))
    assert record.failure is not None
    assert (record.failure.code, record.attempt) == ("callback_refused", 1)


async def test_a_job_whose_record_is_gone_is_told_to_nobody(hooked: Settings) -> None:
    """The delivery ends as ``job_gone``."""
    async with stack(hooked) as (_, jobs):
        await redeliver(jobs, "forgotten", "late")
        record = await delivery(jobs, "late")
    assert record.failure is not None
    assert (record.failure.code, record.attempt) == ("job_gone", 1)
