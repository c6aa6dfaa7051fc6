"""From the pieces of a stream to the times of its reports, however the network cut it up."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.http.receipts import Read, Receipt, receipts

_MS = 1_000_000


def line(sent_ns: int) -> bytes:
    """A report as it stands in a stream."""
    return b'id: 1-0\nevent: progress\ndata: {"current":1,"total":2,"message":"sent=%d"}\n\n' % sent_ns


def pieces(stream: bytes, cuts: set[int]) -> list[Read]:
    """The stream in pieces; each comes a millisecond after the one before."""
    ends = sorted({0, len(stream), *cuts})
    return [(number * _MS, stream[start:end]) for number, (start, end) in enumerate(pairwise(ends), start=1)]


@given(st.data(), st.lists(st.integers(1, 10**18), min_size=1, max_size=5, unique=True))
def test_a_report_comes_with_the_piece_that_completes_its_line(data: st.DataObject, sent: list[int]) -> None:
    """Wherever the stream is cut, the receipt's time is that of the piece with the end of the line."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    stream = head + b"".join(map(line, sent))
    reads = pieces(stream, data.draw(st.sets(st.integers(1, len(stream) - 1))))
    expected = []
    for sent_ns in sent:
        line_end = stream.index(b"\n", stream.index(b'sent=%d"' % sent_ns))
        before = 0
        for came_ns, piece in reads:
            before += len(piece)
            if before > line_end:
                expected.append(Receipt(sent_ns, came_ns))
                break
    assert receipts(reads) == expected


def test_the_first_receipt_counts() -> None:
    """A report that is replayed was received already."""
    assert receipts([(5, line(1)), (9, line(1))]) == [Receipt(1, 5)]


def test_a_line_that_never_ends_is_not_received() -> None:
    """Digits may be missing from it."""
    assert receipts([(5, line(1)), (6, b'data: {"message":"sent=12')]) == [Receipt(1, 5)]
    assert receipts([]) == []


def test_a_delay_is_in_milliseconds() -> None:
    """Both times are nanoseconds of one clock."""
    assert Receipt(1 * _MS, 4 * _MS).delay_ms == 3
