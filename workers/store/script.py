"""Lua scripts: each is one atomic step of a job's life, in ``workers/store/lua/<name>.lua``.

Every script is preceded by the table of legal state transitions, so that Redis enforces the same ones as Python, and
by ``prelude.lua``. A header line ``-- Uses library: a, b`` inserts ``library/a.lua`` and ``library/b.lua`` after these.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from arqway.workers.contract.events import EVENTS_KEPT, FEED_KEPT
from arqway.workers.contract.record import ATTEMPTS_KEPT
from arqway.workers.contract.states import TRANSITIONS

Value = str | bytes | int | float

_USES = re.compile(r"^-- Uses library: (.+)$", re.MULTILINE)


def moves_in_lua() -> str:
    """Return ``TRANSITIONS`` as a Lua table, with ``MOVES[before][after] == true`` for a legal transition.

    The limits that scripts share with Python follow as local variables.
    """
    rows = (
        f"{before}={{{','.join(f'{after}=true' for after in sorted(moves))}}}" for before, moves in TRANSITIONS.items()
    )
    kept = {"EVENTS_KEPT": EVENTS_KEPT, "FEED_KEPT": FEED_KEPT, "ATTEMPTS_KEPT": ATTEMPTS_KEPT}
    numbers = "".join(f"local {name}={number}\n" for name, number in kept.items())
    return f"local MOVES={{{','.join(rows)}}}\n{numbers}"


@cache
def _source(name: str) -> str:
    return (files("arqway.workers.store") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _whole(name: str) -> str:
    own = _source(name)
    uses = _USES.search(own)
    libraries = [f"library/{library}" for library in uses[1].split(", ")] if uses else []
    return moves_in_lua() + "".join(map(_source, ["prelude", *libraries])) + own


class Script:
    """A script, called by its hash; its text is sent only to a server that does not have it yet."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._text = _whole(name)
        self._sha = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: Sequence[str] = (), args: Sequence[Value] = ()) -> Any:
        """Run the script. Atomic. Errors of redis-py propagate unchanged."""
        execute: Callable[..., Awaitable[Any]] = redis.execute_command
        try:
            return await execute("EVALSHA", self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return await execute("EVAL", self._text, len(keys), *keys, *args)


@cache
def script(name: str) -> Script:
    """Return the script ``lua/{name}.lua``."""
    return Script(name)
