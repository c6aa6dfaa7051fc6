"""``/jobs``: submit, read and cancel jobs of every kind."""

from urllib.parse import quote

import pytest

from arqway.service.settings import ServiceSettings
from tests.conftest import RunWorker
from tests.support.http import OpenApi, api_client, assert_problem, wait_for_state
from tests.support.http_jobs import JOBS, SECRET

JSON = {"content-type": "application/json"}


async def test_a_job_is_accepted_with_its_whole_state(api: OpenApi) -> None:
    """POST /jobs/{kind} answers 202 with the job, where to read it and when."""
    async with api(JOBS) as client:
        response = await client.post("/jobs/test.sum", json=[1, 2])
        read = await client.get(response.headers["location"])

    job = response.json()
    assert (response.status_code, response.headers["retry-after"]) == (202, "1")
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["attempt"], job["max_attempts"]) == ("test.sum", "queued", 0, 3)
    assert read.json() == job


async def test_a_finished_job_shows_its_result(api: OpenApi, run_worker: RunWorker) -> None:
    """A job whose payload is no object runs, and its result, progress and times are read."""
    async with api(JOBS) as client, run_worker(JOBS):
        location = (await client.post("/jobs/test.sum", json=[1, 2])).headers["location"]
        job = await wait_for_state(client, location, "succeeded")
        response = await client.get(location)

    assert (job["result"], job["attempt"]) == (3, 1)
    assert job["progress"] == {"current": 2, "total": None, "message": "Read"}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert "failure" not in job
    assert "retry-after" not in response.headers


async def test_a_failed_job_is_read_like_any_other(api: OpenApi, run_worker: RunWorker) -> None:
    """Reading a failed job is a 200 with a code and a message, and the exception's text is nowhere in it."""
    async with api(JOBS) as client, run_worker(JOBS):
        location = (await client.post("/jobs/test.leaky", json={"user_id": 5})).headers["location"]
        await wait_for_state(client, location, "failed")
        response = await client.get(location)

    assert response.status_code == 200
    assert set(response.json()["failure"]) == {"code", "message", "fingerprint"}
    assert SECRET not in response.text
    assert "ValueError" not in response.text


async def test_a_waiting_job_is_cancelled_at_once(api: OpenApi) -> None:
    """Cancelling a queued job answers 200 with the cancelled job; doing so again is a conflict."""
    async with api(JOBS) as client:
        location = (await client.post("/jobs/test.nothing", json={})).headers["location"]
        cancelled = await client.post(f"{location}:cancel")
        again = await client.post(f"{location}:cancel")

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert_problem(again, 409, "job_finished")


async def test_an_unknown_kind_is_refused_without_naming_the_known(api: OpenApi) -> None:
    """404 for a kind that nobody registered, and the answer names no kind."""
    async with api(JOBS) as client:
        response = await client.post("/jobs/report.burn", json={})

    assert_problem(response, 404, "unknown_kind")
    assert not [kind for kind in JOBS if kind in response.text]


@pytest.mark.parametrize(
    "job_id",
    ["nobody", "a:events", "a:cancel", "../x", "x" * 200, "a\0b", "größe", "*", "arq:job:1", "a b", "..", "%2e", "\n"],
)
async def test_an_id_that_names_no_job_is_not_found(api: OpenApi, job_id: str) -> None:
    """However odd the id, reading and cancelling it is a 404 and nothing else."""
    async with api(JOBS) as client:
        path = f"/jobs/{quote(job_id, safe='')}"
        for response in (await client.get(path), await client.post(f"{path}:cancel")):
            assert response.json()["code"] in ("job_not_found", "not_found")
            assert response.status_code == 404


@pytest.mark.parametrize("body", ["", "{", "user_id=1", "{'user_id': 1}", "\xff", '{"user_id": 1}{}'])
async def test_a_body_that_is_not_json_is_told_so(api: OpenApi, body: str) -> None:
    """400, not 422: there is no field to name."""
    async with api(JOBS) as client:
        response = await client.post("/jobs/test.leaky", content=body.encode("latin-1"), headers=JSON)

    assert_problem(response, 400, "not_json")


@pytest.mark.parametrize("body", ["1", '"x"', "null", "{}", '[1, "x"]', "[[]]"])
async def test_a_payload_that_is_no_object_is_validated_too(api: OpenApi, body: str) -> None:
    """A kind whose payload is a list of numbers takes nothing else."""
    async with api(JOBS) as client:
        assert_problem(await client.post("/jobs/test.sum", content=body, headers=JSON), 422, "invalid_payload")


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_a_body_that_is_not_declared_as_json_is_refused(api: OpenApi, media_type: str | None) -> None:
    """415 says what to send: what a web page may make any browser post is never taken for a job."""
    async with api(JOBS) as client:
        headers = {"content-type": media_type} if media_type else {}
        response = await client.post("/jobs/test.nothing", content="{}", headers=headers)

    assert_problem(response, 415, "unsupported_media_type")
    assert response.headers["accept"] == "application/json"


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "application/x.a+json"])
async def test_any_spelling_of_json_is_accepted(api: OpenApi, media_type: str) -> None:
    """Case, parameters and a structured suffix do not matter."""
    async with api(JOBS) as client:
        response = await client.post("/jobs/test.nothing", content="{}", headers={"content-type": media_type})

    assert response.status_code == 202


async def test_openapi_has_each_kinds_payload(nowhere: ServiceSettings) -> None:
    """Every kind has an operation of its own, with the schema of its payload and its author's summary."""
    async with api_client(nowhere, JOBS) as client:
        document = (await client.get("/openapi.json")).json()

    bodies = {kind: document["paths"][f"/jobs/{kind}"]["post"]["requestBody"] for kind in JOBS}
    schemas = {kind: body["content"]["application/json"]["schema"] for kind, body in bodies.items()}
    assert all(body["required"] for body in bodies.values())
    assert schemas["report.generate"] == {"$ref": "#/components/schemas/Customer"}
    assert (schemas["test.sum"]["type"], schemas["test.sum"]["items"]) == ("array", {"type": "integer"})
    assert document["paths"]["/jobs/test.sum"]["post"]["summary"] == "Add numbers up. Its payload is no object."
    assert "user_id" in document["components"]["schemas"]["Customer"]["properties"]


async def test_openapi_is_sound(nowhere: ServiceSettings) -> None:
    """Operation ids are unique, every reference leads somewhere, and every operation documents its problems."""
    async with api_client(nowhere, JOBS) as client:
        response = await client.get("/openapi.json")
        docs = await client.get("/docs")

    document = response.json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    refs = {part.split('"')[0] for part in response.text.split('"#/components/schemas/')[1:]}
    assert len(set(ids)) == len(ids)
    assert refs <= set(document["components"]["schemas"])
    assert all("default" in operation["responses"] for operation in operations)
    assert "HTTPValidationError" not in response.text
    assert docs.status_code == 200
