"""Reading over HTTP: versions, waiting, results, attempts, why a job waits, and lists."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from arqway import JobContext, Registry, RetryPolicy, job
from tests.conftest import OpenQueue, RunWorker
from tests.support.http import OpenApi, assert_problem, wait_for_state
from tests.support.http_jobs import JOBS
from tests.support.jobs import AT_ONCE


async def test_a_job_that_has_not_changed_is_a_304(api: OpenApi) -> None:
    """The ETag of an answer, weak or strong or in a list, gives a 304 without a body until the job changes."""
    async with api(JOBS) as client:
        accepted = await client.post("/jobs/test.sum", json=[1])
        path, etag = accepted.headers["location"], accepted.headers["etag"]
        answers = [await client.get(path, headers={"if-none-match": tag}) for tag in (etag, f'"x", W/{etag}', "*")]
        other = await client.get(path, headers={"if-none-match": '"x"'})
        await client.post(f"{path}:cancel")
        changed = await client.get(path, headers={"if-none-match": etag})

    assert [(answer.status_code, answer.content, answer.headers["etag"]) for answer in answers] == [
        (304, b"", etag)
    ] * 3
    assert (other.status_code, changed.status_code) == (200, 200)
    assert changed.headers["etag"] != etag


async def test_a_reader_may_wait_for_the_end(api: OpenApi, run_worker: RunWorker) -> None:
    """`Prefer: wait` on a read answers when the job has ended, with its result."""
    async with api(JOBS) as client:
        path = (await client.post("/jobs/test.sum", json=[2, 3])).headers["location"]
        reading = asyncio.create_task(client.get(path, headers={"prefer": "wait=20"}))
        async with run_worker(JOBS):
            answer = await reading

    assert (answer.json()["state"], answer.json()["result"]) == ("succeeded", 5)
    assert answer.headers["preference-applied"] == "wait=20"


async def test_a_reader_may_wait_for_a_change(api: OpenApi) -> None:
    """With If-None-Match the answer comes with the first change; a 304 where none comes in time."""
    async with api(JOBS) as client:
        accepted = await client.post("/jobs/test.sum", json=[1])
        path, known = accepted.headers["location"], {"if-none-match": accepted.headers["etag"]}
        silent = await client.get(path, headers={**known, "prefer": "wait=0"})
        reading = asyncio.create_task(client.get(path, headers={**known, "prefer": "wait=20"}))
        await asyncio.sleep(0)
        await client.post(f"{path}:cancel")
        answer = await reading

    assert silent.status_code == 304
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


async def test_a_result_can_be_read_alone(api: OpenApi, run_worker: RunWorker) -> None:
    """The bare JSON of a job that succeeded; 409 before, and for one that failed."""
    async with api(JOBS) as client:
        good = (await client.post("/jobs/test.sum", json=[1, 2])).headers["location"]
        bad = (await client.post("/jobs/test.leaky", json={"user_id": 1})).headers["location"]
        early = await client.get(f"{good}/result")
        async with run_worker(JOBS):
            await wait_for_state(client, good, "succeeded")
            await wait_for_state(client, bad, "failed")
        result, failed = await client.get(f"{good}/result"), await client.get(f"{bad}/result")

    assert_problem(early, 409, "job_not_succeeded")
    assert_problem(failed, 409, "job_not_succeeded")
    assert (result.json(), result.headers["content-type"]) == (3, "application/json")


async def test_attempts_tell_how_each_ended(api: OpenApi, run_worker: RunWorker) -> None:
    """Each attempt has its number, its times, its outcome and, where it failed, a safe failure."""
    tries = 0

    @job("test.flaky", retry=RetryPolicy(max_attempts=3, on=(ConnectionError,), base=AT_ONCE))
    async def flaky(ctx: JobContext, payload: int) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionError("secret")
        return payload

    registry = Registry([flaky])
    async with api(registry) as client, run_worker(registry):
        path = (await client.post("/jobs/test.flaky", json=1)).headers["location"]
        await wait_for_state(client, path, "succeeded")
        attempts = (await client.get(f"{path}/attempts")).json()["attempts"]

    assert [(a["attempt"], a["outcome"]) for a in attempts] == [(1, "failed"), (2, "failed"), (3, "succeeded")]
    assert [a.get("failure", {}).get("code") for a in attempts] == ["exception", "exception", None]
    moments = [moment for a in attempts for moment in (a["started_at"], a["ended_at"])]
    assert moments == sorted(moments)
    assert "secret" not in str(attempts)
    assert "worker" not in attempts[0]


async def test_why_a_job_waits(api: OpenApi, run_worker: RunWorker) -> None:
    """Scheduled, paused, nobody to run it, and its place in the queue are told; a finished job waits for nothing."""
    async with api(JOBS) as client:
        later = (await client.post("/jobs/test.sum?delay=60", json=[1])).headers["location"]
        now = (await client.post("/jobs/test.sum", json=[1])).headers["location"]
        alone = await _codes(client, now)
        await client.post("/queues/default:pause")
        paused = await _codes(client, now)
        scheduled = (await client.get(f"{later}/waiting")).json()
        await client.post("/queues/default:resume")
        async with run_worker(JOBS):
            await wait_for_state(client, now, "succeeded")
        done = (await client.get(f"{now}/waiting")).json()

    assert alone == ["no_worker", "backlog"]
    assert paused == ["queue_paused", "no_worker", "backlog"]
    assert scheduled["reasons"][0]["code"] == "scheduled"
    assert scheduled["reasons"][0]["until"]
    assert done == {"waiting": False, "reasons": []}


async def _codes(client: AsyncClient, path: str) -> list[str]:
    return [reason["code"] for reason in (await client.get(f"{path}/waiting")).json()["reasons"]]


async def test_lists_go_page_after_page(api: OpenApi, open_jobs: OpenQueue) -> None:
    """Latest first, by `next` or by the header Link, each job once although others come meanwhile."""
    async with api(JOBS) as client:
        ids = [(await client.post("/jobs/test.sum", json=[n])).json()["id"] for n in range(7)]
        seen: list[str] = []
        path: str | None = "/jobs?limit=3&kind=test.sum"
        while path is not None:
            page = await client.get(path)
            seen += [found["id"] for found in page.json()["jobs"]]
            assert ("next" in page.json()) == ("next" in page.links)
            path = page.links["next"]["url"] if page.links else None
            await client.post("/jobs/test.sum", json=[9])

    assert sorted(seen) == sorted(ids)
    assert [job_id for job_id in reversed(ids) if job_id in seen][:1] == ids[-1:]


async def test_lists_can_be_narrowed(api: OpenApi) -> None:
    """By state, kind, tag and time of acceptance; an unknown filter is a 422, a foreign cursor a 400."""
    async with api(JOBS) as client:
        tagged = (await client.post("/jobs/test.sum?tag=blue", json=[1])).json()
        later = (await client.post("/jobs/test.nothing?delay=60", json={})).json()

        async def ids(**query: Any) -> list[str]:
            return [found["id"] for found in (await client.get("/jobs", params=query)).json()["jobs"]]

        assert await ids(tag="blue") == await ids(kind="test.sum") == await ids(state="queued") == [tagged["id"]]
        assert await ids(state="scheduled") == await ids(kind="test.nothing") == [later["id"]]
        assert await ids(state="failed") == await ids(tag="red") == await ids(queue="other") == []
        assert set(await ids(created_from=tagged["created_at"])) == {tagged["id"], later["id"]}
        assert await ids(created_to="2020-01-01T00:00:00Z") == []
        page = (await client.get("/jobs?limit=1")).json()
        foreign = await client.get("/jobs", params={"cursor": page["next"], "state": "queued"})
        assert_problem(foreign, 400, "invalid_cursor")
        assert_problem(await client.get("/jobs?cursor=nonsense"), 400, "invalid_cursor")
        assert_problem(await client.get("/jobs?colour=blue"), 422, "invalid_request")


@pytest.mark.parametrize("path", ["", "/result", "/attempts", "/waiting", "/deliveries"])
async def test_an_unknown_job_is_a_404_everywhere(api: OpenApi, path: str) -> None:
    """Whatever is asked of it."""
    async with api(JOBS) as client:
        assert_problem(await client.get(f"/jobs/nope{path}"), 404, "job_not_found")
