"""No two things share a key, whatever a job or a queue is called."""

import inspect
import re
from collections.abc import Callable
from importlib.resources import files

import pytest
from arq import constants
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract import keys

_FUNCTIONS: dict[str, Callable[[str], str]] = {
    name: found for name, found in vars(keys).items() if inspect.isfunction(inspect.unwrap(found))
}
_PARAMETERS = {name: tuple(inspect.signature(found).parameters) for name, found in _FUNCTIONS.items()}
_CHECKS = {"is_job_id", "is_queue_name", "is_tenant_name", "is_word", "queue_of"}
_OF_JOB = [
    _FUNCTIONS[name]
    for name, given in _PARAMETERS.items()
    if len(given) == 1 and given != ("name",) and name not in _CHECKS
]
_OF_QUEUE = [_FUNCTIONS[name] for name, given in _PARAMETERS.items() if given == ("name",) and name not in _CHECKS]
_PREFIXES = {value for name, value in vars(keys).items() if name.endswith("_PREFIX")}
_SETTINGS = {"DEFAULT_QUEUE", "DEFAULT_TENANT", "WEBHOOK_QUEUE", "WEBHOOK_KIND"}
_SINGLE = {
    value
    for name, value in vars(keys).items()
    if name.isupper()
    and isinstance(value, str)
    and name[0] != "_"
    and not name.endswith("_PREFIX")
    and name not in _SETTINGS
}
_WORDS = ["job", "job-events", "job-cancel", "arq", "queue", "retry", "wake", "health-check", "default", "a", ".", ":"]

_confusing = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=5).map(":".join)
job_ids = (st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:~-]{0,20}", fullmatch=True) | _confusing).filter(keys.is_job_id)
queues = (st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True) | _confusing).filter(keys.is_queue_name)


def _health_check(queue: str) -> str:
    return keys.queue(queue) + constants.health_check_key_suffix


def _arq_retry(job_id: str) -> str:
    return constants.retry_key_prefix + job_id


def test_every_function_belongs_to_a_job_or_to_a_queue() -> None:
    """The tests below see every function that makes a key."""
    assert {found.__name__ for found in _OF_JOB + _OF_QUEUE} | _CHECKS == set(_FUNCTIONS)
    assert len(_OF_JOB) >= 6
    assert len(_OF_QUEUE) >= 2


@given(st.sets(job_ids, max_size=4), st.sets(queues | st.just(keys.DEFAULT_QUEUE), max_size=4))
def test_no_two_things_share_a_key(ids: set[str], names: set[str]) -> None:
    """Keys of different kinds, jobs and queues are different, arq's own health and retry keys included."""
    made = [of(job_id) for of in (*_OF_JOB, _arq_retry) for job_id in ids]
    made += [of(name) for of in (*_OF_QUEUE, _health_check) for name in names]
    made += _SINGLE
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("of", _OF_JOB, ids=lambda of: of.__name__)
def test_a_job_id_comes_last_behind_a_prefix_of_its_own(of: Callable[[str], str]) -> None:
    """No kind's prefix begins with another kind's, so no id, however odd, leads into another kind's keys."""
    prefix = of("")
    others = (_PREFIXES | _SINGLE) - {prefix}
    assert prefix in _PREFIXES
    assert not [other for other in others if other.startswith(prefix) or prefix.startswith(other)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (keys.queue(keys.DEFAULT_QUEUE), constants.default_queue_name),
        (keys.ENVELOPE_PREFIX, constants.job_key_prefix),
        (keys.LEASE_PREFIX, constants.in_progress_key_prefix),
        (keys.ARQ_RESULT_PREFIX, constants.result_key_prefix),
        (keys.ARQ_ABORT, constants.abort_jobs_ss),
    ],
)
def test_shared_keys_are_those_of_stock_arq(ours: str, theirs: str) -> None:
    """Stock producers and tools find our jobs where arq keeps its own."""
    assert ours == theirs


def test_the_table_names_every_prefix() -> None:
    """The module's table is the list of all keys."""
    column = [line.split("``")[1] for line in (keys.__doc__ or "").splitlines() if line.startswith("``")]
    prefixes = {re.split(r"[\[{]", key)[0] for key in column[:-1]}
    assert prefixes == _PREFIXES | _SINGLE - {keys.CANCEL_CHANNEL}


def test_the_scripts_spell_the_same_prefixes() -> None:
    """Every key that a Lua script makes begins as one of this module's does."""
    folders = files("arqway.workers.store") / "lua", files("arqway.workers.store") / "lua" / "library"
    lua = "\n".join(path.read_text() for folder in folders for path in folder.iterdir() if path.is_file())
    spelled = set(re.findall(r"'\^?([a-z-]+(?::[a-z-]+)*:?)(?:\(\.\+\)\$)?'", lua))
    known = _PREFIXES | _SINGLE | {f"{keys.QUEUE_PREFIX}:"}
    assert {text for text in spelled if ":" in text or text.startswith(("job-", "arq-"))} <= known
    in_python_only = {keys.AUDIT}
    assert {of("") for of in _OF_JOB} | _SINGLE - in_python_only <= spelled


@pytest.mark.parametrize("job_id", ["a", "0", "A" * 128, "a:b", "report~1.2_3-4", "arq:queue", "events"])
def test_a_job_id_that_may_be(job_id: str) -> None:
    """Ids of other systems, UUIDs and paths of words are fine."""
    assert keys.is_job_id(job_id)


@pytest.mark.parametrize(
    "job_id", ["", "A" * 129, ":a", "-a", ".a", "a b", "a/b", "a\n", "\na", "a\0", "ä", "a{b}", "a*"]
)
def test_a_job_id_that_may_not_be(job_id: str) -> None:
    """Nothing empty, endless, invisible, globbing or beyond ASCII names a job."""
    assert not keys.is_job_id(job_id)


@pytest.mark.parametrize("name", ["default", "reports", "a" * 63, "0", "low.prio_2-x"])
def test_a_queue_name_that_may_be(name: str) -> None:
    """Lower-case words name queues."""
    assert keys.is_queue_name(name)


@pytest.mark.parametrize("name", ["", "a" * 64, "A", "a:b", "health-check", "-a", "a\n", "a b", "ä"])
def test_a_queue_name_that_may_not_be(name: str) -> None:
    """Nothing with a colon, and not the name under which arq keeps its health record."""
    assert not keys.is_queue_name(name)
