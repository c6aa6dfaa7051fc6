"""The client commands on a real service and worker: what they print, and their exit codes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.responses import PlainTextResponse

from arqway.service.cli import main
from arqway.service.client import ArqwayClient, Job, RawJson, Unavailable
from arqway.service.settings import ServiceSettings
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.http import served, service_settings
from tests.support.http_client import OpenClient, behind_proxy, http_url
from tests.support.http_jobs import JOBS
from tests.support.processes import arqway
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

SUBMIT_FAILING = ("submit", "report.generate", '{"user_id": 0}')
Captured = pytest.CaptureFixture[str]
FAILING = ("report.generate", RawJson(b'{"user_id": 0}'))


class Ended(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Coroutine[None, None, Ended]]


@pytest.fixture
async def api(open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArqwayClient]:
    """The service that the commands find by ARQWAY_URL."""
    async with open_client(JOBS) as api:
        monkeypatch.setenv("ARQWAY_URL", api.base_url)
        yield api


@pytest.fixture
def run(api: ArqwayClient, capsys: Captured) -> Run:
    """Awaited with its arguments, runs a command beside the service."""

    async def run(*arguments: str) -> Ended:
        code = await asyncio.to_thread(main, arguments)
        return Ended(code, *capsys.readouterr())

    return run


async def test_every_option_of_a_submission_arrives(run: Run, api: ArqwayClient) -> None:
    """The id is printed alone, and the job has what was asked for."""
    options = [
        "--tag",
        "a",
        "--tag",
        "b",
        "--unique-key",
        "u",
        "--queue",
        "default",
        "--deadline",
        "2100-01-02T00:00:00Z",
    ]
    later = await run("submit", "test.sum", "[1]", "--run-at", "2100-01-01T12:00:00+01:00", *options)
    soon = await run("submit", "test.sum", "[1]", "--delay", "15m")
    job, delayed = await api.get(later.out.strip()), await api.get(soon.out.strip())

    assert (later.code, later.err, later.out) == (0, "", f"{job.id}\n")
    assert (job.tags, job.unique_key, job.due_at.isoformat()) == (("a", "b"), "u", "2100-01-01T11:00:00+00:00")
    assert job.deadline_at is not None
    assert (delayed.due_at - delayed.created_at).total_seconds() == 900


async def test_a_call_that_is_repeated_makes_one_job(run: Run) -> None:
    """With the same key it prints the same id."""
    first = await run("submit", "test.sum", "[1]", "--idempotency-key", "k")
    again = await run("submit", "test.sum", "[1]", "--idempotency-key", "k")
    other = await run("submit", "test.sum", "[2]", "--idempotency-key", "k")
    assert first == again
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert "idempotency key" in other.err


async def test_the_payload_is_sent_as_it_was_written(run: Run) -> None:
    """What the service finds ambiguous is refused by it, and not mended on the way."""
    refused = await run("submit", "test.anything", '{"a": 1, "a": 2}')
    assert (refused.code, refused.out) == (2, "")


async def test_a_submission_may_wait(run: Run, run_worker: RunWorker) -> None:
    """Id and result, or the id and why there is none; 0 only with a result."""
    late = await run("submit", "test.sum", "[1]", "--wait", "0.2s")
    async with run_worker(JOBS):
        good = await run("submit", "test.sum", "[1, 2]", "--wait", "10")
        bad = await run(*SUBMIT_FAILING, "--wait", "10")
    assert (good.code, good.out.splitlines()[1:], good.err) == (0, ["3"], "")
    assert (bad.code, len(bad.out.splitlines())) == (1, 1)
    assert bad.err == "arqway: the job is failed: There is no customer 0. (unknown_customer)\n"
    assert (late.code, late.err) == (1, "arqway: the job is queued\n")


async def test_an_ended_job_is_watched_by_its_end_alone(run: Run, run_worker: RunWorker) -> None:
    """One line for how it ended, one for the result."""
    async with run_worker(JOBS):
        accepted = await run("submit", "test.sum", "[1, 2]", "--wait", "10")
        seen = await run("watch", accepted.out.split()[0])
    assert (seen.code, seen.out) == (0, "succeeded  2  Read\n3\n")


async def test_a_job_is_watched_from_its_beginning(api: ArqwayClient, run_worker: RunWorker, tmp_path: Path) -> None:
    """A line for each change, from the submission on."""
    accepted = await api.submit(*FAILING)
    with arqway(tmp_path, "watch", accepted.id) as watch:
        await watch.says("queued")
        async with run_worker(JOBS):
            assert await watch.ends() == 1
        lines = watch.output.splitlines()
    assert lines[0] == "queued"
    assert lines[-1] == "failed     5/5  There is no customer 0. (unknown_customer)"
    assert len(set(lines)) == len(lines) > 1


async def test_where_streams_are_refused_a_job_is_watched_all_the_same(
    open_client: OpenClient, run_worker: RunWorker, tmp_path: Path
) -> None:
    """By long polls; nobody is told of the difference."""
    async with open_client(JOBS, max_streams=1) as api:
        holding = asyncio.create_task(hold_stream(api))
        accepted = await api.submit("test.sum", [1])
        await wait_until(lambda: streams_are_full(api.base_url, accepted), "the only stream is taken")
        with arqway(tmp_path, "watch", accepted.id, "--url", api.base_url) as watch:
            await watch.says("queued")
            async with run_worker(JOBS):
                assert await watch.ends() == 0
            assert watch.output.endswith("succeeded  1  Read\n1\n")
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


async def hold_stream(api: ArqwayClient) -> None:
    """Keep a stream open."""
    async for _ in api.stream_all():
        pass


async def streams_are_full(url: str, job: Job[Any]) -> bool:
    """Tell whether another stream is refused."""
    async with ArqwayClient(url, retries=0) as other:
        try:
            async with aclosing(other.stream(job)) as events:
                await anext(events)
        except Unavailable:
            return True
        return False


async def test_an_ended_job_is_submitted_again(run: Run, api: ArqwayClient, run_worker: RunWorker) -> None:
    """The new id is printed alone; one that still waits cannot be, and says so."""
    waiting = await run("submit", "test.sum", "[1]")
    refused = await run("retry", waiting.out.strip())
    async with run_worker(JOBS):
        failed = await run(*SUBMIT_FAILING, "--wait", "10")
        again = await run("retry", failed.out.strip(), "--payload", '{"user_id": 7}')
        ended = await api.wait(again.out.strip(), timeout_s=10)
    assert (refused.code, refused.err) == (2, f"arqway: Job {waiting.out.strip()} has not finished yet.\n")
    assert (again.code, ended.retry_of) == (0, failed.out.strip())
    assert ended.result == {"user_id": 7, "report_url": f"/reports/{ended.id}/file", "object_name": "7/v1.pdf"}


async def test_jobs_are_listed(run: Run, run_worker: RunWorker) -> None:
    """The latest first, as many as wanted, only those that the filter means; what failed says of what."""
    first = (await run("submit", "test.sum", "[1]", "--tag", "a", "--delay", "1h")).out.strip()
    async with run_worker(JOBS):
        second = (await run(*SUBMIT_FAILING, "--wait", "10")).out.strip()
    everything, one, tagged = await run("list"), await run("list", "--limit", "1"), await run("list", "--tag", "a")
    failed, none = await run("list", "--state", "failed"), await run("list", "--kind", "a.b")

    heading, *rows = everything.out.splitlines()
    assert heading.split() == ["ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "CREATED", "FAILURE"]
    assert [row.split()[0] for row in rows] == [second, first]
    assert rows[0].split()[1:5] == ["report.generate", "default", "failed", "1/1"]
    assert rows[0].split()[-1] == "unknown_customer"
    assert one.out.split()[7] == failed.out.split()[7] == second
    assert tagged.out.split()[7] == first
    assert len(none.out.splitlines()) == 1


async def test_a_queue_is_paused_and_resumed(run: Run) -> None:
    """The list of queues shows it; doing it twice is no error."""
    await run("submit", "test.sum", "[1]")
    told = [(await run(*arguments)).out for arguments in (("pause", "default"),) * 2 + (("resume", "default"),) * 2]
    await run("pause", "default")
    heading, *rows = (await run("queues")).out.splitlines()
    (row,) = [row for row in rows if row.startswith("default ")]
    assert told == ["paused\n", "already paused\n", "resumed\n", "was not paused\n"]
    assert heading.split()[:5] == ["QUEUE", "DUE", "OLDEST", "LATER", "RUNNING"]
    assert row.split()[:2] == ["default", "1"]
    assert row.endswith("Z")


async def test_dead_letters_are_grouped_and_redriven(run: Run, run_worker: RunWorker) -> None:
    """A line for each cause; a dry run only counts; a redrive tells how many there were."""
    async with run_worker(JOBS):
        for _ in range(3):
            await run(*SUBMIT_FAILING, "--wait", "10")
    heading, row = (await run("dead")).out.splitlines()
    fingerprint = row.split()[0]
    redrive = ["dead", "--redrive", "--fingerprint", fingerprint]
    counted, some = await run(*redrive, "--dry-run"), await run(*redrive, "--limit", "2", "--rate", "5")
    rest, none = await run("dead", "--redrive", "--kind", "report.generate"), await run("dead", "--redrive")

    assert heading.split()[:4] == ["FINGERPRINT", "JOBS", "KIND", "CODE"]
    assert row.split()[1:4] == ["3", "report.generate", "unknown_customer"]
    assert counted.out == "3 would be submitted again\n"
    assert some.out == "2 submitted again; more match\n"
    assert (rest.out, none.out) == ("1 submitted again\n", "0 submitted again\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["submit", "a.b", "{}", "--delay", "soon"], "not a duration like 90s"),
        (["submit", "a.b", "{}", "--delay", "-1"], "not a duration like 90s"),
        (["submit", "a.b", "{}", "--wait", "1e3"], "not a duration like 90s"),
        (["submit", "a.b", "{}", "--run-at", "tomorrow"], "not a time with a time zone"),
        (["submit", "a.b", "{}", "--deadline", "2100-01-01T00:00:00"], "not a time with a time zone"),
        (["submit", "a.b", "{}", "--idempotency-key", ""], "1 to 255 visible characters"),
        (["submit", "test.sum", "[1]", "--queue", "other"], "Jobs of the kind test.sum go to: default."),
        (["submit", "test.sum", "[1]", "--delay", "1", "--run-at", "2100-01-01T00:00:00Z"], "exclude each other"),
        (["retry", "id", "--payload", "{"], "not JSON"),
        (["list", "--state", "done"], "invalid choice: 'done'"),
        (["list", "--limit", "0"], "not a number from 1 to 10000"),
        (["pause", "No Name"], "name: "),
        (["dead", "--fingerprint", "f"], "--fingerprint needs --redrive"),
        (["dead", "--dry-run"], "--dry-run needs --redrive"),
        (["dead", "--redrive", "--rate", "0"], "rate: "),
        (["dead", "--redrive", "--rate", "fast"], "invalid float value"),
    ],
)
async def test_what_cannot_be_is_told_in_one_line(run: Run, arguments: list[str], reason: str) -> None:
    """Exit code 2, and nothing on stdout."""
    ended = await run(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert reason in ended.err


async def test_the_status_is_all_that_the_service_says(run: Run) -> None:
    """As JSON for people: also what this client does not know by name."""
    accepted = await run("submit", "test.sum", "[1]")
    told = await run("status", accepted.out.strip())
    assert json.loads(told.out)["kind"] == "test.sum"
    assert told.out.startswith('{\n  "id"')


@pytest.mark.parametrize("command", [("status", "x"), ("list",), ("submit", "a.b", "{}"), ("queues",), ("watch", "x")])
async def test_what_is_not_arqway_is_told_in_one_line(
    nowhere: ServiceSettings, capsys: Captured, command: tuple[str, ...]
) -> None:
    """Some other program answers there, and well: that did not work out, exit code 1."""
    async with served(PlainTextResponse("<html>Welcome!</html>"), nowhere) as other:
        code = await asyncio.to_thread(main, [*command, "--url", other.url])
    told = capsys.readouterr()
    assert (code, told.out) == (1, "")
    assert told.err == "arqway: The response is not from Arqway.\n"


async def test_a_lost_answer_is_told_as_such(settings: Settings, capsys: Captured) -> None:
    """The service broke off again and again: a submission may have been accepted, a question has no effect."""
    async with behind_proxy(service_settings(settings), JOBS) as between:
        url = http_url(between)
        cutting = asyncio.create_task(cut_all_replies(between))
        submitted = await asyncio.to_thread(main, ["submit", "test.sum", "[1]", "--url", url])
        asked = await asyncio.to_thread(main, ["status", "x", "--url", url])
        cutting.cancel()
    first, second = capsys.readouterr().err.splitlines()
    assert (submitted, asked) == (1, 1)
    assert first.startswith(f"arqway: The service at {url} broke off: ")
    assert first.endswith("; it is not known whether the request was accepted")
    assert "not known" not in second


async def cut_all_replies(between: Proxy) -> None:
    """Break every connection in the middle of its reply."""
    while True:  # a connection lives for a moment only
        between.cut_mid_reply()
        await asyncio.sleep(0)
