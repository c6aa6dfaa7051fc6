"""When the client sends a request again, and when it must not. What stands between it and the service is made up."""

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from arqway.service.client import (
    ApiError,
    ArqwayClient,
    Conflict,
    NotFound,
    TooManyRequests,
    Unavailable,
    UnexpectedAnswer,
)
from arqway.service.client.streams import frames
from arqway.service.client.transport import Transport
from arqway.workers.contract.errors import ConfigurationError

KEY = "arqway_0123456789ab_" + "5" * 64
JOB = {
    "id": "j1",
    "kind": "test.sum",
    "queue": "default",
    "state": "queued",
    "attempt": 0,
    "max_attempts": 1,
    "created_at": "2026-03-01T09:30:00Z",
    "due_at": "2026-03-01T09:30:00Z",
}
Answer = httpx.Response | Exception
ACCEPTED = httpx.Response(202, json=JOB)


class Between:
    """Answers requests in turn, the last answer again and again, and keeps them."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(between: Between, **options: Any) -> ArqwayClient:
    """Return a client whose requests come to ``between``."""
    return ArqwayClient("http://api.test", connect=httpx.MockTransport(between), **{"timeout_s": 5, **options})


PASSING = [
    httpx.ConnectError("refused"),
    httpx.ReadError(""),
    httpx.RemoteProtocolError("closed"),
    httpx.ReadTimeout(""),
    httpx.PoolTimeout(""),
    httpx.Response(429, headers={"retry-after": "0"}),
    httpx.Response(502, text="<html>"),
    httpx.Response(503),
    httpx.Response(504),
    httpx.Response(409, json={"code": "idempotency_held", "detail": "."}, headers={"retry-after": "0"}),
]


@pytest.mark.parametrize("answer", PASSING, ids=repr)
async def test_a_submission_is_sent_again_with_the_same_key(answer: Answer) -> None:
    """After anything that may pass; so the service can tell that it is the same one."""
    between = Between(answer, ACCEPTED)
    async with client(between) as api:
        assert (await api.submit("test.sum", [1])).id == "j1"

    first, second = between.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.content == second.content == b"[1]"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 412, 413, 415, 421, 422, 431, 500, 501])
async def test_what_will_not_pass_is_told_at_once(status: int) -> None:
    """One request, one error."""
    between = Between(httpx.Response(status))
    async with client(between) as api:
        with pytest.raises(ApiError) as refused:
            await api.submit("test.sum", [1])
    assert (refused.value.status, len(between.requests)) == (status, 1)


async def test_it_gives_up_after_its_retries() -> None:
    """With the last error."""
    between = Between(httpx.Response(502), httpx.Response(503))
    async with client(between, retries=2) as api:
        with pytest.raises(Unavailable) as refused:
            await api.get("j1")
    assert (refused.value.status, len(between.requests)) == (503, 3)


async def test_it_gives_up_where_it_is_told_to_come_after_its_time() -> None:
    """It does not wait for what it will not ask any more, and tells when it would be served."""
    between = Between(httpx.Response(429, headers={"retry-after": "60"}))
    async with client(between) as api:
        with pytest.raises(TooManyRequests) as refused:
            await api.get("j1")
    assert (refused.value.retry_after_s, len(between.requests)) == (60, 1)


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (httpx.ConnectError("refused"), 2),
        (httpx.PoolTimeout(""), 2),
        (httpx.Response(429), 2),
        (httpx.ReadError(""), 1),
        (httpx.ReadTimeout(""), 1),
        (httpx.Response(503), 1),
    ],
    ids=repr,
)
async def test_what_must_not_be_done_twice_is_sent_again_only_if_it_was_not_served(answer: Answer, times: int) -> None:
    """A redrive has no key: it is repeated after a refusal, and never after a silence."""
    done = httpx.Response(200, json={"matched": 1, "redriven": 1, "more": False, "dry_run": False})
    between = Between(answer, done)
    async with client(between) as api:
        if times == 2:
            assert (await api.operations.redrive())["redriven"] == 1
        else:
            with pytest.raises(Unavailable):
                await api.operations.redrive()
    assert len(between.requests) == times


async def test_a_lost_answer_to_a_cancellation_is_made_up_for() -> None:
    """The second try is told that the job has ended: it was cancelled, so the first try has done it."""
    cancelled = httpx.Response(200, json={**JOB, "state": "cancelled"})
    between = Between(httpx.ReadError(""), httpx.Response(409, json={"code": "job_finished", "detail": "."}), cancelled)
    async with client(between) as api:
        assert (await api.cancel("j1")).state == "cancelled"


async def test_a_lost_answer_to_a_retry_is_made_up_for() -> None:
    """The second try is told that the job was retried: it is the new job that was asked for."""
    refused = httpx.Response(409, json={"code": "job_retried", "detail": ".", "job_id": "j2"})
    old, new = httpx.Response(200, json={**JOB, "retried_as": "j2"}), httpx.Response(200, json={**JOB, "id": "j2"})
    between = Between(httpx.ReadError(""), refused, old, new)
    async with client(between) as api:
        assert (await api.retry("j1")).id == "j2"
    assert between.requests[-1].url.path == "/jobs/j2"


@pytest.mark.parametrize("act", [ArqwayClient.cancel, ArqwayClient.retry])
async def test_a_conflict_at_the_first_try_is_a_conflict(act: Callable[..., Any]) -> None:
    """Somebody else was first, or it is simply so."""
    between = Between(httpx.Response(409, json={"code": "job_finished", "detail": "."}))
    async with client(between) as api:
        with pytest.raises(Conflict, match=r"\."):
            await act(api, "j1")
    assert len(between.requests) == 1


async def test_a_service_that_does_not_wait_is_not_asked_without_end() -> None:
    """A proxy may drop the header Prefer: then the client waits by itself, as long as Retry-After says."""
    answers = [
        httpx.Response(200, json=JOB, headers={"retry-after": "1"}),
        httpx.Response(200, json={**JOB, "state": "failed"}),
    ]
    between = Between(*answers)
    async with client(between) as api:
        assert (await api.wait("j1", timeout_s=30)).state == "failed"
    assert [request.headers["prefer"] for request in between.requests] == ["wait=30", "wait=29"]


@pytest.mark.parametrize("stream", [httpx.Response(200, text="<html>"), httpx.Response(404)])
async def test_what_is_no_stream_is_told(stream: httpx.Response) -> None:
    """It is not opened again and again."""
    between = Between(stream)
    transport = Transport("http://api.test", api_key=None, timeout_s=5, retries=5, connect=httpx.MockTransport(between))
    with pytest.raises((UnexpectedAnswer, NotFound)):
        async for _ in frames(transport, "/jobs/j1/events"):
            pass
    await transport.aclose()
    assert len(between.requests) == 1


@pytest.mark.parametrize(
    "body",
    [{}, {"jobs": "x"}, {"jobs": ["x"]}, {"groups": [{}], "jobs": [{}], "queues": [{}], "id": 7}, {"jobs": None}],
)
async def test_an_answer_that_cannot_be_read_is_told(body: dict[str, Any]) -> None:
    """Every call says so, with the same error."""
    between = Between(httpx.Response(200, json=body))
    async with client(between) as api:
        calls = [
            api.get("j1"),
            api.batch("b1"),
            anext(api.list()),
            anext(api.operations.dead()),
            api.operations.queues(),
            api.operations.pause("q"),
            api.batches.cancel("b1"),
            api.submit_many([]),
        ]
        for call in calls:
            with pytest.raises(UnexpectedAnswer):
                await call


async def test_the_key_is_sent_and_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither by a log at its most talkative, nor by the client's text, nor by an error's."""
    between = Between(httpx.Response(401, json={"code": "unauthenticated", "detail": "An API key is needed."}))
    with caplog.at_level(logging.DEBUG):
        async with client(between, api_key=KEY) as api:
            with pytest.raises(ApiError) as refused:
                await api.get("j1")
            told = f"{api!r} {refused.value!r} {refused.value} {vars(refused.value)} {caplog.text}"
    assert between.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in told
    assert "5555" not in told


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://api.test", "http://", "http://a:b", "redis://127.0.0.1"])
async def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match="base URL"):
        ArqwayClient(url)


@pytest.mark.parametrize("key", ["two words", "größe", "new\nline"])
async def test_a_key_that_cannot_be_is_refused(key: str) -> None:
    """Without repeating it."""
    with pytest.raises(ConfigurationError, match="cannot be an API key") as refused:
        ArqwayClient("http://api.test", api_key=key)
    assert key not in str(refused.value)


async def test_a_password_in_the_address_is_told_to_nobody() -> None:
    """An error names the service without it."""
    async with ArqwayClient("http://user:pa55@127.0.0.1:1", retries=0) as api:
        with pytest.raises(Unavailable) as refused:
            await api.get("j1")
    assert "pa55" not in f"{api!r} {refused.value}"
    assert "http://127.0.0.1:1" in str(refused.value)


async def test_a_path_in_the_address_is_kept() -> None:
    """The service may be below a path of a proxy."""
    between = Between(httpx.Response(200, json=JOB))
    async with ArqwayClient("http://api.test/jobs-api/", connect=httpx.MockTransport(between)) as api:
        await api.get("a/b?c")
    assert between.requests[0].url.raw_path == b"/jobs-api/jobs/a%2Fb%3Fc"
