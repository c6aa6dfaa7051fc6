"""``arqway keys`` and ``arqway audit``. They talk to Redis, so anyone with access to Redis can make a key."""

import asyncio
import getpass
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import TypeVar

from arqway.service.cli.environment import embedded_server, on_server
from arqway.service.cli.terminal import FAILED, WRONG_INPUT, CommandError, moment, say, say_table, warn
from arqway.service.settings import ServiceSettings
from arqway.workers.client.access import Access, AuditEntry, FoundKey, open_access
from arqway.workers.contract.api_key import Rate, Scope, is_key_name
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.keys import is_tenant_name
from arqway.workers.settings import read_settings

AnswerT = TypeVar("AnswerT")
_KEYS = ("ID", "NAME", "TENANT", "SCOPES", "RATE", "CREATED", "EXPIRES", "REVOKED")
_AUDIT = ("WHEN", "WHO", "KEY", "TENANT", "ACTION", "TARGET", "COUNT", "OUTCOME", "REQUEST")


def create(arguments: Namespace) -> None:
    """Make a key and print only its token, so that a script can capture it."""
    if not is_key_name(arguments.name):
        raise CommandError("--name: a key is named by 1 to 64 printable characters", WRONG_INPUT)
    if not is_tenant_name(arguments.tenant):
        raise CommandError("--tenant: a tenant is named by 1 to 63 of a-z 0-9 _ -", WRONG_INPUT)
    if arguments.rate is None and arguments.burst is not None:
        raise CommandError("--burst needs --rate", WRONG_INPUT)
    try:
        rate = None if arguments.rate is None else Rate.of(arguments.rate, arguments.burst)
    except ValueError as error:
        raise CommandError(f"--rate: {error}", WRONG_INPUT) from None
    scopes = frozenset(map(Scope, arguments.scopes or (Scope.SUBMIT, Scope.READ)))
    limits = {"rate": rate, "expires_in": arguments.expires_in, "if_none": arguments.if_none}

    async def make(access: Access) -> str | None:
        made = await access.keys.create(arguments.name, tenant=arguments.tenant, scopes=scopes, **limits)
        if made is None:
            return None
        await _log(access, "key.create", made.key.id)
        return made.token.reveal()

    token = _ask_redis(make)
    if token is None:
        warn("there is a usable key, so none was made")
    else:
        say(token)


def list_keys(_: Namespace) -> None:
    """Print the keys, oldest first."""
    say_table(_KEYS, map(_key_row, _ask_redis(lambda access: access.keys.read_all())))


def _key_row(found: FoundKey) -> tuple[object, ...]:
    key = found.key
    times = map(moment, (key.created_ms, key.expires_ms, key.revoked_ms))
    return key.id, key.name, key.tenant, ",".join(sorted(key.scopes)), key.rate, *times


def revoke(arguments: Namespace) -> None:
    """Revoke a key."""

    async def end(access: Access) -> str:
        answer = await access.keys.revoke(arguments.id)
        if answer == "revoked":
            await _log(access, "key.revoke", arguments.id)
        return answer

    answer = _ask_redis(end)
    if answer == "unknown":
        raise CommandError(f"there is no key {arguments.id}; `arqway keys list` shows them", FAILED)
    say("revoked; running services accept it for up to 5 more seconds" if answer == "revoked" else "already revoked")


def audit(arguments: Namespace) -> None:
    """Print the latest entries of the audit log, oldest first."""
    say_table(_AUDIT, map(_audit_row, _ask_redis(lambda access: access.audit.last(arguments.last))))


def _audit_row(entry: AuditEntry) -> tuple[object, ...]:
    who = moment(entry.at_ms), entry.name, entry.key_id, entry.tenant
    return *who, entry.action, entry.target, entry.count, entry.outcome, entry.request_id


async def _log(access: Access, action: str, key_id: str) -> None:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # e.g. in a container whose user has no name; KeyError before Python 3.13
        user = str(os.getuid())
    name = f"{user} (command line)"
    await access.audit.write(AuditEntry(action=action, target=key_id, key_id="", name=name, tenant=""))


def _ask_redis(question: Callable[[Access], Awaitable[AnswerT]]) -> AnswerT:
    settings = read_settings(ServiceSettings)
    with embedded_server(settings, share=True) as server:

        async def ask() -> AnswerT:
            async with open_access(on_server(settings, server)) as access:
                return await question(access)

        try:
            return asyncio.run(ask())
        except StoreUnavailable as error:
            raise CommandError(f"Redis does not answer: {error.__cause__}") from None
