"""The client on a real service and worker: batches, cancelling, retrying, keys, and what operators do."""

from datetime import timedelta
from typing import assert_type

import pytest

from arqway.service.client import (
    ArqwayClient,
    Conflict,
    Forbidden,
    Invalid,
    JobHandle,
    NewJob,
    NotFound,
    Unauthorised,
)
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.states import JobState
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.api_keys import make_key
from tests.support.http_client import OpenClient
from tests.support.http_jobs import JOBS, Customer, add_up, do_nothing, make_report


async def test_a_batch_tells_of_each_job(open_client: OpenClient, run_worker: RunWorker) -> None:
    """What was accepted and why the rest was not; then how it goes on, up to its end."""
    async with open_client(JOBS) as api, run_worker(JOBS):
        batch = await api.submit_many([NewJob(add_up, [1, 2]), NewJob("test.burn", {}), NewJob("test.sum", "x")])
        events = [event async for event in api.batches.stream(batch.id)]
        result = await api.result(batch.jobs[0])
        seen = await api.batch(batch.id)

    assert [outcome["code"] for outcome in batch.refused] == ["unknown_kind", "invalid_payload"]
    assert [outcome["index"] for outcome in batch.refused] == [1, 2]
    assert [error["loc"] for error in batch.refused[1]["errors"]] == [["payload"]]
    assert [job.id for job in batch.jobs] == [f"{batch.id}.0"]
    assert (events[0].name, events[0].batch and events[0].batch["total"], events[-1].name) == ("batch", 1, "finished")
    assert result == 3
    assert (seen["total"], seen["counts"]["succeeded"], "finished_at" in seen) == (1, 1, True)


async def test_a_batch_may_be_all_or_nothing(open_client: OpenClient) -> None:
    """The error names the items that are in the way, and nothing was accepted."""
    async with open_client(JOBS) as api:
        with pytest.raises(Invalid) as refused:
            await api.submit_many([NewJob(do_nothing, {}), NewJob("test.burn", {})], atomic=True)
        assert [job async for job in api.list()] == []

    assert (refused.value.code, [item["index"] for item in refused.value.items]) == ("batch_refused", [1])


async def test_a_batch_is_acted_on_as_one(open_client: OpenClient, run_worker: RunWorker) -> None:
    """Its jobs are cancelled, and those that failed are submitted again."""
    async with open_client(JOBS) as api:
        waiting = await api.submit_many([NewJob(do_nothing, {})] * 3)
        assert await api.batches.cancel(waiting.id) == 3
        async with run_worker(JOBS):
            failing = await api.submit_many([NewJob(make_report, Customer(user_id=0)), NewJob(do_nothing, {})])
            assert [event async for event in api.batches.stream(failing.id)]
            assert await api.batches.retry_failed(failing.id) == 1
        with pytest.raises(NotFound):
            await api.batch("nobody")


async def test_only_an_unchanged_job_is_cancelled_if_that_is_asked_for(open_client: OpenClient) -> None:
    """Somebody else may have been first; a job that no call returned cannot be compared."""
    async with open_client(JOBS) as api:
        seen = await api.submit(do_nothing, {})
        assert (await api.cancel(seen, if_unchanged=True)).state is JobState.CANCELLED
        with pytest.raises(Conflict) as changed:
            await api.cancel(seen, if_unchanged=True)
        with pytest.raises(Conflict) as finished:
            await api.cancel(seen)
        with pytest.raises(TypeError, match="if_unchanged"):
            await api.cancel(JobHandle(seen.id), if_unchanged=True)

    assert (changed.value.code, changed.value.status) == ("job_changed", 412)
    assert (finished.value.code, finished.value.status) == ("job_finished", 409)


async def test_an_ended_job_is_submitted_again(open_client: OpenClient, run_worker: RunWorker) -> None:
    """With its own payload or another, once; the second one is told which job there is already."""
    async with open_client(JOBS) as api, run_worker(JOBS):
        first = await api.wait(await api.submit(make_report, Customer(user_id=0)))
        stale = await api.cancel(await api.submit(do_nothing, {}, delay=timedelta(hours=1)))
        again = await api.retry(first, payload=Customer(user_id=3), if_unchanged=True)
        assert (await api.result(again, timeout_s=5)).user_id == 3
        with pytest.raises(Conflict) as retried:
            await api.retry(first)
        with pytest.raises(Invalid, match="does not fit"):
            await api.retry(first.id, payload={"user_id": "x"})
        assert (await api.wait(await api.retry(stale), timeout_s=5)).state is JobState.SUCCEEDED

    assert (again.retry_of, retried.value.code, retried.value.job_id) == (first.id, "job_retried", again.id)


