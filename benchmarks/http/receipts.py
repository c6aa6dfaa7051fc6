"""What a listener wrote down, read afterwards: which report came when. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

_SENT = re.compile(rb"sent=(\d+)")


class Receipt(NamedTuple):
    """One report at one listener, in nanoseconds of the monotonic clock."""

    sent_ns: int
    received_ns: int

    @property
    def delay_ms(self) -> float:
        """How long it took."""
        return (self.received_ns - self.sent_ns) / 1e6


Read = tuple[int, bytes]
"""When a piece of a stream came, and the piece."""


def receipts(reads: Sequence[Read]) -> list[Receipt]:
    """Return the first receipt of each report, at the time of the piece that completed its line."""
    ends: list[tuple[int, int]] = []
    length = 0
    for came_ns, piece in reads:
        length += len(piece)
        ends.append((length, came_ns))
    whole = b"".join(piece for _, piece in reads)
    found: dict[int, Receipt] = {}
    place = 0
    for match in _SENT.finditer(whole):
        line_end = whole.find(b"\n", match.end())
        if line_end < 0:
            break
        while ends[place][0] <= line_end:
            place += 1
        sent_ns = int(match[1])
        found.setdefault(sent_ns, Receipt(sent_ns, ends[place][1]))
    return list(found.values())
