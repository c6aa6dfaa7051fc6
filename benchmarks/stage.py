"""One contestant on an emptied server: its jobs submitted, its workers started, its marks read."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.marks import MARK_BYTES, Mark, unpack
from benchmarks.roster import ROOT, Contestant
from benchmarks.server import Server

_SUBMIT_WITHIN_S = 300.0
_RUN_WITHIN_S = 300.0
_STALLED_S = 20.0
_SETTLE_WITHIN_S = 20.0
_SETTLE_UNSEEN_S = 0.3
_LOOK_AGAIN_S = 0.002


class Stalled(Exception):  # noqa: N818 - a fact about the contestant
    """A contestant did not do in time what was asked of it."""


class Stage:
    """What a measurement works with. The server is emptied when it is set up.

    Args:
        contestant: Who is measured.
        server: Where its jobs are.
        folder: Takes the marks and the workers' logs.
    """

    def __init__(self, contestant: Contestant, server: Server, folder: Path) -> None:
        self.contestant = contestant
        self.server = server
        self.folder = folder
        self._marks = folder / "marks"
        self.clear()

    def clear(self) -> None:
        """Empty the server, and forget the marks."""
        self._marks.write_bytes(b"")
        self.server.empty()

    def submit(self, way: str, kind: str, jobs: int, *, seed: int = 1) -> dict[str, float]:
        """Submit jobs from a process of its own, one of the ways of ``benchmarks.send``; return what it tells."""
        arguments = (self.contestant.module, way, kind, str(jobs), "--seed", str(seed))
        command = self._command(("python", "-m", "benchmarks.send", *arguments))
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=_SUBMIT_WITHIN_S,
            check=False,
        )
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            raise Stalled(f"{' '.join(arguments)}: {' '.join(last)}")
        told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return told

    @contextmanager
    def workers(self, count: int = 1, *, around: tuple[str, ...] = ()) -> Iterator[list[int]]:
        """Run workers inside the block, and give their process ids. ``around`` takes the place of ``python``."""
        words = (*around, *self.contestant.worker[1:]) if around else self.contestant.worker
        with ExitStack() as stack:
            yield [stack.enter_context(self.running(words, "worker")) for _ in range(count)]

    @contextmanager
    def running(self, words: tuple[str, ...], name: str, settings: Mapping[str, str] | None = None) -> Iterator[int]:
        """Run a program of the contestant's environment inside the block, and give its process id.

        Args:
            words: The program and its arguments; ``{url}`` stands for the server.
            name: Its output goes to ``{name}.log``.
            settings: Environment variables beside the contestant's own.
        """
        environment = {**self._environment(), **(settings or {})}
        with processes.running(self._command(words), ROOT, environment, self.folder / f"{name}.log") as process:
            yield process

    @property
    def marked(self) -> int:
        """How many jobs have ended."""
        return self._marks.stat().st_size // MARK_BYTES

    def marks(self, skipped: int = 0) -> list[Mark]:
        """Return the marks, in the order of their ends, but for the first ``skipped``."""
        return unpack(self._marks.read_bytes()[skipped * MARK_BYTES :])

    def await_marks(self, jobs: int) -> None:
        """Return once so many jobs have ended. Raises Stalled if it takes too long, or nothing happens for a while."""
        began_s = moved_s = time.monotonic()
        seen = 0
        while (now_marked := self.marked) < jobs:
            now_s = time.monotonic()
            if now_marked > seen:
                seen, moved_s = now_marked, now_s
            if now_s - moved_s > _STALLED_S or now_s - began_s > _RUN_WITHIN_S:
                raise Stalled(f"{seen} of {jobs} jobs ended; {self.last_words()}")
            time.sleep(_LOOK_AGAIN_S)

    def await_settled(self) -> None:
        """Return once every outcome is written, where that can be seen; else after a moment."""
        key = self.contestant.waiting_key
        if key is None:
            time.sleep(_SETTLE_UNSEEN_S)
            return
        deadline_s = time.monotonic() + _SETTLE_WITHIN_S
        while self.server.has(key):
            if time.monotonic() > deadline_s:
                raise Stalled(f"jobs are left in {key} though all have ended; {self.last_words()}")
            time.sleep(_LOOK_AGAIN_S)

    def _command(self, words: tuple[str, ...]) -> list[str]:
        program, *arguments = (word.format(url=self.server.url) for word in words)
        own = self.contestant.programs / program
        return [str(own) if own.exists() else program, *arguments]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ARQWAY_")}
        ours = {"REDIS_URL": self.server.url, "BENCH_MARKS": str(self._marks), "PYTHONPATH": str(ROOT)}
        return {**kept, **ours, **self.contestant.settings}

    def last_words(self, name: str = "worker") -> str:
        """Return the end of a program's output, for an error's text."""
        log = self.folder / f"{name}.log"
        return log.read_text(errors="replace")[-1000:] if log.exists() else f"no {name} ran"
