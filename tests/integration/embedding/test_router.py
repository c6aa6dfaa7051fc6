"""``app.include_router(arqway.router())``: Arqway's routes below a prefix, and everything else as its owner made it."""

from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import APIRouter, Depends
from fastapi.testclient import TestClient
from httpx import Response

from arqway import Arqway, Caller
from arqway.service.settings import ServiceSettings
from arqway.workers.settings import Settings
from tests.integration.embedding.host import JOBS, MAILS, host_app, signed_in, who_calls
from tests.support.http import service_settings

ANN, BOB = {"authorization": "ann"}, {"authorization": "bob"}
ORDER = {"item": "tea", "grams": 100}


def problem_of(response: Response) -> dict[str, Any]:
    """Return a problem, which must be one."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return dict(response.json())


def test_a_route_of_the_owner_submits_what_arqways_routes_read(host: TestClient) -> None:
    """The ten lines of the README work: an order is accepted, and its job is there."""
    accepted = host.post("/orders", json=ORDER)
    assert accepted.status_code == 202
    assert host.get(f"/orders/{accepted.json()['job_id']}").json() == {"state": "queued"}


def test_every_route_is_there_below_the_prefix(host: TestClient) -> None:
    """Submit, read, list, cancel, batch, queues and probes answer as the service does."""
    submitted = host.post("/background/jobs/order.weigh", json=ORDER, headers=ANN)
    assert submitted.status_code == 202
    path = submitted.headers["location"]
    assert path == f"/background/jobs/{submitted.json()['id']}"
    read = host.get(path, headers=ANN)
    assert read.json()["state"] == "queued"
    assert host.get(path, headers={**ANN, "if-none-match": read.headers["etag"]}).status_code == 304
    assert [job["id"] for job in host.get("/background/jobs", headers=ANN).json()["jobs"]] == [read.json()["id"]]
    assert host.post(f"{path}:cancel", headers=ANN).json()["state"] == "cancelled"
    batch = {"jobs": [{"kind": "order.weigh", "payload": ORDER}] * 2}
    taken = host.post("/background/jobs:batch", json=batch, headers=ANN)
    assert (taken.status_code, taken.json()["accepted"]) == (202, 2)
    assert host.get(taken.headers["location"], headers=ANN).json()["total"] == 2
    assert host.get("/background/queues", headers=ANN).status_code == 200
    assert host.get("/background/readyz", headers=ANN).json() == {"status": "ok"}


def test_the_owners_login_decides_whose_jobs_somebody_sees(host: TestClient) -> None:
    """Another tenant's job is not found, and a scope that the caller lacks is refused."""
    path = host.post("/background/jobs/order.weigh", json=ORDER, headers=ANN).headers["location"]
    assert problem_of(host.get(path, headers=BOB))["code"] == "job_not_found"
    assert problem_of(host.get("/background/queues", headers=BOB))["code"] == "insufficient_scope"
    assert host.get("/background/jobs", headers=BOB).json() == {"jobs": []}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs"),
        ("GET", "/jobs/x"),
        ("POST", "/jobs/order.weigh"),
        ("POST", "/jobs:batch"),
        ("POST", "/jobs/x:cancel"),
        ("GET", "/events"),
        ("GET", "/queues"),
    ],
)
def test_nobody_gets_past_the_owners_login(host: TestClient, method: str, path: str) -> None:
    """The owner's dependency comes first on every route, and its own error reaches the owner's own handler."""
    refused = host.request(method, f"/background{path}", json=ORDER)
    assert (refused.status_code, refused.json()) == (401, {"please": "sign in"})


@pytest.mark.parametrize("route", ["include", "router"])
def test_dependencies_of_whoever_includes_the_router_count_too(arqway: Arqway, route: str) -> None:
    """However the owner puts a login in front, no route is served without it, the fast ones included."""
    app = host_app(arqway)
    if route == "include":
        app.include_router(arqway.router(caller=lambda: Caller()), dependencies=[Depends(signed_in)])
    else:
        outer = APIRouter(dependencies=[Depends(signed_in)])
        outer.include_router(arqway.router(caller=lambda: Caller()))
        app.include_router(outer)
    with TestClient(app) as client:
        for method, path in (("POST", "/jobs/order.weigh"), ("POST", "/jobs:batch"), ("GET", "/jobs/x")):
            assert client.request(method, path, json=ORDER).status_code == 401
        assert client.post("/jobs/order.weigh", json=ORDER, headers=ANN).status_code == 202


