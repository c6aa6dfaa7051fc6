"""Batches over HTTP."""

from typing import Any

import pytest
from redis import Redis

from tests.conftest import RunWorker
from tests.support.http import OpenApi, assert_problem
from tests.support.http_jobs import JOBS
from tests.support.waiting import wait_until

GOOD = {"kind": "test.sum", "payload": [1, 2]}
WRONG = {"kind": "test.sum", "payload": ["x"]}
UNKNOWN = {"kind": "test.unknown", "payload": {}}
LEAKY = {"kind": "test.leaky", "payload": {"user_id": 1}}


async def test_each_job_of_a_batch_has_its_own_outcome(api: OpenApi) -> None:
    """What can be accepted is; the others say why not. Ids are known at once, and lead to jobs."""
    async with api(JOBS) as client:
        response = await client.post("/jobs:batch", json={"jobs": [GOOD, WRONG, UNKNOWN, {**GOOD, "delay": 60}]})
        batch = response.json()
        job = (await client.get(f"/jobs/{batch['jobs'][0]['id']}")).json()
        listed = (await client.get("/jobs", params={"batch": batch["id"]})).json()["jobs"]

    assert response.status_code == 202
    assert response.headers["location"] == f"/batches/{batch['id']}"
    assert (batch["accepted"], batch["refused"]) == (2, 2)
    assert [item.get("problem", {}).get("code") for item in batch["jobs"]] == [
        None,
        "invalid_payload",
        "unknown_kind",
        None,
    ]
    assert [item.get("state") for item in batch["jobs"]] == ["queued", None, None, "scheduled"]
    assert job["batch"] == batch["id"]
    assert {found["id"] for found in listed} == {batch["jobs"][0]["id"], batch["jobs"][3]["id"]}


@pytest.mark.parametrize(
    ("jobs", "wrong"),
    [
        ([GOOD, WRONG], [1]),
        ([UNKNOWN, GOOD], [0]),
        ([{**GOOD, "unique_key": "k"}, {**GOOD, "unique_key": "k"}], [1]),
        ([{**GOOD, "queue": "other"}, GOOD], [0]),
    ],
)
async def test_an_atomic_batch_is_accepted_whole_or_not_at_all(api: OpenApi, jobs: list[Any], wrong: list[int]) -> None:
    """422 names the jobs that were wrong, and nothing was accepted."""
    async with api(JOBS) as client:
        response = await client.post("/jobs:batch", json={"jobs": jobs, "atomic": True})
        listed = (await client.get("/jobs")).json()["jobs"]

    problem = assert_problem(response, 422, "batch_refused")
    assert [item["index"] for item in problem["items"]] == wrong
    assert listed == []


@pytest.mark.parametrize(
    "body",
    [{}, {"jobs": []}, {"jobs": [GOOD] * 1001}, {"jobs": [{"kind": "a"}]}, {"jobs": [{**GOOD, "colour": 1}]}, []],
)
async def test_a_request_that_is_no_batch_is_refused(api: OpenApi, body: Any) -> None:
    """422, with the place of what does not fit."""
    async with api(JOBS) as client:
        assert_problem(await client.post("/jobs:batch", json=body), 422, "invalid_payload")


async def test_a_batch_of_wrong_jobs_alone_is_refused(api: OpenApi) -> None:
    """Where no job can be accepted there is no batch."""
    async with api(JOBS) as client:
        problem = assert_problem(await client.post("/jobs:batch", json={"jobs": [WRONG]}), 422, "batch_refused")

    assert problem["items"][0]["code"] == "invalid_payload"


async def test_a_batch_tells_how_far_it_is(api: OpenApi, run_worker: RunWorker) -> None:
    """Counts by state add up to the total; it has finished when nothing of it lives; what failed can be retried."""
    async with api(JOBS) as client:
        accepted = await client.post("/jobs:batch", json={"jobs": [GOOD, GOOD, LEAKY]})
        path = accepted.headers["location"]
        before = (await client.get(path)).json()
        async with run_worker(JOBS):
            await _finished(client, path)
        after = (await client.get(path)).json()
        retried = (await client.post(f"{path}:retry-failed")).json()
        again = (await client.get(path)).json()
        none_left = (await client.post(f"{path}:retry-failed")).json()
        async with run_worker(JOBS):
            await _finished(client, path)

    assert (before["counts"]["queued"], before["progress"]) == (3, {"current": 0, "total": 3})
    assert (after["counts"]["succeeded"], after["counts"]["failed"]) == (2, 1)
    assert after["progress"] == {"current": 3, "total": 3}
    assert (retried, none_left) == ({"jobs": 1}, {"jobs": 0})
    assert (again["counts"]["failed"], again["counts"]["queued"], "finished_at" in again) == (0, 1, False)


