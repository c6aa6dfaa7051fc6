"""What operators do over HTTP: retry, redrive, pause, and look at queues and workers."""

import json
from typing import Any

from httpx import AsyncClient

from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.http import OpenApi, api_client, assert_problem, service_settings, wait_for_state
from tests.support.http_jobs import JOBS
from tests.support.waiting import wait_until
from tests.support.webhook_jobs import with_webhooks
from tests.support.webhook_receiver import OK, answer, receiving
from tests.support.worker import running_worker

SECRET = "whsec_" + "A" * 44


async def failed_job(client: AsyncClient, run_worker: RunWorker, user_id: int = 1) -> dict[str, Any]:
    """Return a job that failed for good."""
    path = (await client.post("/jobs/test.leaky", json={"user_id": user_id})).headers["location"]
    async with run_worker(JOBS):
        return await wait_for_state(client, path, "failed")


async def test_a_final_job_is_retried_as_a_new_one(api: OpenApi, run_worker: RunWorker) -> None:
    """The new job names the old one and the other way round; it is retried once; a live job cannot be."""
    async with api(JOBS) as client:
        old = await failed_job(client, run_worker)
        response = await client.post(f"/jobs/{old['id']}:retry")
        new = response.json()
        again = assert_problem(await client.post(f"/jobs/{old['id']}:retry"), 409, "job_retried")
        assert_problem(await client.post(f"/jobs/{new['id']}:retry"), 409, "job_not_finished")
        named = (await client.get(f"/jobs/{old['id']}")).json()

    assert (response.status_code, response.headers["location"]) == (202, f"/jobs/{new['id']}")
    assert (new["retry_of"], named["retried_as"], again["job_id"]) == (old["id"], new["id"], new["id"])
    assert (named["state"], new["state"]) == ("failed", "queued")


async def test_a_job_may_be_retried_with_another_payload(api: OpenApi, run_worker: RunWorker) -> None:
    """The edited payload is validated and runs; one that does not fit retries nothing."""
    async with api(JOBS) as client:
        path = (await client.post("/jobs/test.sum", json=[1])).headers["location"]
        await client.post(f"{path}:cancel")
        wrong = await client.post(f"{path}:retry", json=["x"])
        edited = await client.post(f"{path}:retry", json=[1, 2, 3])
        async with run_worker(JOBS):
            ended = await wait_for_state(client, edited.headers["location"], "succeeded")

    assert_problem(wrong, 422, "invalid_payload")
    assert ended["result"] == 6


async def test_acting_on_a_version_that_is_past_is_refused(api: OpenApi) -> None:
    """If-Match with an old ETag is a 412 and does nothing; with the present one it acts."""
    async with api(JOBS) as client:
        accepted = await client.post("/jobs/test.sum", json=[1])
        path = accepted.headers["location"]
        stale = await client.post(f"{path}:cancel", headers={"if-match": '"0-0"'})
        done = await client.post(f"{path}:cancel", headers={"if-match": accepted.headers["etag"]})
        late = await client.post(f"{path}:retry", headers={"if-match": accepted.headers["etag"]})

    assert_problem(stale, 412, "job_changed")
    assert (done.status_code, done.json()["state"]) == (200, "cancelled")
    assert_problem(late, 412, "job_changed")


async def test_dead_letters_are_grouped_by_what_they_failed_of(api: OpenApi, run_worker: RunWorker) -> None:
    """One group for alike failures, with its count and an example; its jobs can be listed; retrying empties it."""
    async with api(JOBS) as client:
        first, second = [await failed_job(client, run_worker, n) for n in (1, 2)]
        group = (await client.get("/dead")).json()["groups"][0]
        listed = (await client.get("/jobs", params={"fingerprint": group["fingerprint"]})).json()["jobs"]
        counted = (await client.post("/dead:redrive", json={"dry_run": True})).json()
        wanted = {"filter": {"fingerprint": group["fingerprint"]}, "limit": 1, "rate": 10}
        redriven = (await client.post("/dead:redrive", json=wanted)).json()
        rest = (await client.get("/dead")).json()["groups"][0]
        nothing = (await client.post("/dead:redrive", json={"filter": {"kind": "test.sum"}})).json()

    assert (group["jobs"], group["kind"], group["latest"]["id"]) == (2, "test.leaky", second["id"])
    assert group["failure"]["code"] == "exception"
    assert [job["id"] for job in listed] == [second["id"], first["id"]]
    assert counted == {"matched": 2, "redriven": 0, "more": False, "dry_run": True}
    assert redriven == {"matched": 1, "redriven": 1, "more": True, "dry_run": False}
    assert rest["jobs"] == 1
    assert nothing["matched"] == 0


