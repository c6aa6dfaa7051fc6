"""The wheel and the sdist, each installed beside a project that has packages of its own called like our folders."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import NamedTuple
from zipfile import ZipFile

import pytest

from tests.support.processes import arqway

ROOT = Path(__file__).parents[3]
_OWN = ("service", "workers", "tests", "docs")
_BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2])"
_JOBS = '''
from arqway import JobContext, Registry, job


@job("shop.ship")
async def ship(ctx: JobContext, number: int) -> str:
    """Ship an order."""
    return f"order {number} shipped"


JOBS = Registry([ship])
'''
pytestmark = pytest.mark.timeout(300)  # of which a quiet machine needs 30 s


class Built(NamedTuple):
    """What is published."""

    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


def tracked() -> list[str]:
    """Return the files in Git, links among them."""
    listing = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True)
    return [name for name in done.stdout.split("\0") if name and os.path.lexists(ROOT / name)]


def build(kind: str, tree: Path, target: Path) -> Path:
    """Build a wheel or an sdist as an installer's front end does, in a process of its own, and return the file."""
    command = [sys.executable, "-c", _BUILD, kind, str(target)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A wheel and an sdist of a clean copy of the tree, and the wheel that comes out of the sdist alone."""
    folder = tmp_path_factory.mktemp("built")
    tree, unpacked = folder / "tree", folder / "unpacked"
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / name
        if source.is_symlink():
            (tree / name).symlink_to(source.readlink())
        else:
            (tree / name).write_bytes(source.read_bytes())
    sdist = build("sdist", tree, _made(folder / "sdist"))
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (inside,) = unpacked.iterdir()
    return Built(
        build("wheel", tree, _made(folder / "wheel")), sdist, build("wheel", inside, _made(folder / "of-sdist"))
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("of", ["wheel", "wheel_of_sdist"])
def test_a_wheel_holds_the_package_and_nothing_else(built: Built, of: str) -> None:
    """Every file of the three folders in Git, under ``arqway/``; no package ``service``, ``workers`` or ``tests``."""
    names = [name.replace("arqway/", "", 1) for name in tracked() if name.partition("/")[0] in {"arqway", *_OWN[:2]}]
    with ZipFile(getattr(built, of)) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {f"arqway/{name}" for name in names if name not in _OWN}


def test_the_sdist_holds_files_no_links(built: Built) -> None:
    """What a link of the repository leads to is there itself, so that it unpacks anywhere."""
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    names = {member.name.partition("/")[2] for member in members}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "arqway/service/app.py",
        "arqway/workers/runners/executor.py",
    } <= names


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose packages are called like our folders, and must not be imported by us."""
    folder = _made(tmp_path / "project")
    for name in _OWN:
        _made(folder / name).joinpath("__init__.py").write_text(f"raise SystemExit('the project\\'s {name}')\n")
    _made(folder / "shop").joinpath("__init__.py").touch()
    (folder / "shop" / "jobs.py").write_text(_JOBS)
    return folder


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a fresh environment, and return its ``bin``; libraries come from the one that runs this."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")  # not its .pth files: our own is left out
    return python.parent


@pytest.mark.parametrize("of", ["wheel", "wheel_of_sdist"])
async def test_it_works_beside_packages_of_the_same_names(built: Built, of: str, project: Path, tmp_path: Path) -> None:
    """In the project's folder and on PYTHONPATH: the face is imported; ``doctor``, ``demo``, ``worker``, ``up`` run."""
    programs = install(getattr(built, of), tmp_path / "environment")
    changes = {"PYTHONPATH": str(project), "ARQWAY_PORT": "0"}
    face = [str(programs / "python"), "-c", "from arqway import job; import arqway; print(arqway.__file__)"]
    with arqway(project, changes=changes, command=face) as run:
        assert await run.ends() == 0
    assert Path(run.output.strip()).is_relative_to(tmp_path / "environment")

    command = [str(programs / "arqway")]
    for arguments in (["doctor", "shop.jobs:JOBS"], ["demo"]):
        with arqway(project, *arguments, changes=changes, command=command) as run:
            assert await run.ends(timeout_s=60) == 0, run.output
    assert list((project / "demo").glob("report-*.pdf"))
    for arguments, ready, stop in (
        (["worker", "shop.jobs:JOBS"], "Worker started", SIGTERM),
        (["up", "shop.jobs:JOBS"], "Ctrl-C stops everything.", SIGINT),
    ):
        with arqway(project, *arguments, changes=changes, command=command) as run:
            await run.says(ready, timeout_s=60)
            run.signal(stop)
            assert await run.ends() == 0
            assert "the project's" not in run.output
