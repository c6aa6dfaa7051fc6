"""The page for clients is true: its commands and its code are run on a real service and worker."""

import asyncio
import importlib
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import httpx
import pytest

from arqway import ArqwayError, Registry
from arqway.service.app import create_app
from arqway.service.client import ArqwayClient
from arqway.service.client.errors import HELD, error_of
from arqway.service.problems.table import PROBLEMS
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support import docs
from tests.support.api_keys import make_key
from tests.support.docs_console import Console, is_like
from tests.support.http import served, service_settings

PAGE = "docs/clients.md"
NODE_MAJOR = 20
"""The first that has EventSource, by an option."""


class Running(NamedTuple):
    """The service of the page, on its jobs, without keys and with them."""

    url: str
    locked_url: str
    key: str


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The Python files of the README and of the page, in a folder that they can be imported from."""
    names = [path.stem for page in (docs.README, PAGE) for path in docs.write_files(page, tmp_path)]
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
async def running(files: Path, settings: Settings, run_worker: RunWorker) -> AsyncIterator[Running]:
    """The service and a worker, with the README's job."""
    registry: Registry = importlib.import_module("greetings").JOBS
    open_settings, locked = service_settings(settings), service_settings(settings, auth="keys")
    async with (
        served(create_app(open_settings, registry), open_settings) as service,
        served(create_app(locked, registry), locked) as locked_service,
        run_worker(registry),
    ):
        yield Running(service.url, locked_service.url, await make_key(settings))


async def test_the_commands_print_what_is_shown(running: Running) -> None:
    """All of them, in order, with the ids that come; the first one is the README's own."""
    start, *sessions = docs.sessions(PAGE)
    assert start.command in [session.command for session in docs.sessions(docs.README)]
    console = Console(running.url, running.locked_url, running.key)
    for session in sessions:
        output = await console.run(session)
        assert is_like(session.output, output), f"{session.command}\n{output}"
    assert len(sessions) == len(re.findall(r"^\$ curl", docs.text_of(PAGE), re.MULTILINE)) >= 12


@pytest.mark.parametrize(
    ("shown", "real", "alike"),
    [
        ("a\n…\nz", "a\nb\nc\nz", True),
        ("a\n…\nz", "a\nb", False),
        ('{"id":"x",…}', '{"id":"x","kind":"k"}', True),
        ('{"id":"x",…}', '{"id":"y","kind":"k"}', False),
        ("", "more", False),
    ],
)
def test_what_is_shown_is_compared(shown: str, real: str, alike: bool) -> None:
    """Dots stand for anything, and nothing else does."""
    assert is_like(shown, real) is alike


@pytest.mark.timeout(240)
async def test_the_python_code_is_typed(files: Path) -> None:
    """Its files pass ``mypy --strict``: the client knows what the job takes and gives."""
    names = [str(files / name) for page in (docs.README, PAGE) for name in docs.python_files(page)]
    code, output = await docs.run(sys.executable, "-m", "mypy", "--strict", *names)
    assert code == 0, output
    (files / "wrong.py").write_text(_WRONG, encoding="utf-8")
    code, output = await docs.run(sys.executable, "-m", "mypy", "--strict", *names, str(files / "wrong.py"))
    assert (code, re.findall(r"wrong\.py:(\d+): error", output)) == (1, ["9", "10", "14", "15", "16"]), output


_WRONG = """
from greetings import Guest, write_greeting

from arqway import SyncJobQueue
from arqway.service.client import ArqwayClient


async def wrong(api: ArqwayClient) -> int:
    await api.submit(write_greeting, {"name": "Ada"})
    return await api.result(await api.submit(write_greeting, Guest(name="Ada")))


def wrong_too(jobs: SyncJobQueue) -> None:
    jobs.submit(write_greeting, {"name": "Ada"})
    jobs.submit_many(write_greeting, [{"name": "Ada"}])
    jobs.wait("id")
"""


