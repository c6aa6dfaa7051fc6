"""What follows a failed attempt, for any policy, attempt and luck."""

from datetime import timedelta

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from arqway.workers.contract.errors import DiscardJob, JobTimedOut, RetryJob
from arqway.workers.contract.retry import NO_RETRY, GiveUp, RetryAfter, RetryPolicy

_DECADES = timedelta(days=365 * 30)
_MS = timedelta(milliseconds=1)

attempts = st.integers(1, 10**6)
luck = st.floats(0, 1, exclude_max=True)
times = st.timedeltas(timedelta(0), _DECADES)
policies = st.builds(RetryPolicy, max_attempts=st.integers(2, 10**9), on=st.just((Exception,)), base=times, cap=times)
errors = st.sampled_from([ValueError("v"), OSError("o"), JobTimedOut("t"), RetryJob(), RetryJob(after=_DECADES)])


@given(policies, attempts, luck)
@example(RetryPolicy(max_attempts=2, on=(Exception,)), 10_000, 0.5)
@example(RetryPolicy(max_attempts=2, on=(Exception,), base=_DECADES, cap=_DECADES), 10**9, 0.999999999)
def test_a_delay_is_never_longer_than_the_cap(policy: RetryPolicy, attempt: int, random: float) -> None:
    """For any attempt, however late, 0 ≤ delay ≤ cap, and nothing overflows."""
    assert timedelta(0) <= policy.delay_ms(attempt, random) * _MS <= policy.cap


@given(policies, attempts)
def test_the_longest_delay_doubles_until_the_cap(policy: RetryPolicy, attempt: int) -> None:
    """Each attempt's longest delay is twice the last one's, or the cap; the first one's is the base, or the cap."""
    cap_ms, (first, now, later) = policy.cap // _MS, [policy.delay_ms(n, 1.0) for n in (1, attempt, attempt + 1)]
    assert first == min(cap_ms, policy.base // _MS)
    assert later == min(cap_ms, 2 * now)


@given(policies, attempts, luck, luck)
def test_a_delay_grows_with_chance(policy: RetryPolicy, attempt: int, one: float, other: float) -> None:
    """The jitter is over the whole range: no luck means no delay, more luck never a shorter one."""
    assert policy.delay_ms(attempt, 0.0) == 0
    assert policy.delay_ms(attempt, min(one, other)) <= policy.delay_ms(attempt, max(one, other))


@given(policies, attempts, luck, errors)
@example(RetryPolicy(max_attempts=10**9, on=(Exception,)), 10**9, 0.5, ValueError())
def test_no_attempt_follows_the_last(policy: RetryPolicy, attempt: int, random: float, error: Exception) -> None:
    """Another attempt follows a failed one if and only if ``max_attempts`` leaves one, whatever the error asks for."""
    follows = isinstance(policy.decide(error, attempt, random), RetryAfter)
    assert follows == (attempt < policy.max_attempts)


@given(st.integers(1, 50), errors, luck)
def test_max_attempts_counts_runs(max_attempts: int, error: Exception, random: float) -> None:
    """A job that always fails runs ``max_attempts`` times in all."""
    policy, runs = RetryPolicy(max_attempts=max_attempts, on=(Exception,)), 1
    while isinstance(policy.decide(error, runs, random), RetryAfter):
        runs += 1
    assert runs == max_attempts


@given(policies, attempts, luck)
def test_a_discarded_job_is_never_tried_again(policy: RetryPolicy, attempt: int, random: float) -> None:
    """``DiscardJob`` ends a job though the policy would retry any exception."""
    assert policy.decide(DiscardJob("code", "message"), attempt, random) == GiveUp()


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit(), JobTimedOut()])
def test_an_error_that_is_not_named_is_not_retried(error: BaseException) -> None:
    """Only what ``on`` names is tried again, subclasses included."""
    policy = RetryPolicy(max_attempts=5, on=(ConnectionError, LookupError))
    assert policy.decide(error, 1, 0.5) == GiveUp()
    assert isinstance(policy.decide(KeyError(), 1, 0.5), RetryAfter)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_is_no_exception_is_not_retried(error: BaseException) -> None:
    """``on=(Exception,)`` takes all errors of a program, and none that ends the interpreter."""
    assert RetryPolicy(max_attempts=5, on=(Exception,)).decide(error, 1, 0.5) == GiveUp()


def test_a_timeout_is_an_exception_like_others() -> None:
    """``on=(Exception,)`` covers the time limit, and ``on=(JobTimedOut,)`` names it."""
    for named in (Exception, JobTimedOut):
        assert isinstance(RetryPolicy(max_attempts=2, on=(named,)).decide(JobTimedOut(), 1, 0.5), RetryAfter)


