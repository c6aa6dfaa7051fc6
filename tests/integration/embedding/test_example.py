"""``examples/existing_app``: installed as its team does it, tested by its own tests, and run with a worker."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import NamedTuple

import httpx
import pytest

from tests.support import docs
from tests.support.processes import Command, arqway
from tests.support.waiting import wait_until

EXAMPLE = docs.ROOT / "examples" / "existing_app"
ADA = {"email": "ada@shop.test", "password": "correct horse"}
_PROGRAMS = {"arqway": "arqway.service.cli", "uvicorn": "uvicorn.main", "pytest": "pytest"}
pytestmark = pytest.mark.timeout(180)  # of which a quiet machine needs 15 s


class App(NamedTuple):
    """The example, in an environment and a folder of its own."""

    folder: Path
    programs: Path
    changes: Mapping[str, str]

    @contextmanager
    def running(self, command: str, *arguments: str) -> Iterator[Command]:
        """Run a command as the documentation shows it."""
        program, *words = command.split()
        called = [str(self.programs / program)]
        with arqway(
            self.folder, *words, *arguments, changes=dict(self.changes), name=program, command=called
        ) as running:
            yield running


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """Install a copy of the example by pip, without a network; libraries come from the environment that runs this."""
    folder = tmp_path_factory.mktemp("shop")
    copy, environment = folder / "app", folder / "venv"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "*.db", ".*"))
    venv.create(environment, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = environment / "bin" / "python"
    for name, module in _PROGRAMS.items():  # as pip writes them
        program = python.with_name(name)
        program.write_text(f"#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        program.chmod(0o755)
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
    pip = [str(python), "-m", "pip", "install", *options, "--editable", "."]
    done = subprocess.run(pip, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    changes = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # plugins that are not the team's own
        "ARQWAY_HOME": ".arqway",
    }
    return App(copy, python.parent, changes)


async def test_its_own_tests_pass(app: App) -> None:
    """A job as a plain function, the routes with overrides, and an order that a worker process weighs."""
    with app.running("pytest") as run:
        assert await run.ends(timeout_s=120) == 0, run.output
    assert "9 passed" in run.output


async def test_it_serves_orders_as_the_readme_shows(app: App) -> None:
    """The two commands of the README: an order is accepted, weighed by the worker, and followed by the customer."""
    serve, work = (session.command for session in docs.sessions(docs.README)[:2])
    with app.running(serve, "--port", "0") as web, app.running(work) as worker:
        async with httpx.AsyncClient(base_url=await url_of(web)) as customer:
            await sign_in(customer)
            accepted = await customer.post("/orders", json={"item": "coffee", "pieces": 10})
            assert accepted.status_code == 202
            number, job_id = accepted.json()["number"], accepted.json()["job_id"]
            seen: list[dict[str, object]] = []

            async def weighed() -> bool:
                seen.append((await customer.get(f"/orders/{number}")).json())
                return seen[-1]["state"] == "succeeded"

            await wait_until(weighed, f"the order is weighed: {worker.output}", timeout_s=60)
            events = await customer.get(f"/background/jobs/{job_id}/events")
            refused = await customer.get(f"/background/jobs/{job_id}", headers={"Authorization": ""})
        assert seen[-1] == {
            "number": number,
            "item": "coffee",
            "pieces": 10,
            "state": "succeeded",
            "pieces_weighed": 10,
            "grams": 5_000,
            "postage_cents": 790,
        }
        assert "event: progress" in events.text
        assert (refused.status_code, refused.json()) == (401, {"error": "Please sign in."})
        worker.signal(SIGTERM)
        assert await worker.ends() == 0


@pytest.mark.parametrize("bounded", [False, True])
async def test_an_open_event_stream_holds_uvicorn(app: App, bounded: bool) -> None:
    """Until the client goes or, with the option that the page names, until its time is over."""
    plain, *_, with_bound = (one.command for one in docs.sessions("docs/fastapi.md") if "uvicorn" in one.command)
    with app.running(with_bound if bounded else plain, "--port", "0") as web:
        async with httpx.AsyncClient(base_url=await url_of(web)) as customer:
            await sign_in(customer)
            async with customer.stream("GET", "/background/events") as stream:
                assert stream.status_code == 200
                web.signal(SIGTERM)
                await web.says("Waiting for connections to close.")
                if bounded:
                    await web.says("Application shutdown complete.", timeout_s=30)
                assert bounded or web.process.poll() is None
        await web.says("Application shutdown complete.", timeout_s=30)
        assert web.output.count("Exception in ASGI application") == bounded


async def test_it_passes_strict_type_checks(tmp_path: Path) -> None:
    """The example, and the files that the page adds to it."""
    written = [str(path) for path in docs.write_files("docs/fastapi.md", tmp_path)]
    parts = [str(EXAMPLE / name) for name in ("shop", "service", "tests")]
    code, output = await docs.run(sys.executable, "-m", "mypy", "--strict", *parts, *written)
    assert code == 0, output


async def url_of(web: Command) -> str:
    """Return where uvicorn listens, once it does."""
    await web.says("Uvicorn running on ", timeout_s=60)
    return web.output.partition("Uvicorn running on ")[2].split()[0]


async def sign_in(customer: httpx.AsyncClient) -> None:
    """Let a customer sign in by the example's own routes; the account may be there already."""
    assert (await customer.post("/accounts", json=ADA)).status_code in {204, 409}
    token = (await customer.post("/login", json=ADA)).json()["token"]
    customer.headers["Authorization"] = f"Bearer {token}"
