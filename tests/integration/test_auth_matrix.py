"""Every route against every kind of caller: strangers, wrong scopes, other tenants, and the right one."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import pytest
from httpx import AsyncClient, Response

from service.auth import SCOPES
from tests.conftest import RunWorker
from tests.support.api_keys import bearer, make_key
from tests.support.http import OpenApi, assert_problem, wait_for_state
from tests.support.http_jobs import JOBS
from workers.contract.api_key import ALL_SCOPES, Scope
from workers.settings import Settings

BODIES: Mapping[str, Any] = {
    "/jobs/{kind}": [1],
    "/jobs:batch": {"jobs": [{"kind": "test.sum", "payload": [1]}]},
    "/dead:redrive": {"filter": {}},
    "/reports": {"user_id": 5},
}
STREAMS = {"/events", "/jobs/{job_id}/events", "/batches/{batch_id}/events"}
"""They have no end, so only their heads are asked for."""
OF_JOB = [(method, path) for method, path in SCOPES if "{job_id}" in path or "{task_id}" in path]
OF_BATCH = [(method, path) for method, path in SCOPES if "{batch_id}" in path]
every_route = pytest.mark.parametrize(("method", "path"), SCOPES)


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


async def ask(client: AsyncClient, method: str, path: str, name: str = "some-id", token: str = "") -> Response:
    """Ask for a route, with ``name`` for whatever its path names; of a stream for its head."""
    body = {"json": BODIES[path]} if path in BODIES else {}
    filled = re.sub(r"\{\w+\}", name, path.replace("{kind}", "test.sum"))
    method = "HEAD" if path in STREAMS else method
    return await client.request(method, filled, headers=bearer(token) if token else {}, **body)


@every_route
async def test_a_stranger_reaches_no_route(locked: AsyncClient, method: str, path: str) -> None:
    """401, and the header says what to send."""
    refused = await ask(locked, method, path)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="arqway"')


@every_route
async def test_no_scope_stands_for_another(locked: AsyncClient, settings: Settings, method: str, path: str) -> None:
    """With all scopes but the route's one: 403, and the header names it."""
    scope = SCOPES[method, path]
    refused = await ask(locked, method, path, token=await make_key(settings, *(ALL_SCOPES - {scope})))
    assert refused.status_code == 403
    challenge = refused.headers["www-authenticate"]
    assert challenge == f'Bearer realm="arqway", error="insufficient_scope", scope="{scope}"'
    if path not in STREAMS:
        assert_problem(refused, 403, "insufficient_scope")


@every_route
async def test_the_one_scope_is_enough(locked: AsyncClient, settings: Settings, method: str, path: str) -> None:
    """With the route's scope alone one gets as far as the route."""
    answer = await ask(locked, method, path, token=await make_key(settings, SCOPES[method, path]))
    assert answer.status_code in (200, 202, 404)


@pytest.mark.parametrize(("method", "path"), [*OF_JOB, *OF_BATCH])
async def test_what_is_anothers_is_not_there(
    locked: AsyncClient, ours: Tenant, theirs: Tenant, method: str, path: str
) -> None:
    """A job or batch of another tenant is answered like one that there never was, word for word but for the id."""
    kinds = [theirs.batch] if "{batch_id}" in path else [theirs.job, theirs.dead, theirs.report, f"{theirs.batch}.0"]
    unknown = await ask(locked, method, path, "unknown-id", ours.token)
    assert unknown.status_code == 404
    for name in kinds:
        before = await everything(locked, theirs)
        refused = await ask(locked, method, path, name, ours.token)
        assert refused.status_code == 404
        assert refused.text.replace(name, "unknown-id") == unknown.text
        assert dict(refused.headers, **_CHANGING) == dict(unknown.headers, **_CHANGING, **_length(refused))
        assert await everything(locked, theirs) == before


_CHANGING = {"x-request-id": ""}


def _length(answer: Response) -> dict[str, str]:
    return {"content-length": answer.headers["content-length"]} if "content-length" in answer.headers else {}


async def everything(client: AsyncClient, tenant: Tenant) -> list[Any]:
    """Return all that a tenant can see of what it has."""
    paths = [f"/jobs/{job}" for job in (tenant.job, tenant.dead, tenant.report, f"{tenant.batch}.0")]
    paths += [f"/batches/{tenant.batch}", "/jobs", "/dead"]
    return [(await client.get(path, headers=bearer(tenant.token))).json() for path in paths]


@pytest.mark.parametrize(("method", "path"), [*OF_JOB, *OF_BATCH])
async def test_what_is_ones_own_is_there(locked: AsyncClient, theirs: Tenant, method: str, path: str) -> None:
    """The tenant itself is told of no missing job or batch by the same routes: the test above does not ask in vain."""
    name = theirs.batch if "{batch_id}" in path else theirs.report if "report" in path else theirs.dead
    answer = await ask(locked, method, path, name, theirs.token)
    missing_file = path == "/reports/{task_id}/file"  # nobody has stored one
    undelivered = path == "/jobs/{job_id}/deliveries:redeliver"  # it has no callback
    assert (answer.status_code == 404) == (missing_file or undelivered), answer.text


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


async def test_texts_of_exceptions_are_for_operators(locked: AsyncClient, settings: Settings, ours: Tenant) -> None:
    """A key without `operate` does not get them from the same route."""
    reader = await make_key(settings, Scope.READ, tenant="ours")
    told = {token: (await locked.get(f"/jobs/{ours.dead}", headers=bearer(token))) for token in (ours.token, reader)}
    assert "ValueError" in told[ours.token].text
    assert "ValueError" not in told[reader].text
    assert told[ours.token].headers["etag"] != told[reader].headers["etag"]
