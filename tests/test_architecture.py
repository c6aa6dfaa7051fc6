"""Machines guard taste: who may import what, how long things may be, and what must not be in the tree."""

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from arqway.workers.contract import keys

ROOT = Path(__file__).parent.parent
_CODE = sorted(path for folder in ("arqway", "service", "workers") for path in (ROOT / folder).rglob("*.py"))
_PYTHON = sorted([*_CODE, *(ROOT / "tests").rglob("*.py")])
_LUA = sorted((ROOT / "workers" / "store" / "lua").glob("*.lua"))
_SCRIPTS = [path for path in _LUA if path.stem != "prelude"]
_LINES_MIN, _LINES_MAX, _STATEMENTS_MAX, _MEDIAN_LINES_MAX, _ROOMS_MAX = 40, 300, 40, 9, 15
_VAGUE = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "common", "misc"}
_MAY_IMPORT_REDIS = "workers/store/", "workers/processes/embedded.py"
_MAY_IMPORT_ARQ = ("workers/store/connection.py",)
_PREFIXES = {value for name, value in vars(keys).items() if name.endswith("_PREFIX") or name == "ARQ_ABORT"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    """Return the path as one writes it in this repository."""
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    """Return the module's tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    """Give every function of the module, methods and inner ones too."""
    return (node for node in ast.walk(parsed(path)) if isinstance(node, Function))


def statements(function: Function) -> int:
    """Count the statements in the function, those of inner functions too."""
    return sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1


def imported(path: Path) -> set[str]:
    """Return the top-level packages that the module imports, anywhere in it."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def texts(path: Path) -> Iterator[str]:
    """Give every string of the module that the program uses: all but docstrings."""
    loose = {id(node.value) for node in ast.walk(parsed(path)) if isinstance(node, ast.Expr)}
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose:
            yield node.value


@cache
def tree() -> dict[str, str]:
    """Return the text files of the repository: those in Git, and those that soon will be."""
    listing = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True)
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return {name_of(path): text for path in paths if path.is_file() and (text := _text(path)) is not None}


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def holding(pattern: str) -> list[str]:
    """Return ``file: text`` for all text of the tree that matches."""
    return [f"{name}: {found[0]}" for name, text in tree().items() for found in re.finditer(pattern, text)]


def test_the_tree_is_seen() -> None:
    """The checks below look at what they mean to look at."""
    assert {"workers/runners/executor.py", "service/app.py", "pyproject.toml"} <= set(tree())
    assert len(_CODE) > 40
    assert len(_SCRIPTS) >= 7


def test_no_floor_has_more_than_fifteen_rooms() -> None:
    """A folder of the code has at most fifteen folders and modules; its face, ``__init__``, is none of them."""
    rooms = {*_CODE, *(path.parent for path in _CODE)} - {path for path in _CODE if path.stem == "__init__"}
    floors = Counter(name_of(room.parent) for room in rooms)
    assert {floor: count for floor, count in floors.items() if count > _ROOMS_MAX} == {}


def test_imports_go_one_way() -> None:
    """The contracts in ``pyproject.toml`` hold."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("line", ["import {}", "import {}.settings", "from {} import settings", "from {}.x import y"])
@pytest.mark.parametrize("folder", ["service", "workers"])
def test_our_folders_are_no_packages_of_their_own(line: str, folder: str) -> None:
    """The linter refuses an import that would find somebody else's package, and takes that of ours."""
    codes = [f"{line.format(name)}\n" for name in (folder, f"arqway.{folder}")]
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--select", "TID251", "--no-cache", "-"]
    done = [subprocess.run(ruff, cwd=ROOT, input=code, capture_output=True, check=False, text=True) for code in codes]
    assert [each.returncode for each in done] == [1, 0]
    assert "TID251" in done[0].stdout


