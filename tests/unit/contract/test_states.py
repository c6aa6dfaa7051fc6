"""The table of legal moves, and the copy of it that Redis checks."""

from importlib.resources import files

import pytest
from redis import Redis

from arqway.workers.contract.states import TERMINAL_STATES, TRANSITIONS, JobState
from arqway.workers.store.connection import moves_in_lua

_STARTS = {JobState.SCHEDULED, JobState.QUEUED}
_PAIRS = {(before, after) for before, moves in TRANSITIONS.items() for after in moves}
_LIST_MOVES = """
local found = {}
for before, moves in pairs(MOVES) do
  for after, legal in pairs(moves) do found[#found + 1] = {before, after, tostring(legal)} end
end
return found
"""


def _reachable(starts: set[JobState]) -> set[JobState]:
    found = set(starts)
    while new := {after for before in found for after in TRANSITIONS[before]} - found:
        found |= new
    return found


def test_every_state_has_a_row_of_moves() -> None:
    """The table speaks of every state, and of nothing else."""
    assert set(TRANSITIONS) == set(JobState)


def test_only_the_three_ends_are_terminal() -> None:
    """A job ends succeeded, failed or cancelled, and in no other way."""
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == TERMINAL_STATES


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_nothing_follows_a_terminal_state(state: JobState) -> None:
    """No state may be written over a terminal one, not even itself."""
    assert TRANSITIONS[state] == frozenset()


def test_every_state_can_be_reached_by_a_submitted_job() -> None:
    """From scheduled and queued, where jobs begin, every state can come about; scheduled only by beginning there."""
    assert _reachable(_STARTS) == set(JobState)
    assert _reachable({JobState.QUEUED}) == set(JobState) - {JobState.SCHEDULED}


@pytest.mark.parametrize("state", sorted(set(JobState) - TERMINAL_STATES))
def test_every_live_job_can_reach_every_end(state: JobState) -> None:
    """No live state is a trap: each of the three ends stays possible."""
    assert _reachable({state}) >= TERMINAL_STATES


@pytest.mark.parametrize("state", sorted(set(JobState) - TERMINAL_STATES))
def test_a_person_can_cancel_whatever_has_not_ended(state: JobState) -> None:
    """Every live state may move to cancelled directly."""
    assert JobState.CANCELLED in TRANSITIONS[state]


def test_a_job_that_waits_can_only_be_claimed_or_cancelled() -> None:
    """What waits has no other way on: no job succeeds or fails without having run."""
    for state in (JobState.SCHEDULED, JobState.QUEUED, JobState.RETRYING):
        assert TRANSITIONS[state] == {JobState.RUNNING, JobState.CANCELLED}


def test_the_table_cannot_be_changed() -> None:
    """The one list of legal moves is the same for everybody, always."""
    with pytest.raises(TypeError):
        TRANSITIONS[JobState.FAILED] = frozenset()  # type: ignore[index]


def test_redis_has_the_same_table(redis_url: str) -> None:
    """The Lua table, run by the server, holds the moves of ``TRANSITIONS`` and no other."""
    with Redis.from_url(redis_url, decode_responses=True) as client:
        found = client.eval(moves_in_lua() + _LIST_MOVES, 0)
    assert {(before, after) for before, after, legal in found if legal == "true"} == _PAIRS
    assert len(found) == len(_PAIRS)


@pytest.mark.parametrize("before", [*JobState, "unheard-of"])
def test_redis_allows_what_python_allows(redis_url: str, before: str) -> None:
    """``may_move`` of the scripts allows the moves of ``TRANSITIONS``; from an unknown state nothing may move."""
    prelude = (files("arqway.workers.store") / "lua" / "prelude.lua").read_text()
    script = moves_in_lua() + prelude + "return may_move(ARGV[1], ARGV[2]) and 1 or 0"
    with Redis.from_url(redis_url) as client:
        allowed = {after for after in JobState if client.eval(script, 0, before, after)}
    assert allowed == (TRANSITIONS[JobState(before)] if before in set(JobState) else set())
