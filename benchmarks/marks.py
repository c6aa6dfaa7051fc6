"""What every contestant's jobs do, and how they say so. Runs in each contestant's own environment: nothing but Python.

A job appends one mark to a file: when it was sent (0: nobody asked), when it began, when it ended, and its process. The
clock is CLOCK_MONOTONIC, which all processes of a machine share. A write this short with O_APPEND is never torn.
"""

import asyncio
import hashlib
import os
import struct
import time
from typing import NamedTuple

NAP_S = 0.01
_COMPUTE_ROUNDS = 4_000
"""About a millisecond's worth of one core."""

_LAYOUT = struct.Struct("<dddi")
_FILE = os.open(os.environ.get("BENCH_MARKS", os.devnull), os.O_WRONLY | os.O_APPEND)


class Mark(NamedTuple):
    """One job's own account of itself, in seconds of the monotonic clock."""

    sent_s: float
    started_s: float
    ended_s: float
    process: int


MARK_BYTES = _LAYOUT.size


def unpack(raw: bytes) -> list[Mark]:
    """Read all whole marks."""
    whole = raw[: len(raw) // MARK_BYTES * MARK_BYTES]
    return [Mark(*fields) for fields in _LAYOUT.iter_unpack(whole)]


def mark(sent_s: float, started_s: float) -> None:
    """Append the mark of a job that ends now."""
    os.write(_FILE, _LAYOUT.pack(sent_s, started_s, time.monotonic(), os.getpid()))


async def noop(sent_s: float) -> None:
    """Do nothing."""
    mark(sent_s, time.monotonic())


async def nap(sent_s: float) -> None:
    """Wait as a job does that waits for somebody's answer."""
    started_s = time.monotonic()
    await asyncio.sleep(NAP_S)
    mark(sent_s, started_s)


async def compute(sent_s: float) -> None:
    """Keep a core busy, and the worker's event loop with it."""
    started_s = time.monotonic()
    hashlib.pbkdf2_hmac("sha256", b"arqway", b"benchmark", _COMPUTE_ROUNDS)
    mark(sent_s, started_s)


def blocking_noop(sent_s: float) -> None:
    """Do nothing, for libraries that run jobs in threads."""
    mark(sent_s, time.monotonic())


def blocking_nap(sent_s: float) -> None:
    """Wait in a thread."""
    started_s = time.monotonic()
    time.sleep(NAP_S)
    mark(sent_s, started_s)