@given(policies, attempts, luck, times)
def test_a_job_chooses_its_own_delay(policy: RetryPolicy, attempt: int, random: float, after: timedelta) -> None:
    """``RetryJob(after=…)`` is obeyed to the millisecond, beyond the cap too and whether or not ``on`` names it."""
    assume(attempt < policy.max_attempts)
    assert policy.decide(RetryJob(after=after), attempt, random) == RetryAfter(after // _MS)
    named = RetryPolicy(max_attempts=policy.max_attempts, on=(KeyError,))
    assert named.decide(RetryJob(after=after), attempt, random) == RetryAfter(after // _MS)


@given(policies, attempts, luck)
def test_a_job_may_leave_the_delay_to_the_policy(policy: RetryPolicy, attempt: int, random: float) -> None:
    """``RetryJob()`` waits as long as any error that is retried."""
    assume(attempt < policy.max_attempts)
    assert policy.decide(RetryJob(), attempt, random) == RetryAfter(policy.delay_ms(attempt, random))


@given(times, luck)
def test_a_negative_wish_means_at_once(after: timedelta, random: float) -> None:
    """``RetryJob(after=…)`` in the past is due now, not before."""
    policy = RetryPolicy(max_attempts=2, on=(Exception,))
    assert policy.decide(RetryJob(after=-after), 1, random) == RetryAfter(0)


@given(attempts, luck, errors)
def test_without_a_policy_a_job_runs_once(attempt: int, random: float, error: Exception) -> None:
    """The default policy never tries again, not even when asked to."""
    assert NO_RETRY.decide(error, attempt, random) == GiveUp()


def test_retrying_demands_that_errors_are_named() -> None:
    """``on`` is mandatory as soon as there is more than one attempt, and is not with one."""
    with pytest.raises(ValueError, match="on="):
        RetryPolicy(max_attempts=2)
    assert RetryPolicy(max_attempts=1).on == ()


@pytest.mark.parametrize("count", [0, -1, -(10**9)])
def test_a_job_runs_at_least_once(count: int) -> None:
    """No policy allows fewer than one run."""
    with pytest.raises(ValueError, match="at least 1"):
        RetryPolicy(max_attempts=count, on=(Exception,))


@pytest.mark.parametrize("name", ["base", "cap"])
def test_times_are_not_negative(name: str) -> None:
    """No policy waits for less than nothing, not even by a microsecond."""
    with pytest.raises(ValueError, match="negative"):
        RetryPolicy(**{name: timedelta(microseconds=-1)})  # type: ignore[arg-type]


def nested(errors: list[Exception], depth: int) -> ExceptionGroup:
    """Return a group of these errors, wrapped in further groups."""
    group = ExceptionGroup("several", errors)
    for _ in range(depth):
        group = ExceptionGroup("outer", [group])
    return group


KNOWN = RetryPolicy(max_attempts=3, on=(OSError,), base=timedelta(seconds=8))


@given(st.lists(errors, min_size=1, max_size=4), st.integers(0, 3), luck)
def test_a_group_is_decided_by_what_is_in_it(found: list[Exception], depth: int, random: float) -> None:
    """The longest delay that is asked for counts; without one, all must be errors that the policy retries."""
    decision = KNOWN.decide(nested(found, depth), 1, random)
    alone = [KNOWN.decide(error, 1, random) for error in found]
    asked = [each for error, each in zip(found, alone, strict=True) if isinstance(error, RetryJob)]
    counted = asked or alone
    if any(isinstance(each, GiveUp) for each in counted):
        assert decision == GiveUp()
    else:
        assert decision == max(counted, key=lambda each: each.delay_ms if isinstance(each, RetryAfter) else 0)


@given(st.lists(errors, max_size=3), st.integers(0, 3), luck)
def test_a_discard_in_a_group_ends_the_job(others: list[Exception], depth: int, random: float) -> None:
    """Whatever else the group holds."""
    assert KNOWN.decide(nested([*others, DiscardJob("c", "m")], depth), 1, random) == GiveUp()


def test_a_policy_may_name_the_group_itself() -> None:
    """``on=(ExceptionGroup,)`` retries any group."""
    policy = RetryPolicy(max_attempts=2, on=(ExceptionGroup,))
    assert isinstance(policy.decide(nested([KeyError()], 0), 1, 0.5), RetryAfter)
    assert policy.decide(KeyError(), 1, 0.5) == GiveUp()


def test_a_time_limit_is_a_timeout_error() -> None:
    """``on=(TimeoutError,)`` retries a job that ran out of time."""
    assert isinstance(RetryPolicy(max_attempts=2, on=(TimeoutError,)).decide(JobTimedOut(), 1, 0.5), RetryAfter)