def test_what_is_not_arqways_stays_as_it_was(host: TestClient) -> None:
    """The owner's handlers, state and 404s are untouched; problems are for Arqway's routes only."""
    assert host.get("/greeting").json() == "hello"
    assert host.get("/teapot").json() == {"host says": "a teapot"}
    assert host.get("/nowhere").json() == {"host says": "Not Found"}
    unfit = host.post("/orders", json={"item": "tea"})
    assert (unfit.status_code, list(unfit.json())) == (422, ["detail"])


def test_an_error_in_the_owners_route_is_the_owners(arqway: Arqway) -> None:
    """JobNotFound is raised to whoever reads a job; with the handlers installed it is a 404 problem."""
    bare = host_app(arqway)
    bare.include_router(arqway.router(prefix="/background", caller=who_calls))
    with TestClient(bare, raise_server_exceptions=False) as client:
        assert client.get("/orders/none").status_code == 500
    helped = host_app(arqway)
    helped.include_router(arqway.router(prefix="/background", caller=who_calls))
    arqway.add_exception_handlers(helped)
    with TestClient(helped) as client:
        assert problem_of(client.get("/orders/none"))["code"] == "job_not_found"
        assert client.get("/teapot").json() == {"host says": "a teapot"}


BODIES: Mapping[str, tuple[bytes, str, int, str]] = {
    "not json": (b"{", "application/json", 400, "not_json"),
    "nan": (b'{"item": "tea", "grams": NaN}', "application/json", 400, "not_json"),
    "a name twice": (b'{"item": "a", "item": "b", "grams": 1}', "application/json", 422, "unsupported_json"),
    "too deep": (b"[" * 5_000 + b"]" * 5_000, "application/json", 422, "unsupported_json"),
    "a form": (b"item=tea", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    "unfit": (b'{"item": "tea"}', "application/json", 422, "invalid_payload"),
    "too large": (b'"' + b"x" * 2_000_000 + b'"', "application/json", 413, "body_too_large"),
    "empty": (b"", "application/json", 400, "not_json"),
}


@pytest.mark.parametrize("path", ["/jobs/order.weigh", "/jobs:batch", "/dead:redrive"])
@pytest.mark.parametrize("name", [name for name in BODIES if name != "unfit"])
def test_a_bad_body_is_the_same_problem_as_in_the_service(host: TestClient, name: str, path: str) -> None:
    """Mounted, every route that takes a body refuses what the service refuses."""
    body, media, status, code = BODIES[name]
    refused = host.post(f"/background{path}", content=body, headers={**ANN, "content-type": media})
    assert (refused.status_code, problem_of(refused)["code"]) == (status, code)


def test_two_registries_live_side_by_side(settings: Settings) -> None:
    """Two objects in one process serve two sets of jobs, each below its own prefix, and the document has both."""
    shop, post = (Arqway(jobs, settings=service_settings(settings)) for jobs in (JOBS, MAILS))
    app = host_app(shop)
    app.include_router(shop.router(prefix="/shop", caller=lambda: Caller()))
    app.include_router(post.router(prefix="/post", caller=lambda: Caller()))
    with TestClient(app) as client:
        assert client.post("/shop/jobs/order.weigh", json=ORDER).status_code == 202
        assert client.post("/post/jobs/mail.send", json="hello").status_code == 202
        assert client.post("/post/jobs/order.weigh", json=ORDER).json()["code"] == "unknown_kind"
        paths = client.get("/openapi.json").json()["paths"]
    assert {"/shop/jobs/order.weigh", "/post/jobs/mail.send", "/orders"} <= paths.keys()


def test_the_owners_document_is_whole(host: TestClient) -> None:
    """Every reference in the owner's OpenAPI document leads somewhere, and no operation has the id of another."""
    document = host.get("/openapi.json").json()
    references: list[str] = []

    def look(part: object) -> None:
        if isinstance(part, dict):
            references.extend(value for name, value in part.items() if name == "$ref" and isinstance(value, str))
            for value in part.values():
                look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(document)
    for reference in set(references):
        found: Any = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))


