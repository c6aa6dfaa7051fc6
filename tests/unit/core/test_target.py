"""What ``package.module:NAME`` names, and how a broken module of the user's is told of."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from arqway import Registry
from arqway.service.settings import ServiceSettings, service_settings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.target import inspect_target, load_target
from arqway.workers.settings import Settings

ROOT = Path(__file__).parents[3]
MINE = Registry([])


class Composed(NamedTuple):
    """As the service's object looks to a worker."""

    registry: object
    explicit_settings: object = None


NEEDY = Registry([], needs={"json": "nothing", "no_such_package": "shop[pens]"})
PLAIN = Composed(MINE)
OWN = Composed(MINE, ServiceSettings(port=7, lease_s=3))
ODD_SETTINGS = Composed(MINE, {"port": 7})
ODD_REGISTRY = Composed([])


@pytest.fixture(autouse=True)
def _in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each test has a current folder of its own, and what it imports from there is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would be taken for that of the next second's edit
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def reason_for(name: str) -> str:
    """Return why it cannot be loaded: one line."""
    with pytest.raises(ConfigurationError) as caught:
        load_target(name)
    assert str(caught.value).splitlines() == [str(caught.value)]
    return str(caught.value)


def write(**files: str) -> None:
    """Write the modules of the package ``shop`` into the current folder."""
    folder = Path("shop")
    folder.mkdir(exist_ok=True)
    for name, code in {"__init__": "", **files}.items():
        (folder / f"{name}.py").write_text(code)


def forget() -> None:
    """Let ``shop`` be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def test_a_registry_or_an_object_that_has_one_is_loaded_by_name() -> None:
    """Settings count only where the object was given some."""
    assert load_target(f"{__name__}:MINE") == (MINE, None)
    assert load_target(f"{__name__}:PLAIN") == (MINE, None)
    assert load_target(f"{__name__}:OWN") == (MINE, OWN.explicit_settings)


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("ODD_REGISTRY", "is a Composed, neither a Registry nor an Arqway object"),
        ("reason_for", "is a function, neither a Registry nor an Arqway object"),
        ("ODD_SETTINGS", "are a dict, not Settings"),
        ("NOT_HERE", f"{Path(__file__).name}: it has no NOT_HERE"),
    ],
)
def test_an_attribute_of_another_kind_is_told(attribute: str, reason: str) -> None:
    """The line says what is there instead."""
    assert reason_for(f"{__name__}:{attribute}").endswith(reason)


def test_a_slip_in_the_attributes_name_is_told_with_the_right_one() -> None:
    """Where the module has one registry, that is what was meant."""
    write(jobs="from arqway import Registry\nMINE = Registry([])\n")
    assert reason_for("shop.jobs:JOBS") == "shop/jobs.py: it has no JOBS; its registry is called MINE"


@pytest.mark.parametrize("name", ["no_such_package:JOBS", "json.no:JOBS", "json.decoder.no:JOBS"])
def test_a_module_that_does_not_exist_is_told_apart_from_one_that_it_imports(name: str, tmp_path: Path) -> None:
    """The first is looked for in the current folder, which is named; the second is an error in the user's file."""
    module = name.partition(":")[0]
    assert reason_for(name).startswith(f"{name} cannot be loaded: No module named '{module}'")
    assert str(tmp_path) in reason_for(name)
    write(jobs=f"\n\nimport {module}\n")
    assert reason_for("shop.jobs:JOBS").startswith(
        f"shop/jobs.py, line 3: ModuleNotFoundError: No module named '{module}'"
    )


def test_the_module_of_the_current_folder_wins_and_takes_no_librarys_place() -> None:
    """The user's ``shop`` is found without PYTHONPATH; ``json`` stays Python's own for all that it imports."""
    Path("json.py").write_text("raise SystemExit('shadow')")
    write(jobs="import json, shop.models\nfrom arqway import Registry\nJOBS = Registry([])\n", models="")
    sys.modules.pop("json.tool", None)
    assert len(load_target("shop.jobs:JOBS").registry) == 0


_ERRORS = {
    "raise ValueError('no pen')": "ValueError: no pen",
    "raise ValueError('no\\npen\\x1b[2J')": "ValueError: no pen [2J",
    "raise ValueError": "ValueError",
    "raise SystemExit(3)": "SystemExit: 3",
    "raise BaseException('b')": "BaseException: b",
    "import sys; sys.exit()": "SystemExit",
    "1 / 0": "ZeroDivisionError: division by zero",
    "import nothing.here": "ModuleNotFoundError: No module named 'nothing'",
    "from json import nothing": "ImportError: cannot import name 'nothing' from 'json'",
    "int('x')": "ValueError: invalid literal for int() with base 10: 'x'",
    "import json; json.loads('{')": "JSONDecodeError: Expecting property name enclosed in double quotes",
    "exec('1 +')": "SyntaxError: invalid syntax",
    "(": "SyntaxError: '(' was never closed",
    "  x = 1": "IndentationError: un",
    "undefined": "NameError: name 'undefined' is not defined",
    "from arqway import Registry; Registry([7])": "a registry lists jobs defined with @job, and 7 is none",
    "raise OSError('b') from KeyError('a')": "OSError: b, from KeyError: 'a'",
    "raise ExceptionGroup('many', [ValueError(1)])": "ExceptionGroup: many (1 sub-exception)",
    "from arqway import job; job('No Kind')(len)": "",
    "from arqway.workers.settings import Settings; Settings(lease_s=0)": "ValidationError: 1 validation error",
    "class E(Exception):\n    def __str__(self): raise OSError\nraise E": "E: (its text cannot be read)",
}
_BEFORE = ["", "x = 1\n", "def f():\n    return 1\n\n", '"""Text."""\n# Remark\n']
_WAYS = {
    "itself": "{code}",
    "imported": "import shop.inner",
    "lazily": "from shop import inner",
    "called": "def call():\n    import shop.inner\ncall()",
    "by a library": "from importlib import import_module\nimport_module('shop.inner')",
}


