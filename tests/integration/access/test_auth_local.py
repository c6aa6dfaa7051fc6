"""A service that asks for no keys is for this machine alone, also where a browser on it shows pages of others."""

import pytest

from arqway.service.settings import ServiceSettings
from tests.support.http import OpenApi, api_client, assert_problem
from tests.support.http_jobs import JOBS


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8000", "127.0.0.1.evil.test", "", "[::1", "10.0.0.1"])
@pytest.mark.parametrize("path", ["/jobs/a", "/livez", "/docs"])
async def test_without_keys_no_foreign_name_is_answered(nowhere: ServiceSettings, host: str, path: str) -> None:
    """A page whose own name leads here gets 421: its browser sends that name as the Host."""
    async with api_client(nowhere, JOBS) as client:
        assert_problem(await client.get(path, headers={"host": host}), 421, "foreign_host")


async def test_without_keys_named_hosts_are_answered(nowhere: ServiceSettings) -> None:
    """The loopback by any of its names, and those of the setting; with keys, any name."""
    some = nowhere.model_copy(update={"trusted_hosts": ("api.internal",)})
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "api.internal"):
        async with api_client(some, JOBS) as client:
            assert (await client.get("/livez", headers={"host": host})).status_code == 200
    async with api_client(nowhere.model_copy(update={"auth": "keys"}), JOBS) as client:
        assert (await client.get("/livez", headers={"host": "evil.test"})).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://localhost.evil.test"])
async def test_without_keys_a_page_of_another_site_changes_nothing(nowhere: ServiceSettings, origin: str) -> None:
    """A form of a foreign page may send a POST without asking first, and gets 403, with or without a body."""
    async with api_client(nowhere, JOBS) as client:
        for path in ("/jobs/a:cancel", "/jobs/test.sum", "/reports"):
            assert_problem(await client.post(path, headers={"origin": origin}), 403, "foreign_origin")


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "https://shop.test"])
async def test_without_keys_known_pages_may_call(nowhere: ServiceSettings, origin: str) -> None:
    """Pages of this machine, and those of the origins that CORS names."""
    settings = nowhere.model_copy(update={"cors_origins": ("https://shop.test",)})
    async with api_client(settings, JOBS) as client:
        assert_problem(await client.post("/jobs/nope", headers={"origin": origin}), 404, "unknown_kind")


async def test_a_browser_may_ask_whether_it_may_send_a_key(api: OpenApi) -> None:
    """The question that a browser sends first needs no key itself, and the answer allows the header."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with api(JOBS, auth="keys", cors_origins=["https://shop.test"]) as client:
        answer = await client.options("/reports", headers={"origin": "https://shop.test", **asked})
        refused = await client.get("/jobs/a", headers={"origin": "https://shop.test"})
    assert answer.status_code == 200
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.test"
