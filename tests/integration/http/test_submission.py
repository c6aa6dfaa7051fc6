"""Submitting over HTTP: options, waiting for the end, and requests that are sent twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import Response

from tests.conftest import RunWorker
from tests.support.http import OpenApi, assert_problem
from tests.support.http_jobs import JOBS

JSON = {"content-type": "application/json"}
KEY = {"idempotency-key": '"order-1"'}
SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


async def test_options_of_the_query_are_in_the_job(api: OpenApi) -> None:
    """Tags, a unique key, a delay and a deadline come back in the job's view; a delayed job is scheduled."""
    query = {"tag": ["a", "b"], "unique_key": "k", "delay": "30", "deadline": SOON}
    async with api(JOBS) as client:
        job = (await client.post("/jobs/test.sum", json=[1], params=query)).json()
        read = (await client.get(f"/jobs/{job['id']}")).json()

    assert job == read
    assert (job["tags"], job["unique_key"], job["state"]) == (["a", "b"], "k", "scheduled")
    assert job["deadline_at"][:16] == SOON[:16]


@pytest.mark.parametrize(
    "query",
    [
        {"delay": "-1"},
        {"delay": "nan"},
        {"delay": "1", "run_at": SOON},
        {"run_at": "2026-01-01T00:00:00"},
        {"tag": [str(n) for n in range(9)]},
        {"queue": ["a", "b"]},
        {"nonsense": "1"},
    ],
)
async def test_an_option_that_does_not_fit_is_named(api: OpenApi, query: dict[str, Any]) -> None:
    """422 with the parameter's name; an unknown one is not passed over."""
    async with api(JOBS) as client:
        problem = assert_problem(await client.post("/jobs/test.sum", json=[1], params=query), 422, "invalid_request")

    assert all(error["loc"][0] == "query" for error in problem["errors"])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"queue": "other"}, "queue_not_allowed"),
        ({"unique_key": "a b"}, "invalid_request"),
        ({"tag": "a b"}, "invalid_request"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "invalid_submission"),
        ({"callback_url": "https://example.com/hook"}, "callbacks_off"),
    ],
)
async def test_an_option_that_cannot_be_is_refused(api: OpenApi, query: dict[str, str], code: str) -> None:
    """422, and nothing is accepted."""
    async with api(JOBS) as client:
        assert_problem(await client.post("/jobs/test.sum", json=[1], params=query), 422, code)
        assert (await client.get("/jobs")).json() == {"jobs": []}


async def test_a_kind_may_allow_other_queues(api: OpenApi) -> None:
    """The option `queue` takes those that the job's definition names."""
    async with api(JOBS) as client:
        job = (await client.post("/jobs/test.choosy", json=1, params={"queue": "slow"})).json()

    assert job["queue"] == "slow"


async def test_a_unique_key_is_taken_until_its_job_is_final(api: OpenApi) -> None:
    """409 names the job that holds the key; once that is cancelled the key is free."""
    async with api(JOBS) as client:
        first = (await client.post("/jobs/test.sum?unique_key=k", json=[1])).json()
        refused = assert_problem(await client.post("/jobs/test.sum?unique_key=k", json=[2]), 409, "not_unique")
        other_kind = await client.post("/jobs/test.nothing?unique_key=k", json={})
        await client.post(f"/jobs/{first['id']}:cancel")
        again = await client.post("/jobs/test.sum?unique_key=k", json=[3])

    assert refused["job_id"] == first["id"]
    assert (other_kind.status_code, again.status_code) == (202, 202)


async def test_who_waits_gets_the_finished_job(api: OpenApi, run_worker: RunWorker) -> None:
    """`Prefer: wait` answers 200 with the result, and says that it was honoured."""
    async with api(JOBS) as client, run_worker(JOBS):
        response = await client.post("/jobs/test.sum", json=[1, 2], headers={"prefer": "respond-async, wait=10"})

    assert (response.status_code, response.json()["result"]) == (200, 3)
    assert response.headers["preference-applied"] == "wait=10"
    assert "retry-after" not in response.headers


async def test_who_waits_for_too_short_gets_the_job_as_it_is(api: OpenApi) -> None:
    """Without a worker the wait ends with a 202, no later than the service allows."""
    async with api(JOBS, max_wait_s=0.2) as client:
        response = await client.post("/jobs/test.sum", json=[1], headers={"prefer": "wait=1000"})

    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert response.headers["retry-after"]


