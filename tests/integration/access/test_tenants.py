"""What tenants share, and what they do not: lists, dead letters, keys of requests, texts of exceptions."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from httpx import AsyncClient

from arqway.workers.contract.api_key import ALL_SCOPES, Scope
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.api_keys import bearer, make_key
from tests.support.http import OpenApi, wait_for_state
from tests.support.http_jobs import JOBS, SECRET


class Tenant(NamedTuple):
    """What one tenant has: a key that may do everything, and a job, a dead letter, a report and a batch."""

    token: str
    job: str
    dead: str
    report: str
    batch: str

    def ids(self) -> set[str]:
        """Return what no other tenant may see."""
        return set(self) - {self.token}


@pytest.fixture
async def locked(api: OpenApi) -> AsyncIterator[AsyncClient]:
    """A service that asks for keys."""
    async with api(JOBS, auth="keys") as client:
        yield client


@pytest.fixture
async def ours(locked: AsyncClient, settings: Settings, run_worker: RunWorker) -> Tenant:
    """A tenant."""
    return await a_tenant(locked, settings, run_worker, "ours")


@pytest.fixture
async def theirs(locked: AsyncClient, settings: Settings, run_worker: RunWorker) -> Tenant:
    """Another tenant."""
    return await a_tenant(locked, settings, run_worker, "theirs")


async def a_tenant(client: AsyncClient, settings: Settings, run_worker: RunWorker, name: str) -> Tenant:
    """Return a tenant whose jobs have ended, but for one that waits."""
    token = await make_key(settings, tenant=name)

    async def submit(path: str, body: Any) -> str:
        answer = await client.post(path, json=body, headers=bearer(token))
        assert answer.status_code == 202, answer.text
        return answer.headers["location"].rpartition("/")[2]

    dead = await submit("/jobs/test.leaky", {"user_id": 1})
    report = await submit("/reports", {"user_id": 5})
    batch = await submit("/jobs:batch", {"jobs": [{"kind": "test.leaky", "payload": {"user_id": 1}}]})
    client.headers.update(bearer(token))
    async with run_worker(JOBS):
        for job_id, state in ((dead, "failed"), (report, "succeeded"), (f"{batch}.0", "failed")):
            await wait_for_state(client, f"/jobs/{job_id}", state)
    del client.headers["authorization"]
    return Tenant(token, await submit("/jobs/test.sum?delay=3600", [1]), dead, report, batch)


async def everything(client: AsyncClient, tenant: Tenant) -> list[Any]:
    """Return all that a tenant can see of what it has."""
    paths = [f"/jobs/{job}" for job in (tenant.job, tenant.dead, tenant.report, f"{tenant.batch}.0")]
    paths += [f"/batches/{tenant.batch}", "/jobs", "/dead"]
    return [(await client.get(path, headers=bearer(tenant.token))).json() for path in paths]


@pytest.mark.parametrize("query", ["", "?state=failed", "?kind=test.leaky", "?batch={batch}"])
async def test_a_list_has_ones_own_jobs_only(locked: AsyncClient, ours: Tenant, theirs: Tenant, query: str) -> None:
    """Whatever is asked for, another's jobs are in no list, nor counted in a group."""
    listed = (await locked.get(f"/jobs{query.format(batch=theirs.batch)}", headers=bearer(ours.token))).text
    dead = (await locked.get("/dead", headers=bearer(ours.token))).json()["groups"]
    assert not [name for name in theirs.ids() if name in f"{listed}{dead}"]
    assert [group["jobs"] for group in dead] == [2]


async def test_only_ones_own_dead_letters_are_redriven(locked: AsyncClient, ours: Tenant, theirs: Tenant) -> None:
    """With no filter at all another's stay where they are."""
    before = await everything(locked, theirs)
    done = await locked.post("/dead:redrive", json={"filter": {}}, headers=bearer(ours.token))
    assert done.json()["redriven"] == 2
    assert await everything(locked, theirs) == before


async def test_keys_of_requests_are_ones_own(locked: AsyncClient, ours: Tenant, theirs: Tenant) -> None:
    """The same Idempotency-Key or unique key of another tenant means another job."""
    made = []
    for tenant in (ours, theirs):
        once = {**bearer(tenant.token), "idempotency-key": '"k"'}
        made += [await locked.post("/jobs/test.sum", json=[1], headers=once)]
        made += [await locked.post("/jobs/test.sum?unique_key=u", json=[1], headers=bearer(tenant.token))]
    assert {answer.status_code for answer in made} == {202}
    assert len({answer.json()["id"] for answer in made}) == 4


async def test_a_replay_tells_no_text_of_an_exception(
    locked: AsyncClient, settings: Settings, run_worker: RunWorker
) -> None:
    """What an operator was answered is replayed to another key of the tenant without what that key may not see."""
    operator, other = [
        bearer(await make_key(settings, *scopes, tenant="ours"))
        for scopes in (ALL_SCOPES, ALL_SCOPES - {Scope.OPERATE})
    ]
    waiting = {"idempotency-key": "k", "prefer": "wait=10"}
    async with run_worker(JOBS):
        first = await locked.post("/jobs/test.leaky", json={"user_id": 1}, headers={**operator, **waiting})
        again = await locked.post("/jobs/test.leaky", json={"user_id": 1}, headers={**other, **waiting})

    assert SECRET in first.text
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.json()["id"], again.json()["failure"]["code"]) == (first.json()["id"], "exception")
    assert SECRET not in again.text
    known = {**other, "if-none-match": again.headers["etag"]}
    assert (await locked.get(f"/jobs/{first.json()['id']}", headers=known)).status_code == 304


async def test_texts_of_exceptions_are_for_operators(locked: AsyncClient, settings: Settings, ours: Tenant) -> None:
    """A key without `operate` does not get them from the same route."""
    reader = await make_key(settings, Scope.READ, tenant="ours")
    told = {token: (await locked.get(f"/jobs/{ours.dead}", headers=bearer(token))) for token in (ours.token, reader)}
    assert "ValueError" in told[ours.token].text
    assert "ValueError" not in told[reader].text
    assert told[ours.token].headers["etag"] != told[reader].headers["etag"]
