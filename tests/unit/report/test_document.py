import re
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader

from arqway.workers.jobs.report.charts import draw_charts
from arqway.workers.jobs.report.printer import typeset
from tests.support.reports import compose_from

HEADER = ("No.", "Date", "Days since previous", "CDs", "Amount, USD", "Running total, USD")
MANY, ONE, FIVE = 14048, 123, 39


@pytest.fixture(scope="module")
def documents(loaded_database: Path) -> dict[int, bytes]:
    """The reports of a customer with 217 orders, one with a single order, and one with five."""
    contents = {customer: compose_from(loaded_database, customer) for customer in (MANY, ONE, FIVE)}
    return {customer: typeset(content, draw_charts(content))[0] for customer, content in contents.items()}


def pages_of(pdf: bytes) -> list[str]:
    """Return the text of each page, with every run of white space as one blank."""
    return [re.sub(r"\s+", " ", page.extract_text()) for page in PdfReader(BytesIO(pdf)).pages]


def test_the_first_page_tells_the_key_facts(documents: dict[int, bytes]) -> None:
    """The customer, what was spent, how often, and the place among all customers stand on the first page."""
    page = pages_of(documents[MANY])[0]

    for fact in ("Customer 14048", "$8,976.33", "217", "1,033 CDs", "$41.37", "rank 2 of 23,570", "more than 99.9%"):
        assert fact in page
    assert "from 19 February 1997 to 30 June 1998" in page


def test_the_charts_keep_their_text(documents: dict[int, bytes]) -> None:
    """The labels of the charts can be searched and read aloud: they are text, not outlines."""
    page = pages_of(documents[MANY])[0]

    assert {"Jan", "1998", "$10,000", "median"} <= set(page.split())


def test_the_order_table_repeats_its_header_on_each_page(documents: dict[int, bytes]) -> None:
    """All 217 orders are listed once, in order, and each page of the table begins with the names of its columns."""
    _, *table_pages = pages_of(documents[MANY])

    assert len(table_pages) == 5
    assert all(name in page for page in table_pages for name in HEADER)
    rows = re.findall(r"(?<![\d.,])(\d{1,3}) \d{1,2} \w{3} 199[78] ", " ".join(table_pages))
    assert [int(row) for row in rows] == list(range(1, 218))
    assert "Total 1,033 8,976.33" in table_pages[-1]


def test_each_page_is_numbered_and_names_shop_and_period(documents: dict[int, bytes]) -> None:
    """The footer says which page of how many this is, whose report, and of which time."""
    for pdf in documents.values():
        pages = pages_of(pdf)
        for number, page in enumerate(pages, start=1):
            assert f"Page {number} of {len(pages)}" in page
            assert "CDNOW" in page
            assert "1 January 1997 to 30 June 1998" in page


@pytest.mark.parametrize("customer", [ONE, FIVE])
def test_few_orders_fit_on_the_first_page(documents: dict[int, bytes], customer: int) -> None:
    """A report of up to five orders is a single page, table included."""
    (page,) = pages_of(documents[customer])

    assert all(name in page for name in HEADER)


def test_one_order_is_told_as_one(documents: dict[int, bytes]) -> None:
    """A customer with a single order reads of one order, and of no days between orders."""
    (page,) = pages_of(documents[ONE])

    assert "One order, of 1 CD for $31.99, on 1 January 1997." in page
    assert "needs a second order" in page


def test_the_file_says_what_it_is(documents: dict[int, bytes]) -> None:
    """Title, author and date are in the PDF's metadata; the date is the last day that the report covers."""
    metadata = PdfReader(BytesIO(documents[MANY])).metadata

    assert metadata is not None
    assert (metadata.title, metadata.author) == ("CDNOW: report on customer 14048", "CDNOW")
    assert metadata.creation_date is not None
    assert metadata.creation_date.date().isoformat() == "1998-06-30"


def test_the_same_orders_make_the_same_bytes(documents: dict[int, bytes], loaded_database: Path) -> None:
    """A report made again is the same file, byte for byte, and the page count that comes with it is the file's own."""
    content = compose_from(loaded_database, MANY)

    pdf, pages = typeset(content, draw_charts(content))

    assert pdf == documents[MANY]
    assert pages == len(PdfReader(BytesIO(pdf)).pages)
