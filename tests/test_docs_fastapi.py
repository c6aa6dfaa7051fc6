"""The page about an app that exists already is true: its code is the example's, or is run here."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.testclient import TestClient

from arqway import Arqway, ArqwayError
from arqway.service.problems.table import PROBLEMS
from tests.support import docs

PAGE = "docs/fastapi.md"
EXAMPLE = docs.ROOT / "examples" / "existing_app"


@pytest.fixture
def mails(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's second app, on the test's own server."""
    docs.write_files(PAGE, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.delitem(sys.modules, "mails", raising=False)
    return importlib.import_module("mails")


@pytest.mark.parametrize("page", [docs.README, PAGE])
def test_what_is_shown_of_the_example_is_in_it(page: str) -> None:
    """Each paragraph stands in the file that its block names, in the order shown."""
    excerpts = [block for block in docs.blocks(page, "python") if docs.EXCERPT.match(block)]
    assert excerpts
    for block in excerpts:
        _, name, code = docs.EXCERPT.split(block, maxsplit=1)
        text = (EXAMPLE / name).read_text(encoding="utf-8")
        for paragraph in re.split(r"\n{2,}", code.strip("\n")):
            _, found, text = text.partition(paragraph + "\n")
            assert found, f"{name} does not have, or has elsewhere:\n{paragraph}"


def test_every_command_is_run_by_a_test() -> None:
    """The README's two are run with the example, as is the one with a bound; pip alone would need a network."""
    install, *commands = [session.command for session in docs.sessions(PAGE)]
    assert install.startswith("pip install ")
    assert re.findall(r"'arqway\[(\w+)\]'", install)[0] in docs.project()["project"]["optional-dependencies"]
    shown = [session.command for session in docs.sessions(docs.README)[:2]]
    assert commands == [*shown, f"{shown[0]} --timeout-graceful-shutdown 5"]


def test_the_statuses_are_those_of_our_own_routes() -> None:
    """Each exception that an owner's route may meet is in the table, once, with the status of the problem."""
    rows = docs.rows(PAGE, "Errors in your own routes")
    listed = sorted((name, int(row[0])) for row in rows for name in docs.names(row[1]))
    met = {kind: problem for kind, problem in PROBLEMS.items() if kind.__module__ == ArqwayError.__module__}
    assert listed == sorted((kind.__name__, problem.status) for kind, problem in met.items())


def test_the_second_app_runs(mails: ModuleType) -> None:
    """It opens by its lifespan, submits to its own queue, and answers an unknown id as a problem."""
    arqway: Arqway = mails.mails
    with TestClient(mails.app) as client:
        job_id = client.post("/mails", json={"to": "ada", "text": "hello"}).json()
        assert client.get(f"/mails/{job_id}").json() == "queued"
        unknown = client.get("/mails/none")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")
    assert arqway.settings.queues == ("mails",)


async def test_the_script_sends_to_all(mails: ModuleType) -> None:
    """It opens what it needs, and closes it."""
    arqway: Arqway = mails.mails
    ids = await mails.send_to_all(["ada", "bob"], "hello")
    async with arqway:
        assert [record.queue for record in await arqway.jobs.read_many(ids)] == ["mails", "mails"]
