"""New job ids: 128 random bits as 32 hexadecimal digits.

The system is asked for a few thousand random bytes at a time: each request takes half as long as a submission.
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
    """Return ids made directly from the system's random numbers."""
    digits = token_bytes(_BYTES * count).hex()
    return [digits[i : i + 2 * _BYTES] for i in range(0, len(digits), 2 * _BYTES)]


_pool = _Pool()
new_id = _pool.take
"""Return an id that was never used before."""

os.register_at_fork(after_in_child=_pool.forget)  # or parent and child would hand out the same ids
