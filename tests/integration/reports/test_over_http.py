"""``/reports``: the contract of the tutorial, sentence by sentence."""

from pathlib import Path

import pytest

from arqway import Registry
from arqway.service.settings import ServiceSettings
from arqway.workers.settings import Settings
from tests.conftest import OpenQueue, RunWorker
from tests.support.http import (
    BASE_URL,
    OpenApi,
    api_client,
    assert_problem,
    served_client,
    service_settings,
    wait_for_state,
)
from tests.support.http_jobs import JOBS, SECRET, do_nothing

PDF = b"%PDF-1.7 a report"
JSON = {"content-type": "application/json"}


def store_pdf(settings: Settings, name: str) -> None:
    """Put a file where the report store of ``settings`` looks."""
    path = settings.home / "reports" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PDF)


async def test_a_report_is_accepted_at_once(api: OpenApi) -> None:
    """POST /reports answers 202 with the task's id, and nothing but it, while no worker runs."""
    async with api(JOBS) as client:
        response = await client.post("/reports", json={"user_id": 123})

    task_id = response.json()["task_id"]
    assert (response.status_code, response.json()) == (202, {"task_id": task_id})
    assert response.headers["location"] == f"/reports/{task_id}"
    assert response.headers["retry-after"] == "1"


async def test_an_accepted_report_is_pending(api: OpenApi) -> None:
    """The Location leads to the report's state, which says when to ask again."""
    async with api(JOBS) as client:
        accepted = await client.post("/reports", json={"user_id": 123})
        response = await client.get(accepted.headers["location"])

    assert response.json() == {"task_id": accepted.json()["task_id"], "state": "PENDING"}
    assert (response.status_code, response.headers["retry-after"]) == (200, "1")


async def test_a_finished_report_has_an_absolute_url(api: OpenApi, run_worker: RunWorker) -> None:
    """SUCCESS comes with the user and the URL of the PDF as this client reaches it, and nothing else."""
    async with api(JOBS) as client, run_worker(JOBS):
        task_id = (await client.post("/reports", json={"user_id": 123})).json()["task_id"]
        answer = await wait_for_state(client, f"/reports/{task_id}", "SUCCESS")
        response = await client.get(f"/reports/{task_id}")

    result = {"user_id": 123, "report_url": f"{BASE_URL}/reports/{task_id}/file"}
    assert answer == {"task_id": task_id, "state": "SUCCESS", "result": result}
    assert "retry-after" not in response.headers


@pytest.mark.parametrize(("user_id", "message"), [(0, "There is no customer 0."), (1, None)])
async def test_a_failed_report_says_why_safely(
    api: OpenApi, run_worker: RunWorker, user_id: int, message: str | None
) -> None:
    """FAILURE comes with the author's message or a general one, never with an exception's text."""
    async with api(JOBS) as client, run_worker(JOBS):
        task_id = (await client.post("/reports", json={"user_id": user_id})).json()["task_id"]
        answer = await wait_for_state(client, f"/reports/{task_id}", "FAILURE")

    assert set(answer) == {"task_id", "state", "error"}
    assert answer["error"]
    assert message in (None, answer["error"])
    assert SECRET not in answer["error"]


async def test_a_cancelled_report_is_revoked(api: OpenApi) -> None:
    """A report whose job was cancelled reads REVOKED."""
    async with api(JOBS) as client:
        task_id = (await client.post("/reports", json={"user_id": 123})).json()["task_id"]
        await client.post(f"/jobs/{task_id}:cancel")
        answer = (await client.get(f"/reports/{task_id}")).json()

    assert answer == {"task_id": task_id, "state": "REVOKED"}


async def test_a_job_of_another_kind_is_no_report(api: OpenApi, open_jobs: OpenQueue) -> None:
    """The id of a job that makes no report is as unknown here as any other."""
    async with api(JOBS) as client, open_jobs(JOBS) as jobs:
        other = await jobs.submit(do_nothing, {})
        for path in (f"/reports/{other.id}", f"/reports/{other.id}/file", "/reports/nobody"):
            assert_problem(await client.get(path), 404, "job_not_found")


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"user_id": -1}',
        '{"user_id": "123"}',
        '{"user_id": 9223372036854775808}',
        '{"user_id": 1.5}',
        '{"user_id": true}',
        '{"user_id": null}',
        '{"user_id": [1]}',
    ],
)
async def test_a_wrong_user_id_is_refused_by_name(api: OpenApi, body: str) -> None:
    """422 names the field, and repeats nothing of what was sent."""
    async with api(JOBS) as client:
        response = await client.post("/reports", content=body, headers=JSON)

    problem = assert_problem(response, 422, "invalid_payload")
    assert [error["loc"] for error in problem["errors"]] == [["body", "user_id"]]
    assert all(set(error) == {"loc", "type", "msg"} for error in problem["errors"])