async def _finished(client: Any, path: str) -> None:
    async def has_ended() -> bool:
        return "finished_at" in (await client.get(path)).json()

    await wait_until(has_ended, "the batch has finished")


async def test_a_batch_is_cancelled_as_one(api: OpenApi) -> None:
    """All jobs that wait are cancelled at once."""
    async with api(JOBS) as client:
        path = (await client.post("/jobs:batch", json={"jobs": [GOOD] * 5})).headers["location"]
        cancelled = (await client.post(f"{path}:cancel")).json()
        batch = (await client.get(path)).json()

    assert (cancelled, batch["counts"]["cancelled"]) == ({"jobs": 5}, 5)
    assert batch["finished_at"]


async def test_a_repeated_batch_is_answered_as_the_first(api: OpenApi) -> None:
    """The same ids with the same key, marked, and no second set of jobs; another batch is a 422."""
    key = {"idempotency-key": "b1"}
    async with api(JOBS) as client:
        first = await client.post("/jobs:batch", json={"jobs": [GOOD, WRONG]}, headers=key)
        again = await client.post("/jobs:batch", json={"jobs": [GOOD, WRONG]}, headers=key)
        other = await client.post("/jobs:batch", json={"jobs": [GOOD]}, headers=key)
        listed = (await client.get("/jobs")).json()["jobs"]

    assert again.json() == first.json()
    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    assert_problem(other, 422, "idempotency_mismatch")
    assert len(listed) == 1


async def test_a_batch_whose_answer_was_lost_is_told_of_again(api: OpenApi, redis_url: str) -> None:
    """After the hold of a service that died, the request sent again names the jobs that were accepted."""
    key = {"idempotency-key": "b1"}
    async with api(JOBS) as client:
        first = (await client.post("/jobs:batch", json={"jobs": [GOOD, WRONG, GOOD]}, headers=key)).json()
        with Redis.from_url(redis_url) as redis:
            (kept,) = redis.scan_iter("idempotency:*")
            redis.hdel(kept, "answer")
            held = await client.post("/jobs:batch", json={"jobs": [GOOD, WRONG, GOOD]}, headers=key)
            redis.hset(kept, "held_ms", 1)
        again = (await client.post("/jobs:batch", json={"jobs": [GOOD, WRONG, GOOD]}, headers=key)).json()

    assert_problem(held, 409, "idempotency_held")
    assert (again["accepted"], again["refused"]) == (2, 1)
    assert again["jobs"] == [first["jobs"][0], first["jobs"][2]]


async def test_an_unknown_batch_is_a_404(api: OpenApi) -> None:
    """Whatever is asked of it."""
    async with api(JOBS) as client:
        assert_problem(await client.get("/batches/nope"), 404, "batch_not_found")
        assert_problem(await client.post("/batches/nope:cancel"), 404, "batch_not_found")
        assert_problem(await client.post("/batches/nope:retry-failed"), 404, "batch_not_found")


async def test_a_batch_says_when_to_ask_again(api: OpenApi) -> None:
    """Its acceptance, and each look at it until it has finished, have a Retry-After; then none."""
    async with api(JOBS) as client:
        accepted = await client.post("/jobs:batch", json={"jobs": [{**GOOD, "delay": 60}]})
        going = await client.get(accepted.headers["location"])
        await client.post(f"{accepted.headers['location']}:cancel")
        ended = await client.get(accepted.headers["location"])

    assert accepted.headers["retry-after"] == going.headers["retry-after"] == "1"
    assert ended.json()["finished_at"]
    assert "retry-after" not in ended.headers
