"""The files beside the code are true: what CI and the hooks run, what is pinned, and the documentation as a site."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import arqway
from tests.support import docs

WORKFLOW = ".github/workflows/ci.yml"
INDEX = "docs/index.md"
_SECTION = re.compile(r"^## (.+)\n\n((?:- \[.+\]\(\S+\).*\n)+)", re.MULTILINE)
_FETCHED = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*? (?:src|href)="((?:https?:)?//[^"]+)')


def commands_of(target: str) -> list[str]:
    """Return the commands of a make target."""
    found = re.search(rf"^{target}:.*\n((?:\t.+\n)+)", docs.text_of("Makefile"), re.MULTILINE)
    assert found, target
    return [line.strip().removeprefix("@").replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


def requirements() -> Iterator[Requirement]:
    """Give every requirement of the project and of its extras, and those of theirs that an extra of theirs adds."""
    project = docs.project()["project"]
    return map(Requirement, chain(project["dependencies"], *project["optional-dependencies"].values()))


def test_ci_calls_make_alone() -> None:
    """What fails in the workflow can be run at home: each step is a make target that exists, or an action's."""
    commands = re.findall(r"^ +- run: (.+)$", docs.text_of(WORKFLOW), re.MULTILINE)
    assert len(commands) >= 5
    assert len(commands) == docs.text_of(WORKFLOW).count("run:")
    for command in commands:
        target = re.match(r"make ([a-z]+)(?: |$)", command)
        assert target, command
        assert commands_of(target[1])


def test_ci_tests_every_python_that_is_promised() -> None:
    """The classifiers, the workflow's matrix and ``requires-python`` name the same versions."""
    project = docs.project()["project"]
    classified = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    matrix = re.search(r"^ +python: \[(.+)\]", docs.text_of(WORKFLOW), re.MULTILINE)
    assert matrix
    assert re.findall(r"3\.\d+", matrix[1]) == classified
    assert project["requires-python"] == f">={classified[0]}"


def test_the_hooks_are_the_checks() -> None:
    """A commit is checked by the commands of ``make check``, but for what names the files, and by no other."""
    entries = re.findall(r"^ +entry: (.+)$", docs.text_of(".pre-commit-config.yaml"), re.MULTILINE)
    checks = [re.sub(r" (--check|\.|\S+\.ya?ml)(?=\s|$)", "", command) for command in commands_of("check")]
    assert [entry.removesuffix(" --fix") for entry in entries] == checks


def test_every_requirement_is_pinned() -> None:
    """Each has one exact version in ``constraints.txt``, and that version is allowed."""
    lines = [line for line in docs.text_of("constraints.txt").splitlines() if not line.startswith("#")]
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(pinned) == len(lines)
    wrong = [str(one) for one in requirements() if pinned.get(canonicalize_name(one.name), "") not in one.specifier]
    assert wrong == []


def test_the_index_is_an_llms_txt() -> None:
    """It has a title, a summary and lists of links, as llmstxt.org asks, and lists every page of the docs once."""
    text = docs.text_of("docs/llms.txt")
    assert text == docs.text_of(INDEX)
    assert re.match(r"# \w+\n\n(> .+\n)+\n", text)
    sections = _SECTION.findall(text)
    assert [title for title, _ in sections] == re.findall(r"^#{2,} ?(.+)", text, re.MULTILINE)
    listed = [link for _, links in sections for link in re.findall(r"^- \[.+?\]\((\S+?)\)", links, re.MULTILINE)]
    pages = [page.removeprefix("docs/") for page in docs.PAGES if page.startswith("docs/") and page != INDEX]
    assert sorted(link for link in listed if not link.startswith("../")) == sorted(pages)


@pytest.mark.timeout(180)
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="MkDocs is not installed; `make docs` does that")
def test_the_site_is_whole(tmp_path: Path) -> None:
    """It builds without a warning, has each page as HTML and as Markdown, and each name that ``arqway`` exports.

    And it stands alone: no page loads a script, a style, a font or a picture from another host.
    """
    build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=docs.ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    pages = {page.removeprefix("docs/") for page in docs.PAGES if page.startswith("docs/")}
    built = {path.relative_to(tmp_path): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")} == pages
    assert {path.with_suffix(".md").as_posix() for path in built} == pages | {"404.md"}
    assert (tmp_path / "llms.txt").read_text(encoding="utf-8") == docs.text_of(INDEX)
    assert {f"{path}: {url}" for path, text in built.items() for url in _FETCHED.findall(text)} == set()
    reference = built[Path("reference/arqway.html")]
    assert set(re.findall(r'<h\d id="arqway\.(\w+)" class="doc doc-heading"', reference)) >= set(arqway.__all__)