def test_dependencies_can_be_overridden(arqway: Arqway) -> None:
    """The owner's tests put somebody else in place of the login, and another client in place of the queue."""
    app = host_app(arqway)
    app.include_router(arqway.router(prefix="/background", caller=who_calls))
    with TestClient(app) as client:
        app.dependency_overrides[who_calls] = lambda: Caller("guests")
        taken = client.post("/background/jobs/order.weigh", json=ORDER)
        assert taken.status_code == 202
        app.dependency_overrides[arqway.queue] = lambda: None
        with pytest.raises(AttributeError):
            client.post("/orders", json=ORDER)


def test_a_stranger_without_a_caller_is_asked_who_they_are(arqway: Arqway) -> None:
    """A ``caller`` that returns None is a 401; the probes and the pages about problems need none."""
    app = host_app(arqway)
    app.include_router(arqway.router(caller=lambda: None))
    with TestClient(app) as client:
        assert problem_of(client.get("/jobs"))["code"] == "unauthenticated"
        assert client.get("/livez").status_code == 200
        assert client.get("/problems").status_code == 200


@pytest.mark.parametrize(
    ("client", "host", "code"),
    [
        (("testclient", 1), "testserver", None),
        (("127.0.0.1", 1), "localhost", None),
        (("127.0.0.1", 1), "shop.example", "foreign_host"),
        (("203.0.113.7", 1), "localhost", "remote_caller"),
        (("::ffff:10.0.0.9", 1), "127.0.0.1", "remote_caller"),
    ],
)
def test_without_a_login_only_this_machine_may_call(
    arqway: Arqway, client: tuple[str, int], host: str, code: str | None
) -> None:
    """No ``caller`` and no keys: whoever is elsewhere, or comes through a page of another site, is refused."""
    app = host_app(arqway)
    app.include_router(arqway.router(prefix="/background"))
    with TestClient(app, client=client, base_url=f"http://{host}") as caller:
        answer = caller.post("/background/jobs/order.weigh", json=ORDER)
    assert (answer.status_code == 202) == (code is None)
    assert code is None or problem_of(answer)["code"] == code


def test_api_keys_work_in_an_owners_application_too(settings: Settings) -> None:
    """With ``ARQWAY_AUTH=keys`` and no ``caller`` the routes ask for API keys; public ones do not."""
    arqway = Arqway(JOBS, settings=service_settings(settings, auth="keys"))
    app = host_app(arqway)
    app.include_router(arqway.router(prefix="/background"))
    with TestClient(app) as client:
        assert problem_of(client.get("/background/jobs"))["code"] == "unauthenticated"
        assert client.get("/background/livez").status_code == 200


def test_a_head_is_a_get_without_a_body(host: TestClient) -> None:
    """Mounted, too, HEAD answers wherever GET does, an event stream included."""
    path = host.post("/background/jobs/order.weigh", json=ORDER, headers=ANN).headers["location"]
    assert host.head(path, headers=ANN).status_code == 200
    assert host.head("/background/events", headers=ANN).headers["content-type"] == "text/event-stream"


def test_settings_are_read_when_it_opens(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Nothing is read at import: what the environment says when the application starts is what counts."""
    arqway = Arqway(JOBS)
    app = host_app(arqway)
    app.include_router(arqway.router(caller=lambda: Caller()))
    assert settings.redis_url is not None
    monkeypatch.setenv("REDIS_URL", settings.redis_url.get_secret_value())
    monkeypatch.setenv("ARQWAY_MAX_BODY_BYTES", "10")
    with TestClient(app) as client:
        assert client.post("/jobs/order.weigh", json=ORDER).status_code == 413
    assert isinstance(arqway.settings, ServiceSettings)
