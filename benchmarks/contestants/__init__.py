"""One file for each contestant: its jobs, its worker's settings, and its client. Each runs in its own environment.

A module offers ``client()``, an asynchronous context manager that gives a ``Client``. Its jobs are named ``noop`` and
``nap`` (ours also ``compute``) and take one number, the time at which they were sent. ``REDIS_URL`` names the server.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple


class Client(NamedTuple):
    """How jobs are submitted. Exactly one of ``submit`` and ``submit_blocking`` is there."""

    submit: Callable[[str, float], Awaitable[Any]] | None = None
    """(kind, sent_s): the library's own call for one job."""
    submit_blocking: Callable[[str, float], Any] | None = None
    """The same for a library without asyncio."""
    submit_many: Callable[[str, int], Awaitable[Any]] | None = None
    """(kind, jobs): the library's own way for many; None where it has none."""