async def test_queues_tell_how_they_are(api: OpenApi, run_worker: RunWorker) -> None:
    """Depth, age and rates of every queue; a paused one keeps its jobs until it is resumed."""
    async with api(JOBS) as client:
        await client.post("/queues/default:pause")
        path = (await client.post("/jobs/test.sum", json=[1])).headers["location"]
        async with run_worker(JOBS):
            paused = await _queue(client, "default", workers=1)
            waiting = (await client.get(path)).json()["state"]
            again = (await client.post("/queues/default:pause")).json()
            resumed = (await client.post("/queues/default:resume")).json()
            await wait_for_state(client, path, "succeeded")
            after = await _queue(client, "default", workers=1)
            workers = (await client.get("/workers")).json()["workers"]

    assert (paused["depth"], waiting, bool(paused["paused_at"])) == (1, "queued", True)
    assert (again["changed"], resumed) == (False, {"name": "default", "paused": False, "changed": True})
    assert (after["depth"], after["running"], "paused_at" in after) == (0, 0, False)
    assert after["in_rate"] > 0
    assert after["drain_s"] == 0
    assert [(worker["queues"], worker["max_jobs"]) for worker in workers] == [(["default"], 20)]


async def _queue(client: AsyncClient, name: str, *, workers: int) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_served() -> bool:
        nonlocal found
        found = next(queue for queue in (await client.get("/queues")).json()["queues"] if queue["name"] == name)
        return bool(found["workers"] == workers)

    await wait_until(is_served, f"{workers} workers serve {name}")
    return found


async def test_a_name_that_no_queue_can_have_is_refused(api: OpenApi) -> None:
    """422, and nothing is paused."""
    async with api(JOBS) as client:
        assert_problem(await client.post("/queues/A B:pause"), 422, "invalid_request")


async def test_a_callback_is_told_of_the_end_and_again_when_asked(settings: Settings) -> None:
    """The end submits a delivery, which calls the URL; its attempts can be read, and it can be sent again."""
    hooked = with_webhooks(settings)
    async with receiving(answer(500), OK) as receiver, api_client(service_settings(hooked), JOBS) as client:
        options = {"callback_url": receiver.url}
        path = (await client.post("/jobs/test.sum", json=[1, 2], params=options)).headers["location"]
        assert (await client.get(f"{path}/deliveries")).json() == {"deliveries": []}
        assert_problem(await client.post(f"{path}/deliveries:redeliver"), 404, "job_not_found")
        async with running_worker(JOBS, hooked):
            await wait_for_state(client, path, "succeeded")
            retrying = await _delivery(client, path, "retrying")
            early = await client.post(f"{path}/deliveries:redeliver")
            await client.post(f"/jobs/{retrying['id']}:cancel")
            again = await client.post(f"{path}/deliveries:redeliver")
            told = await _delivery(client, path, "succeeded")
        job = (await client.get(path)).json()

    assert retrying["attempts"][0]["failure"]["code"] == "http_500"
    assert retrying["next_retry_at"]
    assert_problem(early, 409, "job_not_finished")
    assert (again.status_code, told["id"], told["status"]) == (202, again.json()["id"], 204)
    assert [json.loads(message.body)["data"] for message in receiver.messages] == [job, job]
    assert len({message.headers["webhook-id"] for message in receiver.messages}) == 1


async def _delivery(client: AsyncClient, path: str, state: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_so() -> bool:
        nonlocal found
        found = (await client.get(f"{path}/deliveries")).json()["deliveries"][-1]
        return bool(found["state"] == state)

    await wait_until(is_so, f"the delivery is {state}")
    return found
