"""The real ``arqway`` command as child processes, and what became of them."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL, Signals
from typing import NamedTuple

import httpx

from tests.support.waiting import wait_until


class Command:
    """A running ``arqway`` command, its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        """What it and its children have said so far, on stdout and stderr."""
        return self._log.read_text()

    def url(self) -> str:
        """Where its API listens, as it says."""
        return next(line.split()[-1] for line in self.output.splitlines() if line.startswith("API "))

    def get(self, path: str) -> httpx.Response:
        """Ask its API."""
        return httpx.get(self.url() + path)

    def signal(self, signal: Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(signal)

    async def says(self, text: str, *, timeout_s: float = 20) -> None:
        """Return once ``text`` is in the output; fail with the output if it does not come."""

        def said() -> bool:
            return text in self.output or self.process.poll() is not None

        await wait_until(said, f"the command says {text!r}; it said {self.output!r}", timeout_s=timeout_s)
        assert text in self.output, f"ended with {self.process.returncode} without {text!r}: {self.output}"

    async def ends(self, *, timeout_s: float = 20) -> int:
        """Return its exit code once it has ended."""
        await wait_until(lambda: self.process.poll() is not None, "the command ends", timeout_s=timeout_s)
        code = self.process.returncode
        assert "Traceback" not in self.output, self.output
        return code


@contextmanager
def arqway(
    folder: Path,
    *arguments: str,
    changes: Mapping[str, str] | None = None,
    name: str = "arqway",
    command: Sequence[str] = (sys.executable, "-P", "-m", "arqway.service.cli"),
) -> Iterator[Command]:
    """Run ``arqway`` with these arguments in ``folder``; whatever of it is left at the end is killed.

    Args:
        folder: Its working folder; gets its output as ``{name}.log``.
        arguments: The command line.
        changes: Environment variables beside those of the test.
        name: Tells the logs of several commands apart.
        command: How it is called.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env={**os.environ, **(changes or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Command(process, log)
    finally:
        for pid in (*descendants(process.pid), process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
        process.wait()


def descendants(pid: int, part: str = "") -> list[int]:
    """Return the processes that ``pid`` started, and those that these started.

    Args:
        pid: The process to look below.
        part: Only those whose command line has this word.
    """
    table = _process_table()
    below = [pid]
    for parent in below:
        below += [child for child, process in table.items() if process.parent == parent]
    return [child for child in below[1:] if not part or part in table[child].words]


async def all_end(pids: list[int], description: str) -> None:
    """Return once none of the processes runs any more; one that nobody waits for has ended all the same."""
    await wait_until(lambda: _process_table().keys().isdisjoint(pids), description)


class _Process(NamedTuple):
    parent: int
    words: list[str]


def _process_table() -> dict[int, _Process]:
    """Return all processes that run, by id: from /proc, or from `ps` where there is none."""
    folders = [folder for folder in Path("/proc").glob("[0-9]*") if folder.name.isdecimal()]
    return {int(folder.name): found for folder in folders if (found := _read_process(folder))} or _ask_ps()


def _read_process(folder: Path) -> _Process | None:
    try:
        state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        words = (folder / "cmdline").read_text(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else _Process(int(parent), words)


def _ask_ps() -> dict[int, _Process]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)  # noqa: S607
    lines = (line.split() for line in listing.stdout.splitlines())
    return {int(pid): _Process(int(parent), words) for pid, parent, state, *words in lines if not state.startswith("Z")}
