import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from arqway import DiscardJob, JobContext
from arqway.workers.context import LocalAttempt
from arqway.workers.jobs import JOBS
from arqway.workers.jobs.report.content import REPORT_VERSION
from arqway.workers.jobs.report.database import ORDERS, REPORTS, open_database
from arqway.workers.jobs.report.generate import (
    Report,
    ReportRequest,
    ReportResources,
    generate_report,
    open_report_resources,
)
from arqway.workers.jobs.report.settings import TransientFailure
from tests.support.reports import make_loaded_database, open_resources, sqlite_url
from tests.support.waiting import wait_until

CUSTOMER = ReportRequest(user_id=29)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the whole data set; copy it before writing to it."""
    return make_loaded_database(tmp_path_factory.mktemp("orders") / "loaded.db")


@pytest.fixture
async def resources(loaded: Path, tmp_path: Path) -> AsyncIterator[ReportResources]:
    """Resources with no report made yet."""
    async with open_resources(loaded, tmp_path / "home") as opened:
        yield opened


async def generate(resources: ReportResources, job_id: str = "job-1", request: ReportRequest = CUSTOMER) -> Report:
    """Run the job as its first attempt."""
    return await generate_report(JobContext(resources, job_id=job_id), request)


async def read_file(resources: ReportResources, report: Report) -> bytes:
    """Return the stored PDF of a report."""
    download = await resources.store.open(report.object_name)
    assert download is not None
    return b"".join([chunk async for chunk in download])


async def count_reports(resources: ReportResources) -> int:
    """Return how many rows the catalogue has."""
    async with resources.database.engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(REPORTS))).scalar_one()


async def test_a_report_is_made_stored_and_described(resources: ReportResources) -> None:
    """The result tells where the PDF is and how large; the stored file is just that one."""
    report = await generate(resources)

    pdf = await read_file(resources, report)
    assert pdf.startswith(b"%PDF-")
    assert report == Report(
        user_id=29,
        report_url="/reports/job-1/file",
        object_name=f"29/v{REPORT_VERSION}.pdf",
        version=REPORT_VERSION,
        pages=2,
        bytes=len(pdf),
        sha256=sha256(pdf).hexdigest(),
    )


async def test_progress_counts_the_five_steps(resources: ReportResources) -> None:
    """Each of the five steps is reported once, in order, in words."""
    link = LocalAttempt()

    await generate_report(JobContext(resources, link=link), CUSTOMER)

    assert [(report.current, report.total) for report in link.reports] == [(n, 5) for n in range(1, 6)]
    assert [report.message for report in link.reports][::4] == ["Orders read", "Stored"]


async def test_asking_again_gives_the_report_made_before(resources: ReportResources) -> None:
    """A second job for the same user makes nothing: it answers with the same file, under its own URL."""
    first = await generate(resources, "job-1")
    before = await resources.store.head(first.object_name)

    second = await generate(resources, "job-2")

    assert second == first.model_copy(update={"report_url": "/reports/job-2/file"})
    assert await resources.store.head(first.object_name) == before
    assert await count_reports(resources) == 1


async def test_two_jobs_at_the_same_instant_make_one_report(loaded: Path, tmp_path: Path) -> None:
    """Two workers that make the same report at once end with one row, one file, and the same answer."""
    home = tmp_path / "home"
    async with open_resources(loaded, home) as one, open_resources(loaded, home) as other:
        first, second = await asyncio.gather(generate(one, "job"), generate(other, "job"))

        assert first == second
        assert await count_reports(one) == 1
        assert sha256(await read_file(one, first)).hexdigest() == first.sha256
    assert len(list((home / "reports").rglob("*.*"))) == 1


async def test_a_report_whose_file_was_deleted_is_made_again(resources: ReportResources, tmp_path: Path) -> None:
    """A row alone is no report: when the file is gone the next job restores it."""
    first = await generate(resources)
    (tmp_path / "home" / "reports" / first.object_name).unlink()

    second = await generate(resources)

    assert second == first
    assert sha256(await read_file(resources, second)).hexdigest() == first.sha256


async def test_a_file_without_a_row_is_replaced(resources: ReportResources) -> None:
    """An attempt that died between storing and recording leaves nothing that a retry would trip over."""
    await resources.store.put(f"29/v{REPORT_VERSION}.pdf", b"of an attempt that died")

    report = await generate(resources)

    assert sha256(await read_file(resources, report)).hexdigest() == report.sha256
    assert await count_reports(resources) == 1


@pytest.mark.parametrize("user_id", [0, 23_571, 2**63 - 1])
async def test_an_unknown_customer_is_not_retried(resources: ReportResources, user_id: int) -> None:
    """No orders means no customer, and no attempt will find one; nothing is stored."""
    with pytest.raises(DiscardJob, match=f"There is no customer {user_id}.") as failure:
        await generate(resources, request=ReportRequest(user_id=user_id))

    assert failure.value.code == "unknown_customer"
    assert await count_reports(resources) == 0


async def test_an_injected_failure_leaves_nothing_and_a_later_attempt_succeeds(loaded: Path, tmp_path: Path) -> None:
    """A struck attempt raises before it stores anything, and some attempt within the policy gets through."""
    async with open_resources(loaded, tmp_path / "home", failure_rate=0.6) as resources:
        attempts = range(1, generate_report.retry.max_attempts + 1)
        job_id = next(name for name in map(str, range(99)) if resources.failures.strikes(name, 1))
        lucky = next(attempt for attempt in attempts if not resources.failures.strikes(job_id, attempt))

        with pytest.raises(TransientFailure):
            await generate_report(JobContext(resources, job_id=job_id, attempt=1), CUSTOMER)
        assert await count_reports(resources) == 0
        report = await generate_report(JobContext(resources, job_id=job_id, attempt=lucky), CUSTOMER)

        assert report.pages == 2


async def test_no_step_begins_past_the_soft_time_limit(resources: ReportResources) -> None:
    """When time is nearly up the attempt ends by itself, between two steps, with an error that a retry follows."""
    ctx = JobContext(resources)
    ctx.deadline_near.set()

    with pytest.raises(TimeoutError, match="after step 1 of 5"):
        await generate_report(ctx, CUSTOMER)
    assert await count_reports(resources) == 0


async def test_cancelling_stores_nothing_and_ends_the_process(resources: ReportResources) -> None:
    """A cancelled attempt leaves no row and no file, and its typesetting process does not outlive it."""
    before = resources.press.process_ids
    attempt = asyncio.create_task(generate(resources))
    await wait_until(lambda: resources.press.busy == 1, "charts are being drawn")
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)

    assert attempt.cancelled()
    assert resources.press.process_ids.isdisjoint(before)
    assert await resources.store.head(f"29/v{REPORT_VERSION}.pdf") is None
    assert await count_reports(resources) == 0


def test_a_user_id_is_a_whole_number_within_64_bits() -> None:
    """Text, fractions, negative and too large numbers, and unknown fields are refused before a job is queued."""
    for refused in (
        {"user_id": "1"},
        {"user_id": 1.0},
        {"user_id": -1},
        {"user_id": 2**63},
        {},
        {"user_id": 1, "x": 1},
    ):
        with pytest.raises(ValidationError):
            ReportRequest.model_validate(refused)


def test_the_registry_holds_the_job() -> None:
    """The shipped registry knows the report job and how to open what it needs."""
    assert JOBS["report.generate"] is generate_report
    assert JOBS.open_resources is open_report_resources


async def test_resources_open_from_the_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ARQWAY_HOME set and nothing else, resources open, load the data set, and close."""
    monkeypatch.setenv("ARQWAY_HOME", str(tmp_path / "fresh"))
    async with open_report_resources() as resources:
        assert len(await resources.database.orders_of(14048)) == 217

    async with (
        open_database(sqlite_url(tmp_path / "fresh" / "arqway.db")) as database,
        database.engine.connect() as connection,
    ):
        assert (await connection.execute(select(func.count()).select_from(ORDERS))).scalar_one() == 69_659
