"""The typesetting process, ``python -m arqway.workers.jobs.report.printer``: started only by ``press.py``.

Request, one line: ``[task, arguments]``. Answer: one line ``{"error": text or null, "result": any, "size": n}``, then
``n`` bytes. It exits when its standard input closes, so it does not outlive its worker.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import IO, Any

from arqway.workers.jobs.report.charts import draw_charts
from arqway.workers.jobs.report.document import typeset, typesetter

Answer = tuple[Any, bytes]


def _draw_charts(content: dict[str, Any]) -> Answer:
    return draw_charts(content), b""


def _typeset(content: dict[str, Any], charts: dict[str, str]) -> Answer:
    pdf, pages = typeset(content, charts)
    return pages, pdf


TASKS: dict[str, Callable[..., Answer]] = {"draw_charts": _draw_charts, "typeset": _typeset}


def main() -> None:
    """Answer requests until there are no more."""
    requests = sys.stdin.buffer
    answers = _take_standard_output()
    typesetter()
    for line in requests:
        header, content = _perform(*json.loads(line))
        answers.write(json.dumps(header).encode() + b"\n" + content)
        answers.flush()


def _take_standard_output() -> IO[bytes]:
    """Reserve the pipe for answers: whatever a library prints goes to standard error."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


def _perform(task: str, arguments: list[Any]) -> tuple[dict[str, Any], bytes]:
    try:
        result, content = TASKS[task](*arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "result": None, "size": 0}, b""
    return {"error": None, "result": result, "size": len(content)}, content


if __name__ == "__main__":
    main()
