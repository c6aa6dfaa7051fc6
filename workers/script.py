"""Lua scripts: each is one atomic step of a job's life, in ``workers/lua/<name>.lua``.

Every script is loaded behind ``prelude.lua`` and the table of legal moves, so Redis checks the same moves as Python.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from workers.contract.events import EVENTS_KEPT
from workers.contract.states import TRANSITIONS

Value = str | bytes | int | float


def moves_in_lua() -> str:
    """Return ``TRANSITIONS`` as a Lua table: ``MOVES[before][after] == true`` for a legal move."""
    rows = (
        f"{before}={{{','.join(f'{after}=true' for after in sorted(moves))}}}" for before, moves in TRANSITIONS.items()
    )
    return f"local MOVES={{{','.join(rows)}}}\nlocal EVENTS_KEPT={EVENTS_KEPT}\n"


@cache
def _source(name: str) -> str:
    return (files("workers") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


class Script:
    """One script, called by its hash and sent whole only to a server that has not seen it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._text = moves_in_lua() + _source("prelude") + _source(name)
        self._sha = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: Sequence[str] = (), args: Sequence[Value] = ()) -> Any:
        """Run the script. Atomic. Raises redis-py's errors as they are."""
        execute: Callable[..., Awaitable[Any]] = redis.execute_command
        try:
            return await execute("EVALSHA", self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return await execute("EVAL", self._text, len(keys), *keys, *args)
