import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.jobs.report.settings import FailureInjector, TransientFailure


@given(st.integers(), st.text(min_size=1), st.integers(1, 100))
def test_a_seed_decides_for_good_which_attempts_fail(seed: int, job_id: str, attempt: int) -> None:
    """Two injectors of one seed agree on each attempt of each job."""
    assert FailureInjector(0.5, seed).strikes(job_id, attempt) == FailureInjector(0.5, seed).strikes(job_id, attempt)


@pytest.mark.parametrize(("rate", "failures"), [(0.0, 0), (1.0, 1000)])
def test_the_ends_of_the_scale_are_never_and_always(rate: float, failures: int) -> None:
    """At rate 0 no attempt fails, at rate 1 each does, with a seed or without."""
    for injector in (FailureInjector(rate), FailureInjector(rate, 7)):
        assert sum(injector.strikes(f"job-{n}", 1) for n in range(1000)) == failures


def test_about_the_asked_share_of_attempts_fails_and_a_later_one_may_not() -> None:
    """At rate 0.3 some 30 % of jobs fail at first, and most of those get through at their second attempt."""
    injector = FailureInjector(0.3, seed=1)
    struck = [f"job-{n}" for n in range(1000) if injector.strikes(f"job-{n}", 1)]

    assert 250 < len(struck) < 350
    assert sum(injector.strikes(job_id, 2) for job_id in struck) < len(struck) / 2


def test_a_strike_is_an_ordinary_exception_that_names_the_attempt() -> None:
    """A struck attempt raises TransientFailure, which any retry policy can name."""
    with pytest.raises(TransientFailure, match="Attempt 3"):
        FailureInjector(1.0).strike("job", 3)
