"""The errors are as their tree says."""

import inspect
import re
from datetime import timedelta

import pytest

from arqway.workers.contract import errors
from arqway.workers.contract.errors import ArqwayError, DiscardJob, InvalidPayload, RetryJob

_CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass) if found.__module__ == errors.__name__]
_OURS = [found for found in _CLASSES if issubclass(found, ArqwayError)]
_BRANCH = re.compile(r"    ((?:│   |    )*(?:[├└]── )?)([A-Z]\w+(?:, [A-Z]\w+)*)")


def _drawn() -> dict[str, str]:
    """Return each error in the tree with the one that it hangs from."""
    found: dict[str, str] = {}
    path = ["Exception"]
    for line in (errors.__doc__ or "").splitlines():
        if branch := _BRANCH.match(line):
            depth, names = len(branch[1]) // 4, branch[2].split(", ")
            found |= dict.fromkeys(names, path[depth])
            path[depth + 1 :] = names[-1:]
    return found


def test_the_tree_is_the_module() -> None:
    """The tree in the module's docstring names every error, where it hangs, and no other."""
    built_in = {"TimeoutError": "Exception"}  # whatever is no error of ours hangs from the top
    bases = {error.__name__: error.__bases__[0].__name__ for error in _CLASSES}
    assert _drawn() == {name: built_in.get(base, base) for name, base in bases.items()}


@pytest.mark.parametrize("error", _OURS, ids=lambda error: error.__name__)
def test_a_docstring_is_the_default_message(error: type[ArqwayError]) -> None:
    """An error raised without words says what its class is, in one sentence."""
    assert str(error()) == (error.__doc__ or "")
    assert str(error()).endswith(".")


@pytest.mark.parametrize("error", _OURS, ids=lambda error: error.__name__)
def test_words_of_its_own_replace_it(error: type[ArqwayError]) -> None:
    """An error raised with words says those."""
    assert str(error("Said so.")) == "Said so."


def test_a_wrong_payload_says_what_is_wrong() -> None:
    """The list of what does not fit travels with the error; without one it is empty."""
    assert InvalidPayload(errors=[{"loc": ("n",)}]).errors == [{"loc": ("n",)}]
    assert list(InvalidPayload().errors) == []


def test_instructions_are_no_errors_of_ours() -> None:
    """``except ArqwayError`` in a job catches neither instruction; both are exceptions, so a job may raise them."""
    for instruction in (RetryJob, DiscardJob):
        assert issubclass(instruction, Exception)
        assert not issubclass(instruction, ArqwayError)


def test_an_instruction_carries_its_arguments() -> None:
    """What the author says about the delay, the code and the message is kept."""
    assert RetryJob(after=timedelta(seconds=3)).after == timedelta(seconds=3)
    discard = DiscardJob("unknown_customer", "There is no such customer.")
    assert (discard.code, discard.message, str(discard)) == ("unknown_customer", *2 * ["There is no such customer."])
