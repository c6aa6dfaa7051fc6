"""The documentation is true: what it shows is run, and what it lists is compared with the code."""

import asyncio
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name
from signal import SIGINT
from typing import Any, get_type_hints

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from redis import Redis

from service.app import create_app
from service.errors import PROBLEMS, TYPE_PREFIX, UNEXPECTED
from service.schemas import JobView, report_view
from service.settings import ServiceSettings
from tests.conftest import OpenQueue, RunWorker
from tests.support import docs
from tests.support.http import OpenApi
from tests.support.jobs import Empty, Number, double
from tests.support.processes import Command, arqway
from tests.support.waiting import wait_for, wait_until
from workers import JobContext, JobRecord, JobState, Registry, job
from workers.contract import envelope, keys
from workers.contract.record import RECORD_FIELDS, Progress
from workers.contract.states import TERMINAL_STATES, TRANSITIONS
from workers.jobs import JOBS
from workers.jobs.report.settings import ReportSettings
from workers.settings import Settings

PYTHON_PAGES = [page for page in docs.PAGES if docs.blocks(page, "python")]
TUTORIAL = "docs/writing-a-job.md"
OTHER_VARIABLES = {"ARQWAY_URL", "ARQWAY_TEST_REDIS_URL", "ARQWAY_REQUIRE"}


# What the pages refer to


