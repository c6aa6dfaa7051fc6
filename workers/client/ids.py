"""New ids of jobs: 128 random bits as 32 hexadecimal digits.

The system is asked for random bytes a few thousand at a time: each question takes as long as half of a submission.
"""

import os
from secrets import token_bytes

_BYTES, _POOL = 16, 256


class _Pool:
    def __init__(self) -> None:
        self._ids: list[str] = []

    def take(self) -> str:
        if not self._ids:
            self._ids = fresh_ids(_POOL)
        return self._ids.pop()

    def forget(self) -> None:
        self._ids = []


def fresh_ids(count: int) -> list[str]:
    """Return ids that come straight from the system's random numbers."""
    digits = token_bytes(_BYTES * count).hex()
    return [digits[i : i + 2 * _BYTES] for i in range(0, len(digits), 2 * _BYTES)]


_pool = _Pool()
new_id = _pool.take
"""Return an id that nobody has had."""

os.register_at_fork(after_in_child=_pool.forget)  # else parent and child would give the same ids
