"""``arqway keys``: make, list and revoke API keys. It talks to Redis, so anyone with access to Redis can make a key."""

import argparse
import getpass
import os
from datetime import timedelta

from arqway.service.cli.redis_server import ask_redis
from arqway.service.cli.terminal import FAILED, WRONG_INPUT, CommandError, moment, say, say_table, warn
from arqway.workers.client.access import Access, AuditEntry, FoundKey
from arqway.workers.contract.api_key import Rate, Scope, is_key_name
from arqway.workers.contract.keys import is_tenant_name

_HEADING = ("ID", "NAME", "TENANT", "SCOPES", "RATE", "CREATED", "EXPIRES", "REVOKED")


def create(arguments: argparse.Namespace) -> int:
    """Make a key and print only its token, so that a script can capture it."""
    name, tenant = _name(arguments.name), _tenant(arguments.tenant)
    scopes = frozenset(map(Scope, arguments.scopes or (Scope.SUBMIT, Scope.READ)))
    rate = _rate(arguments.rate, arguments.burst)
    expires_in = None if arguments.expires_in is None else timedelta(seconds=arguments.expires_in)

    async def make(access: Access) -> str | None:
        made = await access.keys.create(
            name, tenant=tenant, scopes=scopes, rate=rate, expires_in=expires_in, if_none=arguments.if_none
        )
        if made is None:
            return None
        await access.audit.write(_entry("key.create", made.key.id))
        return made.token.reveal()

    token = ask_redis(make)
    if token is None:
        warn("there is a key that can be used, so none was made")
    else:
        say(token)
    return 0


def list_keys() -> int:
    """Print the keys, oldest first."""
    say_table(_HEADING, [_row(found) for found in ask_redis(lambda access: access.keys.read_all())])
    return 0


def revoke(key_id: str) -> int:
    """Revoke a key."""

    async def end(access: Access) -> str:
        answer = await access.keys.revoke(key_id)
        if answer == "revoked":
            await access.audit.write(_entry("key.revoke", key_id))
        return answer

    answer = ask_redis(end)
    if answer == "unknown":
        raise CommandError(f"there is no key {key_id}; `arqway keys list` shows them", FAILED)
    say("revoked; services that know it let it in for 5 seconds more" if answer == "revoked" else "revoked before")
    return 0


def _row(found: FoundKey) -> tuple[str, ...]:
    key = found.key
    rate = "" if key.rate is None else str(key.rate)
    times = (moment(key.created_ms), moment(key.expires_ms), moment(key.revoked_ms))
    return (key.id, key.name, key.tenant, ",".join(sorted(key.scopes)), rate, *times)


def _entry(action: str, key_id: str) -> AuditEntry:
    return AuditEntry(action=action, target=key_id, key_id="", name=f"{_user()} (command line)", tenant="")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # e.g. in a container whose user has no name; KeyError before Python 3.13
        return str(os.getuid())


def _name(text: str) -> str:
    if not is_key_name(text):
        raise CommandError("--name: a key is named by 1 to 64 characters that can be printed", WRONG_INPUT)
    return text


def _tenant(text: str) -> str:
    if not is_tenant_name(text):
        raise CommandError("--tenant: a tenant is named by 1 to 63 of a-z 0-9 _ -", WRONG_INPUT)
    return text


def _rate(per_s: float | None, burst: int | None) -> Rate | None:
    if per_s is None:
        if burst is not None:
            raise CommandError("--burst needs --rate", WRONG_INPUT)
        return None
    try:
        return Rate.of(per_s, burst)
    except ValueError as error:
        raise CommandError(f"--rate: {error}", WRONG_INPUT) from None