@pytest.mark.parametrize("page", docs.PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """A relative link names a file or folder that is there, and a heading in it."""
    for link in docs.links(page):
        path, _, anchor = link.partition("#")
        if not link.startswith("https://"):
            target = (docs.ROOT / page).parent / path if path else docs.ROOT / page
            assert target.exists(), link
            assert not anchor or anchor in docs.anchors(target.resolve().relative_to(docs.ROOT).as_posix()), link


@pytest.mark.parametrize("page", docs.PAGES)
def test_what_is_named_exists(page: str) -> None:
    """Files, modules, make targets and variables that a page names are there."""
    targets = set(re.findall(r"^([a-z]+):", docs.text_of("Makefile"), re.MULTILINE))
    known = OTHER_VARIABLES | {name for settings in (ServiceSettings, ReportSettings) for name in defaults(settings)}
    for span in docs.spans(page):
        assert set(re.findall(r"\bmake ([a-z]+)", span)) <= targets, span
        assert set(re.findall(r"\b(?:ARQWAY_[A-Z_]*[A-Z]|REDIS_URL)\b", span)) <= known, span
        if re.fullmatch(r"(service|workers|tests|docs|\.ci)/[\w./*-]*", span):
            assert list(docs.ROOT.glob(span)), span
        if re.fullmatch(r"workers(\.\w+)+", span):
            resolve_name(span)


def test_every_command_and_option_of_arqway_exists() -> None:
    """What the pages call ``arqway …`` is a command, and its options are in that command's help."""
    calls = {call for page in docs.PAGES for span in docs.spans(page) for call in re.findall(r"\barqway ([a-z].*)", span)}
    assert len({call.split()[0] for call in calls}) == 9
    for call in calls:
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", call.split()[0], "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, call
        assert all(option in done.stdout for option in re.findall(r"--[a-z]+", call)), call


def test_the_readme_lists_every_command() -> None:
    """The table of commands has each make target, and each command that ``arqway --help`` lists."""
    listed = " ".join(docs.first_names(docs.rows("README.md", "Commands")))
    done = subprocess.run([sys.executable, "-m", "service.cli", "--help"], capture_output=True, text=True, check=True)
    targets = re.findall(r"^([a-z]+):.*## ", docs.text_of("Makefile"), re.MULTILINE)
    assert set(re.findall(r"make (\w+)", listed)) == set(targets) - {"help"}
    assert set(re.findall(r"arqway (\w+)", listed)) == set(re.findall(r"^    ([a-z]+)  ", done.stdout, re.MULTILINE))


def test_decisions_are_short_and_complete() -> None:
    """Each is numbered without a gap, has its three parts, and fits a page; what the code cites is there."""
    decisions = [page for page in docs.PAGES if page.startswith("docs/decisions/")]
    for number, page in enumerate(decisions, start=1):
        assert page.startswith(f"docs/decisions/{number:04}-")
        assert re.findall(r"^## (.+)", docs.text_of(page), re.MULTILINE) == ["Context", "Decision", "Price"]
        assert len(docs.text_of(page).splitlines()) <= 40
    code = [path for folder in ("service", "workers") for path in (docs.ROOT / folder).rglob("*.[pl]*[ya]")]
    cited = [re.findall(r"docs/decisions/[\w.-]+", path.read_text()) for path in [*code, docs.ROOT / "pyproject.toml"]]
    assert {page for found in cited for page in found} <= set(decisions)


def test_every_dependency_has_its_reason() -> None:
    """The page on dependencies lists what ``pyproject.toml`` requires, and nothing else."""
    project = docs.project()["project"]
    required = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    listed = docs.first_names(docs.rows("docs/decisions/0007-dependencies.md", "Decision"))
    extras = {"embedded", "report", "dev"}
    assert {re.split(r"[^\w-]", name)[0] for name in listed} - extras == {re.split(r"[^\w-]", r)[0] for r in required}


# What the pages list


def test_the_state_diagram_is_the_table_of_moves() -> None:
    """Each arrow is a legal move and each legal move an arrow; final states end, the two first states begin."""
    drawn = set(docs.edges(docs.blocks("docs/architecture.md", "mermaid")[0]))
    moves = {(before.value, after.value) for before, states in TRANSITIONS.items() for after in states}
    ends = {(state.value, "[*]") for state in TERMINAL_STATES}
    assert drawn == moves | ends | {("[*]", "scheduled"), ("[*]", "queued")}


def test_the_layers_are_those_that_are_checked() -> None:
    """The layers of ``workers`` on the page are the import rule's."""
    contracts = docs.project()["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract.get("containers") == ["workers"])
    assert docs.blocks("docs/architecture.md", "text")[0].splitlines() == layers


def test_every_key_is_documented() -> None:
    """The table of keys has each prefix and name of ``contract/keys.py``, and arq's health record besides."""
    prefixes = {value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)}
    listed = {name.partition("{")[0] for name in docs.first_names(docs.rows("docs/contract.md", "Keys"))}
    assert listed == prefixes - {keys.DEFAULT_QUEUE} | {"arq:queue:", "arq:queue:health-check"}


async def test_keys_have_their_documented_types(run_worker: RunWorker, open_jobs: OpenQueue, redis_url: str) -> None:
    """Each key that a job leaves in a real server is in the table, with its type."""
    rows = docs.rows("docs/contract.md", "Keys")
    types = {name.partition("{")[0]: row[1] for row in rows for name in docs.names(row[0])}
    seen: dict[str, str] = {}
    go_on = asyncio.Event()

    async def one() -> int:
        return 1

    @job("test.documented")
    async def documented(ctx: JobContext, payload: Empty) -> None:
        await ctx.step("one", one)
        await ctx.progress(1)
        await go_on.wait()

    def look() -> None:
        with Redis.from_url(redis_url, decode_responses=True) as client:
            seen.update({str(key): str(client.type(key)) for key in client.scan_iter()})

    registry = Registry([documented])
    async with open_jobs(registry) as jobs:
        accepted = await jobs.submit(documented, Empty())
        look()
        async with run_worker(registry):
            await wait_for(jobs, accepted.id, lambda record: record.progress is not None, "reports progress")
            look()
            go_on.set()
            await jobs.wait(accepted.id, timeout_s=5)
            look()
    matched = {max((p for p in types if key.startswith(p)), key=len): kind for key, kind in seen.items()}
    assert matched == {prefix: types[prefix] for prefix in matched}
    assert set(types) - set(matched) == {"arq:queue:", "arq:abort", "job-cancel"}


def test_every_field_of_the_record_is_documented() -> None:
    """The table of fields is the record's, with the two that no reader asks for."""
    own = section_before("docs/contract.md", "Record", "###")
    assert sorted(own) == sorted([*RECORD_FIELDS, "token", "envelope"])


def test_every_failure_code_is_documented() -> None:
    """The table of failure codes has those that the worker gives by itself."""
    code = "".join(path.read_text() for path in (docs.ROOT / "workers").glob("*.py"))
    given = set(re.findall(r"(?:Failure|_refused)\(\s*\"([a-z_]+)\"", code))
    assert given == set(docs.first_names(docs.rows("docs/contract.md", "Failure codes")))


def test_every_problem_is_documented() -> None:
    """The table of problems has each status, code and type, and nothing else."""
    listed = [(row[0], *docs.names(row[1]), *docs.names(row[2])) for row in docs.rows("docs/contract.md", "Problems")]
    kinds = [*PROBLEMS.values(), UNEXPECTED]
    assert sorted(listed) == sorted((str(kind.status), kind.code, TYPE_PREFIX + kind.slug) for kind in kinds)


def test_every_route_is_documented(nowhere: ServiceSettings) -> None:
    """The tables of requests have the routes of the service, but for those that document themselves."""
    listed = {name for title in ("HTTP: jobs", "HTTP: reports") for name in docs.names("".join(_requests(title)))}
    paths = create_app(nowhere, JOBS).openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    served = {call.replace("/jobs/report.generate", "/jobs/{kind}") for call in served}
    assert {re.sub(r"\{\w+\}", "{}", call) for call in served} == {
        re.sub(r"\{\w+\}", "{}", call) for call in listed if re.match(r"[A-Z]+ /", call)
    }


def _requests(title: str) -> Iterator[str]:
    return (row[0] for row in docs.rows("docs/contract.md", title))


def test_every_part_of_a_job_is_documented() -> None:
    """The table of a job's keys is that of the view."""
    listed = [name for row in docs.rows("docs/contract.md", "HTTP: jobs") for name in docs.names(row[0])]
    assert {name for name in listed if name.isidentifier()} == set(get_type_hints(JobView))


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("progress", [None, Progress(1, 5, "Read")])
def test_every_state_of_a_report_is_documented(state: JobState, progress: Progress | None) -> None:
    """The table says which word and which part a state of a job becomes."""
    record = JobRecord(id="x", kind="k", queue="q", state=state, created_ms=0, due_ms=0, progress=progress)
    if state is JobState.SUCCEEDED:
        record = JobRecord.from_hash("x", {**record.to_hash(), "result": '{"user_id": 1, "report_url": "/r"}'})
    table = {row[0]: row for row in docs.rows("docs/contract.md", "HTTP: reports") if row[0].startswith("`")}
    suffix = {True: ", with progress", False: ", no progress yet"}[progress is not None]
    row = next(row for first, row in table.items() if f"`{state}`" in first and suffix in first + suffix)
    if state is JobState.RUNNING:
        row = table[f"`running`{suffix}"]
    view = report_view(record, "http://api.test")
    assert docs.names(row[1]) == [view["state"]]
    assert re.findall(r'"(\w+)"', row[2])[:1] == [key for key in view if key not in {"task_id", "state"}]


def defaults(settings: type[BaseSettings]) -> dict[str, str]:
    """Return the variables of a settings class, and what each is when unset."""
    found = {}
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        variable = alias if isinstance(alias, str) else f"{settings.model_config['env_prefix']}{name}".upper()
        found["REDIS_URL" if name == "redis_url" else variable] = _written(field.default)
    return found


def _written(default: Any) -> str:
    if default is None or default is PydanticUndefined:
        return "unset"
    return default if isinstance(default, str) else json.dumps(default, default=str)


def section_before(page: str, title: str, mark: str) -> list[str]:
    """Return the first column of the table that stands in a section before its first sub-heading."""
    inner = docs.section(page, title).partition(f"\n{mark} ")[0]
    return [name for line in inner.splitlines() if line.startswith("| `") for name in docs.names(line.split("|")[1])]
