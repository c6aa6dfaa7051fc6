"""Which names are this machine, and which pages may call a service that asks for no keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.service.access.hosts import TrustedHosts, is_loopback

HOSTS = TrustedHosts(["Api.Internal"], ["https://shop.test"])
NEVER = [
    "",
    " ",
    "evil.test",
    "evil.test:8000",
    "127.0.0.1.evil.test",
    "localhost.evil.test",
    "evil.test#localhost",
    "evil.test/localhost",
    "localhost@evil.test",
    "evil.test:80@localhost",
    "localhost:80:80",
    "localhost:abc",
    "localhost\n",
    "::1",
    "[::1",
    "0.0.0.0",  # noqa: S104 - compared with, not listened on
    "10.0.0.1",
    "[::]",
    "[fe80::1]",
    "128.0.0.1",
    "x" * 10_000,
]


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.255.255.254", "::1"])
def test_the_loopback_is_known(host: str) -> None:
    """By its name, and by each of its addresses."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["::", "10.0.0.1", "example.com", "localhost.example.com", "127.1", ""])
def test_other_hosts_are_not_the_loopback(host: str) -> None:
    """Neither is a name that would have to be looked up."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]", "[::1]:8000", "api.internal", "API.internal:443"]
)
def test_local_and_named_hosts_are_trusted(host: str) -> None:
    """With any port, and in any case."""
    assert HOSTS.has_host(host)
    assert HOSTS.has_origin(f"http://{host}")
    assert HOSTS.has_origin(f"https://{host}")


@pytest.mark.parametrize("host", NEVER)
def test_no_other_host_is_trusted(host: str) -> None:
    """However much it looks like one."""
    assert not HOSTS.has_host(host)
    assert not HOSTS.has_origin(f"http://{host}")


@pytest.mark.parametrize("origin", ["null", "", "file://", "localhost", "https://shop.test.evil", "ftp://localhost"])
def test_no_other_origin_is_trusted(origin: str) -> None:
    """Those of CORS are, exactly; one that hides itself is not."""
    assert HOSTS.has_origin("https://shop.test")
    assert not HOSTS.has_origin(origin)


@given(st.text())
def test_any_header_is_read(host: str) -> None:
    """Whatever a client sends, the answer is yes or no."""
    assert HOSTS.has_host(host) in (True, False)
    assert HOSTS.has_origin(host) in (True, False)