async def test_a_repeated_request_is_answered_as_the_first(api: OpenApi) -> None:
    """The same body, status and Location, marked; the JSON's white space and order do not matter."""
    async with api(JOBS) as client:
        first = await client.post("/jobs/test.nothing", json={"a": "1", "b": "2"}, headers=KEY)
        body = '{ "b":"2",  "a":"1" }'
        again = await client.post(
            "/jobs/test.nothing", content=body, headers={**KEY, "content-type": "application/json"}
        )
        bare = await client.post("/jobs/test.nothing", content=body, headers={**JSON, "idempotency-key": "order-1"})
        jobs = (await client.get("/jobs")).json()["jobs"]

    assert (again.status_code, again.json(), again.headers["location"]) == (
        202,
        first.json(),
        first.headers["location"],
    )
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == bare.headers["idempotency-replayed"] == "true"
    assert len(jobs) == 1


async def test_a_key_belongs_to_one_request(api: OpenApi) -> None:
    """Another payload or another option with the same key is a 422; another kind has keys of its own."""
    async with api(JOBS) as client:
        await client.post("/jobs/test.sum", json=[1], headers=KEY)
        other = await client.post("/jobs/test.sum", json=[2], headers=KEY)
        option = await client.post("/jobs/test.sum?tag=a", json=[1], headers=KEY)
        kind = await client.post("/jobs/test.nothing", json={}, headers=KEY)

    assert_problem(other, 422, "idempotency_mismatch")
    assert_problem(option, 422, "idempotency_mismatch")
    assert kind.status_code == 202


async def test_a_hundred_requests_at_once_make_one_job(api: OpenApi) -> None:
    """All of them are answered with the same job."""
    async with api(JOBS) as client:
        answers = await asyncio.gather(*(client.post("/jobs/test.sum", json=[1], headers=KEY) for _ in range(100)))
        jobs = (await client.get("/jobs")).json()["jobs"]

    assert {answer.json()["id"] for answer in answers} == {job["id"] for job in jobs}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


async def test_a_first_request_that_still_waits_is_in_flight(api: OpenApi, run_worker: RunWorker) -> None:
    """While the first one waits for the end, the second is a 409; afterwards it gets the finished job, too."""
    waiting = {**KEY, "prefer": "wait=20"}
    async with api(JOBS) as client:
        first = asyncio.create_task(client.post("/jobs/test.sum", json=[1, 2], headers=waiting))
        held = await _not_replayed(client, first)
        async with run_worker(JOBS):
            finished = await first
        again = await client.post("/jobs/test.sum", json=[1, 2], headers=waiting)

    assert_problem(held, 409, "idempotency_held")
    assert int(held.headers["retry-after"]) >= 1
    assert (again.status_code, again.json()) == (200, finished.json())
    assert again.headers["idempotency-replayed"] == "true"


async def _not_replayed(client: Any, first: "asyncio.Task[Response]") -> Response:
    """Send the request again once the first one has been accepted."""
    while not (await client.get("/jobs")).json()["jobs"]:
        assert not first.done()
    response: Response = await client.post("/jobs/test.sum", json=[1, 2], headers=KEY)
    return response


@pytest.mark.parametrize("key", ['""', '"a', "a b", "é".encode(), "x" * 256, '"' + "x" * 256 + '"', '"a\\b"'])
async def test_a_key_that_is_none_is_refused(api: OpenApi, key: str | bytes) -> None:
    """400: it is neither a structured field's string nor a plain word of 255 characters."""
    headers = {b"idempotency-key": key.encode() if isinstance(key, str) else key}
    async with api(JOBS) as client:
        assert_problem(await client.post("/jobs/test.sum", json=[1], headers=headers), 400, "invalid_idempotency_key")


async def test_a_queue_that_is_full_takes_no_more(api: OpenApi) -> None:
    """503 with Retry-After once as many jobs wait as the setting allows; batches are refused likewise."""
    async with api(JOBS, max_queue_depth=2) as client:
        accepted = 0
        while (answer := await client.post("/jobs/test.sum", json=[1])).status_code == 202:
            accepted += 1
        batch = await client.post("/jobs:batch", json={"jobs": [{"kind": "test.sum", "payload": [1]}]})

    assert accepted >= 2
    assert_problem(answer, 503, "queue_full")
    assert_problem(batch, 503, "queue_full")
    assert int(answer.headers["retry-after"]) >= 1
