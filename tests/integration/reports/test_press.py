import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from arqway.workers.jobs.report.charts import draw_charts
from arqway.workers.jobs.report.press import Press, TypesettingFailed
from arqway.workers.jobs.report.printer import typeset
from tests.support.reports import compose_from, make_loaded_database
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of a report with 217 orders."""
    return compose_from(make_loaded_database(tmp_path_factory.mktemp("orders") / "loaded.db"), 14048)


def is_alive(process_id: int) -> bool:
    """Tell whether a process with this id exists."""
    return Path(f"/proc/{process_id}").exists() if Path("/proc").exists() else _answers_signals(process_id)


def _answers_signals(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_press_makes_what_this_process_would_make(content: dict[str, Any]) -> None:
    """Charts and PDF that come through the pipe are those of the functions themselves; one process does both."""
    async with Press(1) as press:
        charts = await press.draw_charts(content)
        printed = await press.typeset(content, charts)
        process_ids = press.process_ids

    assert charts == draw_charts(content)
    assert printed == typeset(content, charts)
    assert len(process_ids) == 1
    assert not any(map(is_alive, process_ids))


async def test_the_event_loop_runs_on_while_a_report_is_made(content: dict[str, Any]) -> None:
    """Other coroutines get their turns while charts are drawn, which blocking work would not let them have."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.002)
            turns += 1

    async with Press(1) as press:
        await press.draw_charts(content)
        ticker = asyncio.create_task(take_turns())
        await press.draw_charts(content)
        ticker.cancel()

    assert turns >= 5


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_cancelling_kills_the_process_and_the_press_goes_on(
    content: dict[str, Any], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """The process that works for a cancelled job is gone when the job's coroutine ends; the next job gets another."""

    async def cancel_one() -> None:
        async with Press(1) as press:
            before = press.process_ids
            drawing = asyncio.create_task(press.draw_charts(content))
            await wait_until(lambda: press.busy == 1, "a process is at work")
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)

            assert drawing.cancelled()
            assert not any(map(is_alive, before))
            assert await press.draw_charts(content)
            assert press.process_ids.isdisjoint(before)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(cancel_one())


async def test_no_more_processes_than_allowed(content: dict[str, Any]) -> None:
    """Three reports at once on a press of two make do with two processes."""
    async with Press(2) as press:
        await asyncio.gather(*(press.draw_charts(content) for _ in range(3)))

        assert len(press.process_ids) == 2


async def test_an_error_in_the_process_is_told_and_spoils_nothing(content: dict[str, Any]) -> None:
    """Content that cannot be drawn is an error that names its cause, and the same process goes on with the next."""
    async with Press(1) as press:
        with pytest.raises(TypesettingFailed, match="KeyError: 'compact'"):
            await press.draw_charts({})
        before = press.process_ids

        assert set(await press.draw_charts(content)) == {"monthly", "standing"}
        assert press.process_ids == before


async def test_a_process_that_died_is_replaced(content: dict[str, Any]) -> None:
    """A process killed from outside costs at most the report that it was making."""
    async with Press(1) as press:
        (process_id,) = press.process_ids
        os.kill(process_id, 9)
        with pytest.raises(TypesettingFailed, match="died"):
            await press.draw_charts(content)

        assert await press.draw_charts(content)


async def test_leaving_the_press_stops_work_under_way(content: dict[str, Any]) -> None:
    """Closing resources waits for no report: its process is ended, and the coroutine told so."""
    async with Press(1) as press:
        process_ids = press.process_ids
        drawing = asyncio.create_task(press.draw_charts(content))
        await wait_until(lambda: press.busy == 1, "a process is at work")

    with pytest.raises(TypesettingFailed):
        await drawing
    assert not any(map(is_alive, process_ids))
