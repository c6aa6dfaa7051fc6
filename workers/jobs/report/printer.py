"""The typesetting process, ``python -m arqway.workers.jobs.report.printer``: started only by ``press.py``.

``report.typ`` holds the layout, on which this module runs typst. The same content makes the same bytes: only typst's
own fonts are used, and the document is dated with the last day that its figures cover, not the day of printing.

A request is one line of JSON, ``[task, arguments]``. So is the answer, ``[error, result]``: the error is null, or a
text. The process exits when its standard input closes, so it does not outlive its worker.
"""

import json
import os
import sys
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from typst import Compiler

from arqway.workers.jobs.report.charts import draw_charts


@cache
def typesetter() -> Compiler:
    """Return this process's compiler. Creating it reads the fonts; later documents reuse earlier layout work."""
    return Compiler(Path(__file__).with_name("report.typ"), ignore_system_fonts=True)


def typeset(content: dict[str, Any], charts: dict[str, str]) -> tuple[bytes, int]:
    """Typeset a report; return the PDF and its number of pages.

    The document is PDF/UA, that is, accessible to screen readers.

    Args:
        content: As made by ``compose``.
        charts: SVG documents by name, as made by ``draw_charts``.
    """
    as_of = datetime.fromisoformat(content["as_of"]).replace(tzinfo=UTC)
    inputs = {"content": json.dumps(content), **charts}
    pdf = typesetter().compile(format="pdf", sys_inputs=inputs, timestamp=as_of, pdf_standards="ua-1")
    pages = json.loads(typesetter().query("<pages>", field="value", one=True))
    assert isinstance(pdf, bytes)  # noqa: S101  one document, no output path
    return pdf, pages


def _typeset_as_text(content: dict[str, Any], charts: dict[str, str]) -> tuple[str, int]:
    pdf, pages = typeset(content, charts)
    return b64encode(pdf).decode(), pages


TASKS: dict[str, Callable[..., Any]] = {"draw_charts": draw_charts, "typeset": _typeset_as_text}


def main() -> None:
    """Answer requests until there are no more."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints goes to standard error
        typesetter()
        for line in sys.stdin.buffer:
            task, arguments = json.loads(line)
            try:
                answer = [None, TASKS[task](*arguments)]
            except Exception as error:
                answer = [f"{type(error).__name__}: {error}", None]
            answers.write(f"{json.dumps(answer)}\n")
            answers.flush()


if __name__ == "__main__":
    main()
