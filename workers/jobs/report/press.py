"""The press: a worker's typesetting processes, kept warm, each killed if the attempt it works for is cancelled.

Drawing and typesetting take hundreds of milliseconds of pure computation, and no thread can be stopped in the middle of
it; a process can. The library pools do not fit: ``ProcessPoolExecutor`` cannot kill one busy worker, and
``anyio.to_process`` (4.16) leaves its child behind if cancelled while that starts, ends its pool with the root task
that used it first, and turns a Ctrl-C in the child into one in the worker. Hence this small pool. What crosses the
pipes are lines of JSON, described in ``printer.py``.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from base64 import b64decode
from contextlib import suppress
from typing import Any, Self

ANSWER_LINE_MAX_BYTES = 16 * 1024 * 1024
CLOSE_TIMEOUT_S = 5.0


class TypesettingFailed(Exception):  # noqa: N818  like httpx: the name says what happened
    """A typesetting process answered with an error, or died."""


class Press:
    """A pool of at most ``size`` typesetting processes. Use it with ``async with``; leaving the block ends them all."""

    def __init__(self, size: int) -> None:
        self._free = asyncio.Semaphore(size)
        self._idle: list[Process] = []
        self._busy: set[Process] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Start one process, which warms itself up, so that the first report finds it ready or nearly so."""
        self._idle.append(await _start())
        return self

    async def __aexit__(self, *_: object) -> None:
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
        return dict(await self._ask("draw_charts", content))

    async def typeset(self, content: dict[str, Any], charts: dict[str, str]) -> tuple[bytes, int]:
        """Typeset a report with its charts; return the PDF and its number of pages."""
        pdf, pages = await self._ask("typeset", content, charts)
        return b64decode(pdf), pages

    async def _ask(self, task: str, *arguments: Any) -> Any:
        """Run a task in a process. Cancelling kills that process, so that its time goes to other jobs."""
        async with self._free:
            if self._closed:
                raise TypesettingFailed("The press is closed.")
            self._idle = [process for process in self._idle if process.returncode is None]
            process = self._idle.pop() if self._idle else await _start()
            self._busy.add(process)
            try:
                error, result = await _exchange(process, [task, arguments])
            except BaseException:
                await _end(process)
                raise
            else:
                self._idle.append(process)
            finally:
                self._busy.discard(process)
        if error:
            raise TypesettingFailed(error)
        return result


async def _start() -> Process:
    # A session of its own, so that Ctrl-C in the terminal reaches only the worker, which lets running jobs finish.
    command = [sys.executable, "-P", "-m", "arqway.workers.jobs.report.printer"]
    limit = ANSWER_LINE_MAX_BYTES
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=limit, start_new_session=True)


async def _exchange(process: Process, request: Any) -> Any:
    assert process.stdin is not None  # noqa: S101  both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
        return json.loads(await process.stdout.readuntil(b"\n"))
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        raise TypesettingFailed("The typesetting process died.") from error


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


async def _end(process: Process) -> None:
    _kill(process)
    # Reading to the end lets the pipes close; only then does asyncio consider a process ended.
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await process.communicate()