async def test_a_submission_is_one_job_however_often_it_is_made(open_client: OpenClient) -> None:
    """With a key of the caller's; another payload with that key is refused. Without one, each call makes a job."""
    async with open_client(JOBS) as api:
        ids = {(await api.submit("test.sum", [1], idempotency_key='order "7"')).id for _ in range(3)}
        with pytest.raises(Invalid) as other:
            await api.submit("test.sum", [2], idempotency_key='order "7"')
        batches = {(await api.submit_many([NewJob("test.sum", [1])], idempotency_key="b")).id for _ in range(2)}
        others = {(await api.submit("test.sum", [1])).id for _ in range(2)}

    assert (len(ids), len(batches), len(others)) == (1, 1, 2)
    assert other.value.code == "idempotency_mismatch"


async def test_a_unique_key_that_is_taken_names_the_job(open_client: OpenClient) -> None:
    """So that the caller can follow that one."""
    async with open_client(JOBS) as api:
        first = await api.submit(do_nothing, {}, unique_key="u")
        with pytest.raises(Conflict) as taken:
            await api.submit(do_nothing, {}, unique_key="u")
    assert (taken.value.code, taken.value.job_id) == ("not_unique", first.id)


async def test_what_the_service_does_not_know_is_not_found(open_client: OpenClient) -> None:
    """Jobs, kinds, streams and waits alike; the error names the request in the service's log."""
    async with open_client(JOBS) as api:
        for call in (api.get("x"), api.wait("x"), api.cancel("x"), anext(api.stream("x")), api.submit("a.b", {})):
            with pytest.raises(NotFound) as missing:
                await call
    assert missing.value.code == "unknown_kind"
    assert missing.value.request_id


async def test_a_key_opens_what_its_scopes_allow(open_client: OpenClient, settings: Settings) -> None:
    """Without one nothing. One that may only submit gets its job although it must not wait for it."""
    key = await make_key(settings, Scope.SUBMIT)
    async with open_client(JOBS, key=key, auth="keys") as api:
        job = await api.submit(do_nothing, {}, wait_s=0.1)
        with pytest.raises(Forbidden) as forbidden:
            await api.get(job)
    async with open_client(JOBS, auth="keys") as stranger:
        with pytest.raises(Unauthorised):
            await stranger.get(job)
    assert forbidden.value.code == "insufficient_scope"


async def test_operators_see_and_steer(open_client: OpenClient, run_worker: RunWorker) -> None:
    """A paused queue lets nothing begin; dead letters are grouped, counted, and submitted again."""
    async with open_client(JOBS) as api, run_worker(JOBS):
        assert (await api.operations.pause("default"), await api.operations.pause("default")) == (True, False)
        failing = [await api.submit(make_report, Customer(user_id=0)) for _ in range(2)]
        (queue,) = [queue for queue in await api.operations.queues() if queue["name"] == "default"]
        assert (queue["depth"], "paused_at" in queue) == (2, True)
        assert await api.operations.resume("default")
        for job in failing:
            await api.wait(job, timeout_s=5)
        (group,) = [group async for group in api.operations.dead()]
        assert (group["jobs"], group["kind"], group["failure"]["code"]) == (2, "report.generate", "unknown_customer")
        counted = await api.operations.redrive(dry_run=True, fingerprint=group["fingerprint"])
        assert (counted["matched"], counted["redriven"]) == (2, 0)
        done = await api.operations.redrive(fingerprint=group["fingerprint"], limit=1, rate=10)
        assert (done["redriven"], done["more"]) == (1, True)
        assert [worker["kinds"] for worker in await api.operations.workers()] != []


async def test_other_requests_can_be_sent_too(open_client: OpenClient) -> None:
    """For what has no method of its own; a refusal is the same error."""
    async with open_client(JOBS) as api:
        assert_type(api, ArqwayClient)
        made = await api.request("POST", "/reports", json={"user_id": 5})
        assert "task_id" in made.json()
        with pytest.raises(NotFound):
            await api.request("GET", "/reports/nobody")