async def test_an_unknown_field_is_refused_by_name(api: OpenApi) -> None:
    """422 names a field that the job's model forbids."""
    async with api(JOBS) as client:
        response = await client.post("/reports", json={"user_id": 1, "colour": "mauve"})

    problem = assert_problem(response, 422, "invalid_payload")
    assert [error["loc"] for error in problem["errors"]] == [["body", "colour"]]
    assert "mauve" not in response.text


@pytest.mark.parametrize("user_id", [0, 2**63 - 1])
async def test_the_outermost_user_ids_are_accepted(api: OpenApi, user_id: int) -> None:
    """0 and 2^63 - 1 are valid ids."""
    async with api(JOBS) as client:
        assert (await client.post("/reports", json={"user_id": user_id})).status_code == 202


async def test_a_finished_report_can_be_downloaded(api: OpenApi, run_worker: RunWorker, settings: Settings) -> None:
    """The file comes as a PDF with a name, its length and an entity tag, and GET and HEAD agree."""
    store_pdf(settings, "123/v1.pdf")
    async with api(JOBS) as client, run_worker(JOBS):
        task_id = (await client.post("/reports", json={"user_id": 123})).json()["task_id"]
        url = (await wait_for_state(client, f"/reports/{task_id}", "SUCCESS"))["result"]["report_url"]
        got, head = await client.get(url), await client.head(url)
        again = await client.get(url, headers={"if-none-match": got.headers["etag"]})

    assert (got.status_code, got.content) == (200, PDF)
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["content-length"] == str(len(PDF))
    assert got.headers["content-disposition"] == 'attachment; filename="report-123.pdf"'
    assert (head.status_code, head.content) == (200, b"")
    names = ("content-type", "content-length", "content-disposition", "etag", "cache-control")
    assert [head.headers[name] for name in names] == [got.headers[name] for name in names]
    assert (again.status_code, again.content) == (304, b"")


async def test_a_download_works_over_a_real_connection(settings: Settings, run_worker: RunWorker) -> None:
    """A server sends GET and HEAD of the file, and serves further requests on the same connection."""
    store_pdf(settings, "123/v1.pdf")
    async with served_client(service_settings(settings), JOBS) as client, run_worker(JOBS):
        task_id = (await client.post("/reports", json={"user_id": 123})).json()["task_id"]
        url = (await wait_for_state(client, f"/reports/{task_id}", "SUCCESS"))["result"]["report_url"]
        contents = [(await client.request(method, url)).content for method in ("HEAD", "GET", "HEAD")]

    assert contents == [b"", PDF, b""]
    assert url.startswith("http://127.0.0.1:")


async def test_an_unfinished_report_has_no_file_yet(api: OpenApi) -> None:
    """Before the end the file is a 409 that says when to try again."""
    async with api(JOBS) as client:
        task_id = (await client.post("/reports", json={"user_id": 123})).json()["task_id"]
        response = await client.get(f"/reports/{task_id}/file")

    assert_problem(response, 409, "report_not_ready")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(("user_id", "state"), [(0, "FAILURE"), (123, "SUCCESS")])
async def test_a_report_without_a_file_is_not_found(
    api: OpenApi, run_worker: RunWorker, user_id: int, state: str
) -> None:
    """A failed report never has a file, and a deleted file is gone: both are a 404 that polling need not repeat."""
    async with api(JOBS) as client, run_worker(JOBS):
        task_id = (await client.post("/reports", json={"user_id": user_id})).json()["task_id"]
        await wait_for_state(client, f"/reports/{task_id}", state)
        assert_problem(await client.get(f"/reports/{task_id}/file"), 404, "report_unavailable")
        assert (await client.head(f"/reports/{task_id}/file")).status_code == 404


async def test_a_report_store_that_cannot_be_used_is_a_503(
    settings: Settings, run_worker: RunWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that leads nowhere is told as "later", without its address."""
    monkeypatch.setenv("ARQWAY_REPORT_STORE_URL", "nonsense://secret-bucket")
    async with api_client(service_settings(settings), JOBS) as client, run_worker(JOBS):
        task_id = (await client.post("/reports", json={"user_id": 123})).json()["task_id"]
        await wait_for_state(client, f"/reports/{task_id}", "SUCCESS")
        response = await client.get(f"/reports/{task_id}/file")

    assert_problem(response, 503, "report_store_unavailable")
    assert "retry-after" in response.headers
    assert "secret-bucket" not in response.text


async def test_there_are_no_reports_without_their_job(nowhere: ServiceSettings) -> None:
    """A registry without report.generate has no /reports."""
    async with api_client(nowhere, Registry([do_nothing])) as client:
        assert_problem(await client.post("/reports", json={"user_id": 1}), 404, "not_found")
        paths = (await client.get("/openapi.json")).json()["paths"]

    assert not [path for path in paths if path.startswith("/reports")]
