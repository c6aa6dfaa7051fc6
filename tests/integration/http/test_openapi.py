"""The OpenAPI document: sound, complete, and true of what the service answers."""

import jsonschema_rs
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field
from schemathesis.specs.openapi.definitions import OPENAPI_31

from arqway import JobContext, Registry, job
from arqway.service.app import create_app
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.callback import URL_CHARS
from arqway.workers.jobs import JOBS
from arqway.workers.webhooks.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from tests.conftest import RunWorker
from tests.support import http_jobs
from tests.support.http import OpenApi, wait_for_state
from tests.support.openapi import Document, check, find, fits, media, operations, walk
from tests.support.scopes import PUBLIC, scope_of
from tests.support.webhook_jobs import NEW

_WITHOUT_EXAMPLES = {"stream_job", "stream_batch", "stream_all", "download_report", "list_problems", "read_problem"}
"""Their answers are no JSON, or are examples themselves."""


def app(registry: Registry = JOBS, **changes: object) -> FastAPI:
    """Return the service."""
    return create_app(ServiceSettings.model_validate({"redis_url": "redis://127.0.0.1:1", **changes}), registry)


@pytest.fixture(scope="module", params=["off", "keys"])
def document(request: pytest.FixtureRequest) -> Document:
    """The document, without keys and with them."""
    return app(auth=request.param).openapi()


def test_the_document_is_openapi_3_1(document: Document) -> None:
    """It fits the meta-schema of OpenAPI 3.1, and each schema in it that of JSON Schema 2020-12."""
    jsonschema_rs.validator_for(OPENAPI_31, validate_formats=True).validate(document)
    assert document["openapi"].startswith("3.1.")
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_reference_leads_somewhere(document: Document) -> None:
    """So does every link from an answer to an operation, with parameters that it has."""
    known = {operation["operationId"]: operation for _, _, operation in operations(document)}
    for part in walk(document):
        if isinstance(part.get("$ref"), str):
            find(document, part["$ref"])
        for link in part.get("links", {}).values() if "description" in part else ():
            names = {parameter["name"] for parameter in known[link["operationId"]].get("parameters", ())}
            assert set(link["parameters"]) <= names, link


def test_every_operation_is_introduced(document: Document) -> None:
    """It has a name of its own, a summary, a description, and a tag that is described; so is each answer."""
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for _, path, operation in operations(document):
        assert set(operation["tags"]) <= tags
        assert operation["summary"]
        assert operation["description"], path
        assert all(answer["description"] != "Successful Response" for answer in operation["responses"].values()), path


def test_every_operation_tells_its_problems(document: Document) -> None:
    """Those that it may meet by status, with examples, and that there are others; each leads to its page."""
    for _, path, operation in operations(document):
        answers = operation["responses"]
        assert "application/problem+json" in answers["default"]["content"]
        assert path in PUBLIC or "429" in answers
        for status in answers.keys() - {"200", "202", "204", "304"}:
            assert list(answers[status]["content"]) == ["application/problem+json"]
            assert "Link" in answers[status]["headers"]


def test_every_example_fits(document: Document) -> None:
    """Of parameters, requests and answers: each is as its own schema says."""
    seen = 0
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            for example in parameter["schema"].get("examples", ()):
                assert fits(document, parameter["schema"], example), (path, parameter["name"], example)
        for where, media_type, body in media(operation):
            for name, example in body.get("examples", {}).items():
                assert media_type.endswith("json")
                assert fits(document, body["schema"], example["value"]), (path, where, name)
                seen += 1
    assert seen > 100


def test_every_body_has_an_example(document: Document) -> None:
    """Nobody has to guess what JSON to send, nor what comes back."""
    for _, _, operation in operations(document):
        for where, media_type, body in media(operation):
            expected = media_type == "application/json" and operation["operationId"] not in _WITHOUT_EXAMPLES
            assert body.get("examples") or not expected, (operation["operationId"], where)


