"""The matrix of authorisation, made of the application's own routes: each of them, asked by each kind of caller.

What is expected follows from the tables in ``tests.support.scopes``. How a route is asked stands in ``ASKED`` below;
a route that is not there fails the first test, so none is ever added without being asked by strangers.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import pytest
from httpx import AsyncClient, Response
from starlette.routing import Route

from arqway.service.app import create_app
from arqway.service.settings import ServiceSettings
from arqway.workers.client import open_queue
from arqway.workers.contract.api_key import ALL_SCOPES, Scope
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.api_keys import bearer, make_key, revoke
from tests.support.http import OpenApi
from tests.support.http_jobs import JOBS
from tests.support.scopes import PUBLIC, SCOPES, scope_of
from tests.support.traffic import Seeds, sow
from tests.support.webhook_jobs import NEW, with_webhooks

UNKNOWN = "0" * 32
"""An id like any other, of nothing."""


class Asked(NamedTuple):
    """How a route is asked, and how it answers a caller who may ask."""

    thing: str = ""
    """What its path names: done, failed, waiting, batch, report, or a plain word."""
    body: Any = None
    answers: frozenset[int] = frozenset({200})


_ACCEPTED = frozenset({202})
_JOBS = {"jobs": [{"kind": "test.sum", "payload": [1]}]}
ASKED: Mapping[tuple[str, str], Asked] = {
    ("GET", "/livez"): Asked(),
    ("GET", "/readyz"): Asked(),
    ("GET", "/openapi.json"): Asked(),
    ("GET", "/docs"): Asked(),
    ("GET", "/docs/oauth2-redirect"): Asked(),
    ("GET", "/redoc"): Asked(),
    ("GET", "/problems"): Asked(),
    ("GET", "/problems/{slug}"): Asked("not-json"),
    **{("POST", f"/jobs/{kind}"): Asked(body={}, answers=frozenset({202, 422})) for kind in JOBS},
    ("POST", "/jobs/{kind}"): Asked("no-such-kind", {}, frozenset({404})),
    ("POST", "/jobs:batch"): Asked(body=_JOBS, answers=_ACCEPTED),
    ("POST", "/reports"): Asked(body={"user_id": 5}, answers=_ACCEPTED),
    ("GET", "/jobs"): Asked(),
    ("GET", "/jobs/{job_id}"): Asked("done"),
    ("GET", "/jobs/{job_id}/result"): Asked("done"),
    ("GET", "/jobs/{job_id}/attempts"): Asked("done"),
    ("GET", "/jobs/{job_id}/waiting"): Asked("waiting"),
    ("GET", "/jobs/{job_id}/events"): Asked("done"),
    ("GET", "/jobs/{job_id}/deliveries"): Asked("failed"),
    ("GET", "/events"): Asked(),
    ("GET", "/batches/{batch_id}"): Asked("batch"),
    ("GET", "/batches/{batch_id}/events"): Asked("batch"),
    ("GET", "/reports/{task_id}"): Asked("report"),
    ("GET", "/reports/{task_id}/file"): Asked("report", answers=frozenset({404})),  # nobody has stored it
    ("GET", "/dead"): Asked(),
    ("GET", "/queues"): Asked(),
    ("GET", "/workers"): Asked(),
    ("POST", "/queues/{name}:pause"): Asked("slow"),
    ("POST", "/queues/{name}:resume"): Asked("slow"),
    ("POST", "/jobs/{job_id}/deliveries:redeliver"): Asked("failed", answers=frozenset({409})),  # it is under way
    ("POST", "/jobs/{job_id}:cancel"): Asked("waiting"),
    ("POST", "/jobs/{job_id}:retry"): Asked("failed", answers=_ACCEPTED),
    ("POST", "/batches/{batch_id}:cancel"): Asked("batch"),
    ("POST", "/batches/{batch_id}:retry-failed"): Asked("batch"),
    ("POST", "/dead:redrive"): Asked(body={"filter": {}}),
}
"""In an order in which nothing is used up before it is asked for. HEAD is asked as GET is."""


def routes() -> set[tuple[str, str]]:
    """Return method and path of every route of the service."""
    app = create_app(ServiceSettings.model_validate({"redis_url": "redis://127.0.0.1:1"}), JOBS)
    assert all(isinstance(route, Route) for route in app.routes)
    served = {
        (method, route.path) for route in app.routes if isinstance(route, Route) for method in route.methods or ()
    }
    return served | {("HEAD", path) for method, path in served if method == "GET"}


def locked_routes() -> list[tuple[str, str]]:
    """Return those that need a key, in the order of ``ASKED``."""
    asked = [("HEAD", path) for method, path in ASKED if method == "GET"]
    return [(method, path) for method, path in [*asked, *ASKED] if path not in PUBLIC]


class Matrix(NamedTuple):
    """The service, and the things of one tenant."""

    client: AsyncClient
    settings: Settings
    things: Mapping[str, str]

    async def ask(self, method: str, path: str, headers: dict[str, str], thing: str | None = None) -> Response:
        """Ask for a route, of ``thing`` or what it is made for; of a stream only its beginning is read."""
        asked = ASKED["GET" if method == "HEAD" else method, path]
        name = thing or self.things.get(asked.thing, asked.thing)
        body = {} if asked.body is None else {"json": asked.body}
        async with self.client.stream(method, re.sub(r"\{\w+\}", name, path), headers=headers, **body) as answer:
            if answer.headers.get("content-type") != "text/event-stream":
                await answer.aread()
        return answer


@pytest.fixture
async def matrix(served_api: OpenApi, settings: Settings, run_worker: RunWorker) -> AsyncIterator[Matrix]:
    """A service that asks for keys, and a tenant that has one of each thing."""
    async with open_queue(with_webhooks(settings), JOBS) as queue, run_worker(JOBS):
        seeds = await sow(queue, "ours")
    async with served_api(JOBS, auth="keys", webhook_secrets=NEW) as client:
        yield Matrix(client, settings, named(seeds))


def named(seeds: Seeds) -> dict[str, str]:
    """Return the things by what they are called in ``ASKED``."""
    third = len(seeds.jobs) // 3
    names = {"done": seeds.jobs[1], "failed": seeds.jobs[third + 1], "waiting": seeds.jobs[-1]}
    return {**names, "batch": seeds.batches[0], "report": seeds.reports[0]}


def test_the_matrix_knows_every_route() -> None:
    """Whatever the service serves is asked for below; what needs no key is in ``PUBLIC``, and all else in SCOPES."""
    heads = {("HEAD", path) for method, path in ASKED if method == "GET"}
    assert routes() == ASKED.keys() | heads
    kinds = {("POST", f"/jobs/{kind}") for kind in JOBS}
    locked = {(method, path) for method, path in ASKED if path not in PUBLIC}
    assert locked - kinds == SCOPES.keys()


async def test_nobody_known_gets_past_the_door(matrix: Matrix) -> None:
    """Without a key, with what is none, with one that is revoked or made up: 401 for each route, and nothing else."""
    revoked = await make_key(matrix.settings, tenant="ours")
    await revoke(matrix.settings, revoked)
    made_up = f"arqway_{'a' * 12}_{'b' * 64}"
    callers = [{}, bearer("nonsense"), bearer(revoked), bearer(made_up)]
    for method, path in locked_routes():
        for headers in callers[: 1 if method == "HEAD" else None]:
            refused = await matrix.ask(method, path, headers)
            assert refused.status_code == 401, (method, path, headers)
            assert refused.headers["www-authenticate"].startswith('Bearer realm="arqway"')
            assert method == "HEAD" or refused.json()["code"] == "unauthenticated"


async def test_what_is_public_asks_nobody(matrix: Matrix) -> None:
    """With no key, a good one or a bad one, probes and documentation are served alike."""
    token = await make_key(matrix.settings, Scope.SUBMIT)
    for method, path in ASKED:
        if path in PUBLIC:
            for headers in ({}, bearer(token), bearer("nonsense")):
                assert (await matrix.ask(method, path, headers)).status_code == 200


@pytest.mark.parametrize("scope", Scope)
async def test_a_scope_opens_its_own_routes(matrix: Matrix, scope: Scope) -> None:
    """A key with one scope reaches the routes that need it; from others it gets a 403 that names what is missing."""
    headers = bearer(await make_key(matrix.settings, scope, tenant="another"))
    for method, path in locked_routes():
        answer = await matrix.ask(method, path, headers)
        needed = scope_of(method, path)
        assert (answer.status_code == 403) == (needed is not scope), (method, path)
        assert answer.status_code != 401
        if needed is not scope:
            assert f'scope="{needed}"' in answer.headers["www-authenticate"]


async def test_what_is_anothers_is_not_there(matrix: Matrix) -> None:
    """Each thing, asked for by another tenant who may do everything, is answered as an id that there never was.

    Status, headers and body are the same but for the id, and nothing has changed afterwards.
    """
    stranger, owner = bearer(await make_key(matrix.settings, tenant="another")), bearer(await owners_key(matrix))
    before = [(await matrix.ask(*route, owner)).text for route in _LOOKS]
    for method, path in locked_routes():
        if re.search(r"\{(job|batch|task)_id\}", path):
            unknown = await matrix.ask(method, path, stranger, UNKNOWN)
            assert unknown.status_code == 404, (method, path)
            for thing in matrix.things.values():
                refused = await matrix.ask(method, path, stranger, thing)
                assert seen(refused, thing) == seen(unknown, UNKNOWN), (method, path)
    assert [(await matrix.ask(*route, owner)).text for route in _LOOKS] == before


_LOOKS = [("GET", "/jobs"), ("GET", "/dead"), ("GET", "/jobs/{job_id}"), ("GET", "/batches/{batch_id}")]


def seen(answer: Response, thing: str) -> tuple[int, dict[str, str], str]:
    """Return what a caller sees of an answer, without the id that it asked for and what is new each time."""
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "date"}}
    return answer.status_code, headers, answer.text.replace(thing, UNKNOWN)


async def test_what_is_anothers_is_in_no_list(matrix: Matrix) -> None:
    """No list, group or action without a name reaches another tenant's jobs."""
    stranger = bearer(await make_key(matrix.settings, tenant="another"))
    assert (await matrix.ask("GET", "/jobs", stranger)).json() == {"jobs": []}
    assert (await matrix.ask("GET", "/dead", stranger)).json() == {"groups": []}
    assert (await matrix.ask("POST", "/dead:redrive", stranger)).json()["matched"] == 0


async def test_the_owner_may_do_everything(matrix: Matrix) -> None:
    """With a key of its own and all scopes, each route answers as it should: the tests above ask not in vain."""
    headers = bearer(await owners_key(matrix))
    for method, path in locked_routes():
        asked = ASKED["GET" if method == "HEAD" else method, path]
        answer = await matrix.ask(method, path, headers)
        assert answer.status_code in asked.answers, (method, path, answer.status_code)


async def owners_key(matrix: Matrix) -> str:
    """Return a key of the tenant whose things there are, for everything."""
    return await make_key(matrix.settings, *ALL_SCOPES, tenant="ours")