async def test_the_python_client_does_what_the_page_says(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result, a refusal, the events, a batch that is waited for, and the queues."""
    monkeypatch.setenv("ARQWAY_URL", running.url)
    greet, follow = importlib.import_module("greet"), importlib.import_module("follow")
    assert await greet.greet("Ada") == "Good morning, Ada!"
    assert await greet.greet_plainly({"name": "Bob"}) == "Good morning, Bob!"
    assert await greet.greet_plainly({}) == ["name: Field required"]
    async with greet.service() as api:
        (job,) = [job async for job in api.list(tag="birthday")]
    assert [(await follow.names_of_events(job.id))[n] for n in (0, -1)] == ["queued", "succeeded"]
    assert await follow.greet_all(["Cy", "Di"]) == 2
    assert "default" in {queue["name"] for queue in await follow.queues()}


async def test_the_python_client_sends_the_key(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code runs on a service with keys."""
    monkeypatch.setenv("ARQWAY_URL", running.locked_url)
    monkeypatch.setenv("ARQWAY_API_KEY", running.key)
    assert await importlib.import_module("greet").greet("Ada") == "Good morning, Ada!"


async def test_the_code_beside_redis_runs(running: Running, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice, and there is one job."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    beside: ModuleType = importlib.import_module("beside")
    first, second = await beside.greet_once("Ada"), await beside.greet_once("Ada")
    assert (first.result, second.attempt, second.created_ms) == ("Good morning, Ada!", 1, first.created_ms)
    async with ArqwayClient(running.url) as api:
        assert [job.id async for job in api.list()] == ["greeting-Ada"]


async def test_the_code_without_an_event_loop_runs(
    running: Running, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one for the process, made when its module is loaded."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    plain: ModuleType = importlib.import_module("plain")
    try:
        assert await asyncio.to_thread(plain.greet, "Ada") == "Good morning, Ada!"
        assert (await asyncio.to_thread(plain.waiting))["default"] == 0
    finally:
        plain.QUEUE.close()


def test_errors_have_the_status_that_our_own_routes_give() -> None:
    """And none that a client of Redis may meet is left out."""
    table = docs.rows(PAGE, "Errors in your own routes")
    listed = {(name, row[1]) for row in table for name in docs.names(row[0])}
    ours = {kind: problem for kind, problem in PROBLEMS.items() if kind.__module__ == ArqwayError.__module__}
    assert listed == {(kind.__name__, str(problem.status)) for kind, problem in ours.items()}


def test_every_call_of_the_table_is_one() -> None:
    """And every public call of the client is in it."""
    listed = set(docs.first_names(docs.rows(PAGE, "Its calls")))
    own = {name for name in vars(ArqwayClient) if not name.startswith("_")} - {"aclose", "base_url", "request"}
    assert listed == own | {"batches", "operations"}


def test_what_to_send_again_is_what_the_client_sends_again() -> None:
    """The table and the client agree on every status."""
    rows = {name: row[1] for row in docs.rows(PAGE, "What to send again") for name in docs.names(row[0])}
    again = {name for name, told in rows.items() if told.startswith("after `Retry-After`")}
    client = {str(status) for status in range(400, 600) if error_of(httpx.Response(status)).is_passing}
    held = error_of(httpx.Response(409, json={"code": HELD, "detail": "."}))
    assert again - {"409", HELD} == client
    assert {"409", HELD} <= again
    assert held.is_passing


async def run_node(folder: Path, program: str, *options: str) -> Any:
    """Run a module beside those of the page, and return what it printed as JSON."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")
    version = (await docs.run(node, "--version"))[1]
    if int(version.strip().lstrip("v").partition(".")[0]) < NODE_MAJOR:
        pytest.skip(f"node {version.strip()} is too old to be a browser's stand-in")
    for block in docs.blocks(PAGE, "javascript"):
        name = re.match(r"// (\w+\.mjs)\n", block)
        assert name
        (folder / name[1]).write_text(block, encoding="utf-8")
    (folder / "run.mjs").write_text(program, encoding="utf-8")
    code, output = await docs.run(node, *options, "run.mjs", folder=folder)
    assert code == 0, output
    return json.loads(output.splitlines()[-1])


async def test_the_javascript_for_keys_runs(running: Running, tmp_path: Path) -> None:
    """It submits, polls and streams with a key; a refusal is an error with the service's words."""
    program = f"""
import {{ submit, ended }} from "./submit.mjs";
import {{ follow }} from "./follow.mjs";
const api = {json.dumps(running.locked_url)}, key = {json.dumps(running.key)};
const job = await submit(api, "greeting.write", {{ name: "Ada" }}, key);
const end = await ended(api, job.id, key);
const events = [];
for await (const event of follow(api, job.id, key)) events.push(event);
const told = async (call) => {{ try {{ await call(); }} catch (error) {{ return error.message; }} }};
const refused = await told(() => submit(api, "greeting.write", {{}}, key));
const unknown = await told(() => follow(api, "nobody", key).next());
const stranger = await told(() => submit(api, "greeting.write", {{ name: "Ada" }}, "none"));
console.log(JSON.stringify({{ end, events, refused, unknown, stranger }}));
"""
    seen = await run_node(tmp_path, program)
    assert (seen["end"]["state"], seen["end"]["result"]) == ("succeeded", "Good morning, Ada!")
    assert [seen["events"][n]["name"] for n in (0, 1, -1)] == ["queued", "running", "succeeded"]
    assert seen["events"][-1]["data"]["result"] == "Good morning, Ada!"
    assert "does not fit" in seen["refused"]
    assert "job_not_found" in seen["unknown"]
    assert "API key" in seen["stranger"]


async def test_the_javascript_without_keys_runs(running: Running, tmp_path: Path) -> None:
    """EventSource, here Node's own, tells what happened and resolves with the job; it closes by itself."""
    async with ArqwayClient(running.url) as api:
        job = await api.submit("greeting.write", {"name": "Ada"})
    program = f"""
import {{ watch }} from "./watch.mjs";
const api = {json.dumps(running.url)}, names = [];
const job = await watch(api, {json.dumps(job.id)}, (name) => names.push(name));
const refused = await watch(api, "nobody", () => null).catch((error) => error.message);
console.log(JSON.stringify({{ job, names, refused }}));
"""
    seen = await run_node(tmp_path, program, "--experimental-eventsource", "--no-warnings")
    assert seen["job"]["result"] == "Good morning, Ada!"
    assert seen["names"][:2] == ["queued", "running"]
    assert seen["refused"] == "The stream was refused."


async def test_the_javascript_goes_on_over_a_broken_connection(running: Running, tmp_path: Path) -> None:
    """The second request names the last event of the first one, and none is told twice."""
    async with ArqwayClient(running.url) as api:
        job = await api.submit("greeting.write", {"name": "Ada"}, wait_s=10)
    program = f"""
import {{ follow }} from "./follow.mjs";
const real = fetch, asked = [];
globalThis.fetch = async (url, request) => {{
  asked.push(request.headers["Last-Event-ID"] ?? null);
  if (asked.length === 2) throw new TypeError("fetch failed");
  const answer = await real(url, request);
  if (asked.length > 1) return answer;
  const text = (await answer.text()).split("\\n\\n").slice(0, 2).join("\\n\\n") + "\\n\\nid: 9-9\\nevent: half";
  return new Response(text, {{ status: 200 }});
}};
const names = [];
for await (const event of follow({json.dumps(running.url)}, {json.dumps(job.id)}, "")) names.push(event.name);
console.log(JSON.stringify({{ asked, names }}));
"""
    seen = await run_node(tmp_path, program)
    assert seen["asked"] == [None, "0-0", "0-0"]
    assert (seen["names"][:2], seen["names"][-1]) == (["queued", "running"], "succeeded")
    assert len(seen["names"]) == len(set(seen["names"]))