@bounds(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(code=st.sampled_from(sorted(_ERRORS)), before=st.sampled_from(_BEFORE), way=st.sampled_from(sorted(_WAYS)))
def test_an_error_in_the_users_code_is_told_with_its_file_and_line(code: str, before: str, way: str) -> None:
    """Whatever is raised, and however the module comes to be imported: the innermost file and line, then the cause."""
    forget()
    file = "jobs" if way == "itself" else "inner"
    write(**{"jobs": _WAYS[way], file: f"{before}{code}\nJOBS = None\n"})
    line = before.count("\n") + code.count("\n") + 1
    assert reason_for("shop.jobs:JOBS").startswith(f"shop/{file}.py, line {line}: {_ERRORS[code]}")


@pytest.mark.parametrize(
    "content",
    [b"x = 1\0", b"# \xff\xfe\n", b"\xff", b"# -*- coding: nothing -*-\n"],
    ids=["null", "late", "first", "coding"],
)
def test_a_file_that_is_no_text_is_named(content: bytes) -> None:
    """Python cannot say a line of it, or not a sensible one."""
    write()
    Path("shop/jobs.py").write_bytes(content)
    assert reason_for("shop.jobs:JOBS").startswith("shop/jobs.py")


def test_an_error_behind_a_property_is_the_users_too() -> None:
    """What the module computes when it is asked for the attribute may fail like anything else."""
    write(jobs="def __getattr__(name):\n    raise LookupError(name)\n")
    assert reason_for("shop.jobs:JOBS") == "shop/jobs.py, line 2: LookupError: JOBS"


def test_a_registry_that_is_refused_is_told_where_it_is_made() -> None:
    """Errors of ours show the line of the user's that caused them, and no class name."""
    write(jobs="from arqway import Registry, job\n@job('a.b')\nasync def f(ctx: int) -> None: ...\n")
    assert reason_for("shop.jobs:JOBS").startswith("shop/jobs.py, line 2: ")
    assert "ConfigurationError" not in reason_for("shop.jobs:JOBS")


def test_a_registry_says_which_extra_it_needs() -> None:
    """A package that is not installed is named, and what installs it; reports need the extra ``report``."""
    told = f"{__name__}:NEEDY needs no_such_package, not installed: pip install 'shop[pens]'"
    assert reason_for(f"{__name__}:NEEDY") == told
    reports = load_target("arqway.workers.jobs:JOBS").registry
    assert set(reports.needs.values()) == {"arqway[report]"}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["report"]
    assert sorted(reports.needs) == sorted(re.split(r"\W", requirement)[0] for requirement in listed)


def test_a_ctrl_c_is_no_error_of_the_module() -> None:
    """It ends the command as always."""
    write(jobs="raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_target("shop.jobs:JOBS")


def test_the_supervisors_look_gives_the_same_words_and_the_same_settings() -> None:
    """From a process of its own: reasons, kinds, and settings with their secrets; nothing is imported here."""
    write(jobs="import nothing\n", odd="import os; os._exit(3)\n", talks="print('hello'); 1 / 0\n")
    with pytest.raises(ConfigurationError, match=r"^shop/jobs\.py, line 1: ModuleNotFoundError: No module .*'$"):
        inspect_target("shop.jobs:JOBS")
    with pytest.raises(ConfigurationError, match=r"^shop.odd:JOBS cannot be loaded: .* ended with exit code 3$"):
        inspect_target("shop.odd:JOBS")
    assert "shop" not in sys.modules
    write(
        good="""
from types import SimpleNamespace
from arqway import Registry
from arqway.workers.settings import Settings
explicit = dict(redis_url="redis://:secret@127.0.0.1", home="data", queues=("a", "b"), webhook_allow="10.0.0.0/8")
GOOD = SimpleNamespace(registry=Registry([]), explicit_settings=Settings.model_validate(explicit))
"""
    )
    found = inspect_target("shop.good:GOOD")
    assert found.kinds == []
    assert Settings(**(found.settings or {})) == load_target("shop.good:GOOD").settings


def test_settings_of_a_worker_serve_the_api_too() -> None:
    """Plain settings that an object brings win over the environment; the rest is the service's own."""
    assert service_settings(ServiceSettings(port=7)).port == 7
    assert service_settings(Settings(lease_s=3)) == ServiceSettings(lease_s=3)


@pytest.mark.parametrize("module", ["arqway.workers", "arqway.service"])
def test_a_process_tells_it_without_a_traceback(module: str) -> None:
    """One line on stderr, exit code 2."""
    write(jobs="\nimport nothing\n")
    command = [sys.executable, "-P", "-m", module]
    environment = {"REDIS_URL": "redis://127.0.0.1:1", "ARQWAY_JOBS": "shop.jobs:JOBS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    speaker = "arqway worker" if module == "arqway.workers" else "arqway api"
    told = f"{speaker}: shop/jobs.py, line 2: ModuleNotFoundError: No module named 'nothing'\n"
    assert (done.returncode, done.stderr) == (2, told)
