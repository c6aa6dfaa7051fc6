"""When the client tries again."""

from hypothesis import given
from hypothesis import strategies as st

from arqway.service.client.transport import FIRST_S, LONGEST_S, Patience

SHARES = st.floats(0, 1)
SECONDS = st.floats(0, 1e6)


def patience(share: float, *, until_s: float = 1e9, retries: int | None = None) -> Patience:
    """Return one whose random numbers are this share of the way from the least to the most."""
    return Patience(until_s=until_s, retries=retries, uniform=lambda least, most: least + share * (most - least))


@given(share=SHARES, now_s=SECONDS, until_s=SECONDS, told_s=st.none() | SECONDS, failures=st.integers(0, 30))
def test_a_pause_is_never_too_short_and_never_too_long(
    share: float, now_s: float, until_s: float, told_s: float | None, failures: int
) -> None:
    """It is no shorter than the service asked for, it ends before the patience does, and what is added is bounded."""
    several = patience(share, until_s=until_s)
    for _ in range(failures):
        several.pause_s(0, None)
    pause_s = several.pause_s(now_s, told_s)

    if pause_s is None:
        assert (told_s or 0) >= until_s - now_s
    else:
        assert (told_s or 0) <= pause_s <= (told_s or 0) + LONGEST_S
        assert pause_s < until_s - now_s


@given(share=SHARES, retries=st.integers(0, 10))
def test_it_ends_after_so_many_retries(share: float, retries: int) -> None:
    """The pauses are as many as the retries."""
    several = patience(share, retries=retries)
    pauses = [several.pause_s(0, None) for _ in range(retries + 1)]
    assert None not in pauses[:-1]
    assert pauses[-1] is None


def test_pauses_double_up_to_a_limit() -> None:
    """At their longest; full jitter makes each anything from nothing up to that."""
    longest = _pauses(1.0)
    assert longest[:4] == [FIRST_S, FIRST_S * 2, FIRST_S * 4, FIRST_S * 8]
    assert set(longest[-3:]) == {LONGEST_S}
    assert set(_pauses(0.0)) == {0.0}


def _pauses(share: float) -> list[float | None]:
    several = patience(share)
    return [several.pause_s(0, None) for _ in range(10)]