def test_a_parameter_is_never_null(document: Document) -> None:
    """There is no way to send null in an address or a header; and only what is in the path must be given."""
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "null" not in str(parameter["schema"])
            assert parameter.get("required", False) == (parameter["in"] == "path")
            assert parameter["description"]


def test_each_route_says_which_scope_it_needs() -> None:
    """With keys, all but the public ones name their scope, and may answer 401 and 403; without, nothing does."""
    locked, unlocked = app(auth="keys").openapi(), app().openapi()
    for method, path, operation in operations(locked):
        needed = None if path in PUBLIC else [{"bearer": [scope_of(method, path).value]}]
        assert operation.get("security") == needed
        assert (path in PUBLIC) == ("401" not in operation["responses"])
    assert locked["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "securitySchemes" not in unlocked["components"]
    assert "security" not in str(unlocked["paths"])


def test_whoever_gives_a_url_is_told_what_comes(document: Document) -> None:
    """Each submission has the callback of Standard Webhooks, with the headers that are sent, and a body that fits."""
    for _, path, operation in operations(document):
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        assert ("callback_url" in names or path == "/jobs:batch") == ("callbacks" in operation)
    callback = find(document, document["paths"]["/jobs/report.generate"]["post"]["callbacks"]["jobEnded"]["$ref"])
    request = find(document, callback["{$request.query.callback_url}"]["$ref"])["post"]
    sent = {parameter["name"] for parameter in request["parameters"] if parameter["required"]}
    assert sent == {ID_HEADER.lower(), TIMESTAMP_HEADER.lower(), SIGNATURE_HEADER.lower()}
    for where, _, body in media(request):
        assert where == "request"
        assert all(fits(document, body["schema"], example["value"]) for example in body["examples"].values())
    assert document["webhooks"]["jobEnded"] == callback["{$request.query.callback_url}"]


class Recipe(BaseModel):
    """A payload with bounds that a float does not hold."""

    grams: int = Field(ge=1, le=2**63 - 1, examples=[500])
    spice: str | None = None
    like: "Recipe | None" = None


class Dish(BaseModel):
    """A result."""

    taste: float


@job("kitchen.cook_meal", other_queues=("slow",))
async def cook(ctx: JobContext, payload: Recipe) -> Dish:
    """Cook."""
    return Dish(taste=1.0)


@job("kitchen_cook.meal")
async def cook_otherwise(ctx: JobContext, payload: dict[str, int]) -> list[int]:
    """Cook otherwise."""
    return []


@job("batch")
async def cook_for_many(ctx: JobContext, payload: list[int]) -> None:
    """Have a kind that is named as a route is."""


def test_a_kind_has_types_of_its_own() -> None:
    """Payload, result and queues of each are in its route, also of kinds whose names would be the same as others."""
    document = app(Registry([cook, cook_otherwise, cook_for_many])).openapi()
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    schemas = document["components"]["schemas"]
    results = {}
    for kind in ("kitchen.cook_meal", "kitchen_cook.meal"):
        post = document["paths"][f"/jobs/{kind}"]["post"]
        name, other = (
            post["responses"][status]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            for status in ("200", "202")
        )
        assert name == other
        assert post["operationId"] == f"submit_{name}"
        results[name] = kind
    assert results == {"KitchenCookMealJob": "kitchen.cook_meal", "KitchenCookMealJob2": "kitchen_cook.meal"}
    assert schemas["KitchenCookMealJob"]["properties"]["result"]["$ref"].endswith("/Dish")
    assert schemas["KitchenCookMealJob2"]["properties"]["result"]["items"] == {"type": "integer"}
    post = document["paths"]["/jobs/kitchen.cook_meal"]["post"]
    parameters = {one["name"]: one["schema"] for one in post["parameters"]}
    assert parameters["queue"]["enum"] == ["default", "slow"]
    assert (parameters["callback_url"]["maxLength"], type(parameters["delay"]["maximum"])) == (URL_CHARS, int)


def test_what_an_author_says_becomes_examples_and_bounds() -> None:
    """Bounds are exact, and a payload whose needed parts have examples has one; the other kind's author gave none."""
    document = app(Registry([cook, cook_otherwise])).openapi()
    grams = document["components"]["schemas"]["Recipe"]["properties"]["grams"]
    assert (grams["minimum"], grams["maximum"]) == (1, 2**63 - 1)
    requests = {
        path: post["post"]["requestBody"]["content"]["application/json"].get("examples")
        for path, post in document["paths"].items()
        if "kitchen" in path
    }
    assert requests["/jobs/kitchen.cook_meal"] == {"payload": {"value": {"grams": 500, "spice": None, "like": None}}}
    assert requests["/jobs/kitchen_cook.meal"] is None


async def test_what_is_answered_is_in_the_document(api: OpenApi, run_worker: RunWorker) -> None:
    """Status, headers and body of real answers are as it says, and no key of a body is missing from it."""
    once = {"idempotency-key": '"k"', "prefer": "wait=5"}
    async with api(http_jobs.JOBS, webhook_secrets=NEW) as client, run_worker(http_jobs.JOBS):
        document = (await client.get("/openapi.json")).json()
        asked = [await client.post("/jobs/test.sum?tag=a&callback_url=https://example.com/", json=[1], headers=once)]
        asked += [await client.post("/jobs/test.sum?tag=a&callback_url=https://example.com/", json=[1], headers=once)]
        asked += [await client.post("/reports", json={"user_id": 0}, headers={"prefer": "wait=5"})]
        job_id, etag = asked[0].json()["id"], asked[0].headers["etag"]
        failed = (await client.post("/jobs/test.leaky?unique_key=u", json={"user_id": 1})).json()["id"]
        await wait_for_state(client, f"/jobs/{failed}", "failed")
        later = await client.post("/jobs/test.nothing?delay=60&deadline=2999-01-01T00:00:00Z", json={})
        batch = await client.post("/jobs:batch", json={"jobs": [{"kind": "no", "payload": 1}, _A_JOB, _A_JOB]})
        asked += [later, batch]
        ids = {"job": job_id, "failed": failed, "later": later.json()["id"], "batch": batch.json()["id"]}
        asked += [await client.get(path.format(**ids)) for path in _READ]
        asked += [await client.get(f"/jobs/{job_id}", headers={"if-none-match": etag})]
        asked += [await client.post(f"/jobs/{failed}:retry", headers={"if-match": etag})]
        asked += [await client.post(f"/jobs/{failed}:retry")]
        asked += [await client.post(f"/jobs/{ids['later']}:cancel", headers={"if-match": "*"})]
        asked += [await client.post("/dead:redrive", json={"dry_run": True})]
        asked += [await client.post("/queues/reports:pause"), await client.post("/queues/reports:resume")]
    assert {answer.status_code for answer in asked} >= {200, 202, 304, 404, 409, 412}
    for answer in asked:
        check(document, answer)


_A_JOB = {"kind": "test.sum", "payload": [1]}
_READ = (
    "/jobs/{job}",
    "/jobs/{failed}",
    "/jobs/{later}",
    "/jobs/{later}/waiting",
    "/jobs/{failed}/attempts",
    "/jobs/{job}/result",
    "/jobs/{failed}/result",
    "/jobs/{job}/deliveries",
    "/jobs/unknown",
    "/jobs?limit=1",
    "/jobs?state=failed",
    "/batches/{batch}",
    "/dead?limit=1",
    "/queues",
    "/workers",
    "/reports/unknown",
    "/livez",
    "/readyz",
)


async def test_the_document_is_served_to_anybody(api: OpenApi) -> None:
    """As JSON, and as a page that shows it."""
    async with api(http_jobs.JOBS, auth="keys") as client:
        assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1.")
        assert "swagger" in (await client.get("/docs")).text
