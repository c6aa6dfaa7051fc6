"""Waits grow, have a bound, and begin small again after success."""

from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.background import Backoff

_FIRST_S = 0.05
caps = st.floats(0.001, 3600)
counts = st.integers(1, 60)


def _waits(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_s() for _ in range(count)]


@given(caps, counts)
def test_no_wait_is_longer_than_the_cap(cap_s: float, count: int) -> None:
    """Every wait takes some time, and none more than the cap, however often it was in vain."""
    assert all(0 < wait <= cap_s for wait in _waits(Backoff(cap_s=cap_s), count))


@given(caps, st.integers(2, 60))
def test_waits_grow_up_to_the_cap(cap_s: float, count: int) -> None:
    """A wait is at least half of the cap in the end, and before that at least as long as the last one's bound."""
    waits = _waits(Backoff(cap_s=cap_s), count)
    floors = [min(_FIRST_S * 2**n, cap_s) / 2 for n in range(count)]
    assert all(wait >= floor for wait, floor in zip(waits, floors, strict=True))


@given(counts)
def test_success_begins_again(count: int) -> None:
    """After a reset the first wait is as short as the first ever."""
    backoff = Backoff()
    _waits(backoff, count)
    backoff.reset()
    assert backoff.next_s() <= _FIRST_S


def test_processes_do_not_come_back_together() -> None:
    """The waits of many are spread over half of the bound."""
    firsts = [Backoff().next_s() for _ in range(200)]
    assert len(set(firsts)) > 100
    assert max(firsts) - min(firsts) > _FIRST_S / 4
