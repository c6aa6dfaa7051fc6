"""The documentation as data: its pages, tables, code and shell sessions."""

import asyncio
import re
import shlex
import shutil
import tomllib
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from pydantic_core import PydanticUndefinedType
from pydantic_settings import BaseSettings, NoDecode

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("README.md"), *ROOT.glob("[CS]*.md"), *(ROOT / "docs").rglob("*.md")]
    )
)
README, CONTRACT, OPERATIONS = "README.md", "docs/contract.md", "docs/operations.md"
ARCHITECTURE, TUTORIAL, DECISIONS = "docs/architecture.md", "docs/writing-a-job.md", "docs/decisions/"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXCERPT = re.compile(r"# ((?:\w+/)+\w+\.py)\n")
_FILE_NAME = re.compile(r"# (\w+\.py)\n")
_ANYTHING = r"(?:.*\n)*?"


class Session(NamedTuple):
    """A command of a ``console`` block, and what is shown below it."""

    command: str
    output: str


@cache
def text_of(page: str) -> str:
    """Return a page, or any other text file of the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    """Return what ``pyproject.toml`` says."""
    return tomllib.loads(text_of("pyproject.toml"))


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of one language."""
    return [code for name, code in _BLOCK.findall(text_of(page)) if name == language]


def sessions(page: str) -> list[Session]:
    """Return the shell commands that a page shows, in order."""
    parts = [part for block in blocks(page, "console") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [Session(*part.partition("\n")[::2]) for part in parts]


def python_files(page: str) -> dict[str, str]:
    """Return the Python files that a page writes: a block goes to the file that its first line, or the last, names."""
    files: dict[str, str] = {}
    name = ""
    for block in (block for block in blocks(page, "python") if not EXCERPT.match(block)):  # those are the example's
        if named := _FILE_NAME.match(block):
            name = named[1]
        assert name, f"{page}: the first Python block names no file"
        files[name] = files.get(name, "") + block + "\n"
    return files


def write_files(page: str, folder: Path) -> list[Path]:
    """Write the Python files of a page into a folder."""
    written = []
    for name, code in python_files(page).items():
        (folder / name).write_text(code, encoding="utf-8")
        written.append(folder / name)
    return written


def spans(page: str) -> list[str]:
    """Return all that a page calls code: inline spans, and the commands of its sessions."""
    prose = _BLOCK.sub("", text_of(page))
    inline = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return [*inline, *(session.command for session in sessions(page))]


def links(page: str) -> list[str]:
    """Return where a page's links and images lead to."""
    prose = _BLOCK.sub("", text_of(page))
    return [link or image for link, image in re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", prose)]


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", _BLOCK.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def section(page: str, title: str) -> str:
    """Return what stands under a heading, up to the next one, without its code blocks."""
    prose = _BLOCK.sub("", text_of(page))
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", prose, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading {title!r}"
    return found[1]


def rows(page: str, title: str) -> list[list[str]]:
    """Return the rows of the tables in a section, but for their headings."""
    lines = section(page, title).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    rules = [number for number, row in enumerate(cells) if set("".join(row)) <= {"-", ":"}]
    headings = {number - 1 for number in rules}
    return [row for number, row in enumerate(cells) if number not in {*rules, *headings}]


def names(cell: str) -> list[str]:
    """Return the code spans of a table's cell."""
    return re.findall(r"`([^`]+)`", cell)


def first_names(table: Iterable[list[str]]) -> list[str]:
    """Return the code spans in the first column."""
    return [name for row in table for name in names(row[0])]


def edges(diagram: str) -> set[tuple[str, str]]:
    """Return the arrows of a Mermaid state diagram."""
    return set(re.findall(r"^\s*(\S+) --> (\w+|\[\*\])", diagram, re.MULTILINE))


def is_like(shown: str, real: str) -> bool:
    """Tell whether real output is what a page shows, but for ids, ports and times; ``…`` stands for any lines."""
    pattern = "".join(_ANYTHING if line == "…" else re.escape(line) + r"\n" for line in _plain(shown))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _plain(real))) is not None


def _plain(text: str) -> list[str]:
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r" *\d+\.\d\d s ", "TIME s ", text)
    return [line.rstrip() for line in text.strip().splitlines()]


def defaults(settings: type[BaseSettings]) -> dict[str, str]:
    """Return the variables of a settings class, and the value of each when unset, as the pages write it."""
    found = {}
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        prefix = str(settings.model_config.get("env_prefix"))
        variable = (
            "REDIS_URL" if name == "redis_url" else alias if isinstance(alias, str) else f"{prefix}{name}".upper()
        )
        unset = field.default == () and NoDecode in field.metadata
        found[variable] = "unset" if unset else _written(field.default)
    return found


def _written(default: Any) -> str:
    match default:
        case None | PydanticUndefinedType():
            return "unset"
        case tuple():
            return ",".join(default) or "[]"
    return str(default).lower() if isinstance(default, bool) else str(default)


async def run(*command: str, folder: Path = ROOT) -> tuple[int, str]:
    """Run a program, and return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def curl(command: str) -> str:
    """Run a ``curl`` command of a page and return what it prints; where there is no curl, httpx sends the request."""
    arguments = shlex.split(command)
    if program := shutil.which("curl"):
        code, output = await run(program, "-sS", *arguments[1:])
        assert code == 0, output
        return output.replace("\r\n", "\n")
    options = dict(pairwise(arguments))
    url = next(argument for argument in arguments if argument.startswith("http"))
    method, headers = "POST" if "-d" in options else "GET", dict([options.get("-H", "A: b").split(": ")])
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, url, content=options.get("-d"), headers=headers)
    head = f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\n"
    head += "".join(f"{name}: {value}\n" for name, value in answer.headers.items()) + "\n"
    return (head if "-i" in arguments else "") + answer.text