@pytest.mark.parametrize("path", [*_PYTHON, *_LUA], ids=name_of)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    """No file is longer than 300 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= _LINES_MAX


def test_a_file_is_worth_opening() -> None:
    """No module is shorter than 40 lines, but for the faces of packages."""
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _CODE}
    short = {name for name, length in lengths.items() if length < _LINES_MIN and not name.endswith("__.py")}
    assert short == set()


def test_a_class_has_a_name_of_its_own() -> None:
    """No two classes of the code have the same name, wherever they are and whatever they are nested in."""
    classes = [node for path in _CODE for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]
    assert {name for name, count in Counter(node.name for node in classes).items() if count > 1} == set()


def test_a_function_is_read_in_one_breath() -> None:
    """No function has more than 40 statements."""
    long = [
        f"{name_of(path)}: {function.name}"
        for path in _PYTHON
        for function in functions(path)
        if statements(function) > _STATEMENTS_MAX
    ]
    assert long == []


def test_most_functions_are_short() -> None:
    """Half of the functions of both packages have 9 lines or fewer."""
    lengths = [(function.end_lineno or 0) - function.lineno + 1 for path in _CODE for function in functions(path)]
    assert statistics.median(lengths) <= _MEDIAN_LINES_MAX


def test_a_module_is_named_after_what_it_is() -> None:
    """No module's name says nothing."""
    assert [name_of(path) for path in _PYTHON if _VAGUE & {*path.stem.split("_"), path.parent.name}] == []


@pytest.mark.parametrize("unsafe", ["pickle", "marshal", "shelve", "dill", "cloudpickle"])
def test_nothing_is_unpickled_but_by_one_command(unsafe: str) -> None:
    """No package imports a format that runs what it reads, but for the converter, which one command alone imports."""
    converter = ["workers/client/conversion.py"] if unsafe == "pickle" else []
    assert [name_of(path) for path in _CODE if unsafe in imported(path)] == converter
    users = [name_of(path) for path in _CODE if re.search(r"\bconversion\b", path.read_text(encoding="utf-8"))]
    assert users == ["service/cli/convert.py"]


def test_only_that_command_loads_the_converter() -> None:
    """The service, a worker, the face and the command line come up without it."""
    loaded = "import arqway, arqway.service.app, arqway.service.cli.commands, arqway.workers.__main__, sys"
    check = "sys.exit('arqway.workers.client.conversion' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", f"{loaded}; {check}"], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(("package", "allowed"), [("redis", _MAY_IMPORT_REDIS), ("arq", _MAY_IMPORT_ARQ)])
def test_few_modules_know_redis_and_arq(package: str, allowed: tuple[str, ...]) -> None:
    """Only the store's side of the code and the engine import them."""
    found = {name_of(path) for path in _CODE if package in imported(path)}
    assert [name for name in found if not name.startswith(("workers/engine/", *allowed))] == []


def test_only_the_contract_spells_keys() -> None:
    """A key is made by ``contract/keys.py`` or by a script, and by nobody else."""
    others = [path for path in _CODE if name_of(path) != "workers/contract/keys.py"]
    spelled = [f"{name_of(path)}: {text}" for path in others for text in texts(path) if _begins_as_a_key(text)]
    assert spelled == []


def _begins_as_a_key(text: str) -> bool:
    return any(re.match(rf"{re.escape(prefix)}(\S|$)", text) for prefix in _PREFIXES)


@pytest.mark.parametrize("path", _SCRIPTS, ids=name_of)
def test_a_script_says_what_it_takes_and_returns(path: Path) -> None:
    """A script begins with its purpose, its arguments, and every answer by name."""
    header = path.read_text(encoding="utf-8").partition("\n\n")[0]
    assert all(line.startswith("-- ") for line in header.splitlines())
    assert re.search(r"^-- ARGV", header, re.MULTILINE)
    assert re.search(r"^-- Returns ", header, re.MULTILINE)


def test_nothing_is_left_to_do() -> None:
    """What is in the tree is done; what is not is no comment."""
    words = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
    assert holding(rf"\b({'|'.join(words)})\b") == []


def test_no_package_registry_is_named() -> None:
    """Where packages come from is the business of whoever installs them."""
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".com", "npmjs" + ".org", "crates" + ".io"]
    assert holding("|".join(map(re.escape, hosts))) == []


def test_no_path_of_one_machine_is_named() -> None:
    """No file knows where somebody's home or checkout is."""
    homes = ["home", "Users", "root", "work", "mnt", "workspace"]
    assert holding(rf"(?<![\w.$}}/~-])/({'|'.join(homes)})/\w+") == []
