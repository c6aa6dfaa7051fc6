"""The document: turns content and charts into a PDF. ``report.typ`` holds the layout; this module runs typst on it.

Deterministic: the same content makes the same bytes. Only typst's own fonts are used, and the document is dated with
the last day that its figures cover, not the day of printing.
"""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typst import Compiler

if TYPE_CHECKING:
    from typst import PDFStandard

LAYOUT = Path(__file__).with_name("report.typ")
STANDARD: "PDFStandard" = "ua-1"
"""PDF/UA: the document is accessible to screen readers."""


@cache
def typesetter() -> Compiler:
    """Return this process's compiler. Creating it reads the fonts; later documents reuse earlier layout work."""
    return Compiler(LAYOUT, ignore_system_fonts=True)


def typeset(content: dict[str, Any], charts: dict[str, str]) -> tuple[bytes, int]:
    """Typeset a report; return the PDF and its number of pages.

    Args:
        content: As made by ``compose``.
        charts: SVG documents by name, as made by ``draw_charts``.
    """
    compiler = typesetter()
    as_of = datetime.fromisoformat(content["as_of"]).replace(tzinfo=UTC)
    inputs = {"content": json.dumps(content), **charts}
    pdf = compiler.compile(format="pdf", sys_inputs=inputs, timestamp=as_of, pdf_standards=STANDARD)
    pages = json.loads(compiler.query("<pages>", field="value", one=True))
    assert isinstance(pdf, bytes)  # noqa: S101  one document, no output path
    return pdf, pages
