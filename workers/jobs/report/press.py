"""The press: a worker's typesetting processes, kept warm, each killed if the attempt it works for is cancelled.

Drawing and typesetting take hundreds of milliseconds of pure computation, and no thread can be stopped in the middle of
it; a process can. The library pools do not fit: ``ProcessPoolExecutor`` cannot kill one busy worker, and
``anyio.to_process`` (4.16) leaves its child behind if cancelled while that starts, ends its pool with the root task
that used it first, and turns a Ctrl-C in the child into one in the worker. Hence this small pool. What crosses the pipe
is JSON and the PDF's bytes.
"""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

ANSWER_LINE_MAX_BYTES = 16 * 1024 * 1024
CLOSE_TIMEOUT_S = 5.0


class TypesettingFailed(Exception):  # noqa: N818  like httpx: the name says what happened
    """A typesetting process answered with an error, or died."""


@dataclass(frozen=True, slots=True)
class TypesetReport:
    """A finished PDF."""

    pdf: bytes
    pages: int


class Press:
    """A pool of at most ``size`` typesetting processes. Use it with ``async with``; leaving the block ends them all."""

    def __init__(self, size: int = 2) -> None:
        self._free = asyncio.Semaphore(size)
        self._idle: list[Process] = []
        self._busy: set[Process] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Start one process, which warms itself up, so that the first report finds it ready or nearly so."""
        self._idle.append(await _start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process, busy or not."""
        self._closed = True
        for process in self._busy:
            _kill(process)  # the task that waits for its answer sees that it died, and cleans up
        await asyncio.gather(*(_end(process) for process in self._idle), *(busy.wait() for busy in self._busy))

    @property
    def process_ids(self) -> set[int]:
        """The ids of the processes that are currently alive."""
        return {process.pid for process in [*self._idle, *self._busy] if process.returncode is None}

    @property
    def busy(self) -> int:
        """How many processes are currently at work."""
        return len(self._busy)

    async def draw_charts(self, content: dict[str, Any]) -> dict[str, str]:
        """Draw the charts of a report; return SVG documents by name."""
        answer, _ = await self._ask("draw_charts", content)
        return dict(answer)

    async def typeset(self, content: dict[str, Any], charts: dict[str, str]) -> TypesetReport:
        """Typeset a report with its charts."""
        pages, pdf = await self._ask("typeset", content, charts)
        return TypesetReport(pdf, pages)

    async def _ask(self, task: str, *arguments: Any) -> tuple[Any, bytes]:
        """Run a task in a process. Cancelling kills that process, so that its time goes to other jobs."""
        async with self._free:
            process = await self._take()
            self._busy.add(process)
            try:
                answer = await _exchange(process, task, arguments)
            except BaseException:
                await _end(process)
                raise
            else:
                self._idle.append(process)
            finally:
                self._busy.discard(process)
        if answer["error"]:
            raise TypesettingFailed(answer["error"])
        return answer["result"], answer["content"]

    async def _take(self) -> Process:
        if self._closed:
            raise TypesettingFailed("The press is closed.")
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        return await _start()


async def _start() -> Process:
    # A session of its own, so that Ctrl-C in the terminal reaches only the worker, which lets running jobs finish.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        *("-m", "arqway.workers.jobs.report.printer"),
        stdin=PIPE,
        stdout=PIPE,
        limit=ANSWER_LINE_MAX_BYTES,
        start_new_session=True,
    )


async def _exchange(process: Process, task: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    assert process.stdin is not None  # noqa: S101  both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps([task, arguments]).encode() + b"\n")
        await process.stdin.drain()
        answer: dict[str, Any] = json.loads(await process.stdout.readuntil(b"\n"))
        return {**answer, "content": await process.stdout.readexactly(answer["size"])}
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        raise TypesettingFailed("The typesetting process died.") from error


def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


async def _end(process: Process) -> None:
    _kill(process)
    # Reading to the end lets the pipes close; only then does asyncio consider a process ended.
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await process.communicate()
