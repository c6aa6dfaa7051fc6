"""Webhook delivery: a built-in job, ``webhook.deliver``, reports the end of another job to that job's ``callback_url``.

It is submitted by the script that records the end, so none is forgotten. Like any job it runs at least once, and its
record is the log of its attempts. The message keeps its ``webhook-id`` each time it is sent, also by a redelivery.
"""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from random import Random
from urllib.parse import urlsplit

from pydantic import BaseModel
from pydantic_core import to_json
from typing_extensions import TypedDict

from arqway.workers.context import JobContext
from arqway.workers.contract.errors import DiscardJob, RetryJob
from arqway.workers.contract.keys import WEBHOOK_KIND, WEBHOOK_QUEUE
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.retry import RetryPolicy
from arqway.workers.contract.view import job_view, timestamp
from arqway.workers.definition import JobDefinition, job
from arqway.workers.settings import Settings
from arqway.workers.store.jobs import JobStore
from arqway.workers.webhooks.address import CallbackRefused
from arqway.workers.webhooks.sender import WITHIN_S, Answer, Sender, Unreachable
from arqway.workers.webhooks.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign, tenant_secret

RETRY = RetryPolicy(max_attempts=18, on=(Exception,), base=timedelta(seconds=10), cap=timedelta(hours=3))
"""At most 23.7 h from the first attempt to the last, half of that on average; job records are kept for 24 h."""

_TIMEOUT = timedelta(seconds=2 * WITHIN_S)
_OK = range(200, 300)
_GONE = 410
_SECONDS = re.compile(r"[0-9]{1,9}")

Read = Callable[[str], Awaitable[JobRecord | None]]


class Delivery(BaseModel):
    """The job whose end is to be reported."""

    job_id: str


class Receipt(TypedDict):
    """The answer of a receiver that accepted the message, how long it took, and who it was."""

    status: int
    duration_ms: int
    url_host: str


class Courier:
    """Sends webhook deliveries.

    Args:
        read: Returns a job's record.
        sender: Makes the requests.
        masters: Secrets ``whsec_…``, the newest first. Messages are signed with what each yields for the job's tenant.
        random: Adds jitter to delays; seeded in tests.
    """

    def __init__(self, read: Read, sender: Sender, masters: Sequence[str], *, random: Random | None = None) -> None:
        self._read = read
        self._sender = sender
        self._masters = masters
        self._random = (random or Random()).random  # noqa: S311 - jitter, not a secret

    async def deliver(self, ctx: JobContext, payload: Delivery) -> Receipt:
        """Report a job's end to its receiver. At least once: receivers recognise a duplicate by the message's id."""
        record = await self._read(payload.job_id)
        if record is None or not record.finished or record.callback_url is None:
            raise DiscardJob("job_gone", "The job's record is gone, or names no callback.")
        began_s = time.monotonic()
        answer = await self._send(record.callback_url, record)
        if answer.status not in _OK:
            raise self._refusal(answer, ctx.attempt)
        return {
            "status": answer.status,
            "duration_ms": int((time.monotonic() - began_s) * 1000),
            "url_host": urlsplit(record.callback_url).hostname or "",
        }

    async def _send(self, url: str, record: JobRecord) -> Answer:
        body = message(record)
        secrets = [tenant_secret(master, record.tenant) for master in self._masters]
        message_id, now_s = message_id_of(record), int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "Arqway",
            ID_HEADER: message_id,
            TIMESTAMP_HEADER: str(now_s),
            SIGNATURE_HEADER: sign(secrets, message_id, now_s, body),
        }
        try:
            return await self._sender.post(url, headers, body)
        except CallbackRefused as error:
            raise DiscardJob("callback_refused", str(error)) from error
        except Unreachable as error:
            raise RetryJob(str(error), code="unreachable") from error

    def _refusal(self, answer: Answer, attempt: int) -> Exception:
        """Return the error for an unsuccessful answer. The receiver may ask for a longer delay, never a shorter one."""
        if answer.status == _GONE:
            return DiscardJob("gone", "The receiver wants no more messages (410).")
        after = timedelta(milliseconds=RETRY.delay_ms(attempt, self._random()))
        asked = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
        return RetryJob(
            f"The receiver answered {answer.status}.", after=max(after, asked), code=f"http_{answer.status}"
        )


def message(record: JobRecord) -> bytes:
    """Return the body of a message about a job that has ended. Source: Standard Webhooks 1.0.0, "Payload structure"."""
    view = job_view(record)
    ended = timestamp(record.finished_ms or record.created_ms)
    return to_json({"type": f"job.{record.state.value}", "timestamp": ended, "data": view})


def message_id_of(record: JobRecord) -> str:
    """Return the id of the message about this end of this job. It is a digest because it may not contain a dot."""
    return f"msg_{sha256(f'{record.id} {record.finished_ms}'.encode()).hexdigest()[:32]}"


def retry_after(value: str, now: datetime) -> timedelta:
    """Parse a ``Retry-After``: seconds or an HTTP date. At most the policy's cap; 0 if it is missing or malformed."""
    if _SECONDS.fullmatch(value):
        return min(timedelta(seconds=int(value)), RETRY.cap)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, IndexError, TypeError, OverflowError):
        return timedelta(0)
    wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return max(timedelta(0), min(wait, RETRY.cap))


def delivery_job(courier: Courier) -> JobDefinition[Delivery, Receipt]:
    """Return the job with which ``courier`` delivers."""
    return job(WEBHOOK_KIND, queue=WEBHOOK_QUEUE, timeout=_TIMEOUT, retry=RETRY)(courier.deliver)


@asynccontextmanager
async def open_delivery(settings: Settings, store: JobStore) -> AsyncIterator[JobDefinition[Delivery, Receipt]]:
    """Open the job that delivers for the jobs of ``store``, signing with ``settings.webhook_secrets``."""
    masters = [secret.get_secret_value() for secret in settings.webhook_secrets]
    async with aclosing(Sender(settings.webhook_allow)) as sender:
        yield delivery_job(Courier(store.read, sender, masters))
