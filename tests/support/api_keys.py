"""API keys for tests of the HTTP service."""

from typing import Any

from arqway.workers.client.access import open_access
from arqway.workers.contract.api_key import ALL_SCOPES, Scope
from arqway.workers.settings import Settings


async def make_key(settings: Settings, *scopes: Scope, tenant: str = "default", **options: Any) -> str:
    """Make a key, with all scopes if none is named, and return its token; ``options`` are those of ``create``."""
    async with open_access(settings) as access:
        made = await access.keys.create("test", tenant=tenant, scopes=frozenset(scopes) or ALL_SCOPES, **options)
    assert made is not None
    return made.token.reveal()


async def revoke(settings: Settings, token: str) -> None:
    """Revoke the key of a token."""
    async with open_access(settings) as access:
        assert await access.keys.revoke(token.split("_")[1]) == "revoked"


def bearer(token: str) -> dict[str, str]:
    """Return the header that sends a token."""
    return {"authorization": f"Bearer {token}"}
