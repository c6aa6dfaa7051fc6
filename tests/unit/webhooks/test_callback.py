"""What may be called: public addresses and those that a setting allows, in whatever form they are written."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract.callback import Network, check_callback_url, may_be_called
from arqway.workers.contract.errors import InvalidSubmission

PRIVATE = [
    "0.0.0.0",  # noqa: S104 - not bound to
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "224.0.1.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
PRIVATE_6 = [
    "::",
    "::1",
    "::127.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1"]
LOOPBACK: list[Network] = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


def carriers(address: IPv4Address) -> list[IPv6Address]:
    """Return IPv6 addresses whose packets go to ``address``: mapped, NAT64, 6to4, Teredo as server and as client."""
    number = int(address)
    return [
        IPv6Address(f"::ffff:{address}"),
        IPv6Address(f"64:ff9b::{address}"),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
        IPv6Address(0x20010000 << 96 | number << 64 | 1),
        IPv6Address(0x20010000 << 96 | 0x01010101 << 64 | number ^ 0xFFFFFFFF),
    ]


@pytest.mark.parametrize("text", [*PRIVATE, *PRIVATE_6])
def test_what_is_not_public_is_refused(text: str) -> None:
    """Private, shared, local, documentation, multicast, reserved: all that IANA gives a special purpose."""
    assert not may_be_called(ip_address(text), [])


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public_may_be_called(text: str) -> None:
    """With TLS; without it only what a setting names."""
    assert may_be_called(ip_address(text), [])
    assert not may_be_called(ip_address(text), [], plain=True)
    assert may_be_called(ip_address(text), [ip_network(text)], plain=True)


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_address_inside_another_is_refused(text: str) -> None:
    """Whatever IPv6 address leads to it."""
    assert [carrier for carrier in carriers(IPv4Address(text)) if may_be_called(carrier, [])] == []


@given(st.ip_addresses(v=4))
def test_a_carrier_is_no_better_than_what_it_carries(address: IPv4Address) -> None:
    """Where an IPv6 address that carries an IPv4 one may be called, so may that one; two kinds are its other forms."""
    mapped, translated, *others = carriers(address)
    assert may_be_called(mapped, []) == may_be_called(translated, []) == may_be_called(address, [])
    assert may_be_called(address, []) or not any(may_be_called(other, []) for other in others)


@given(st.ip_addresses(v=6))
def test_ipv6_outside_global_unicast_is_refused(address: IPv6Address) -> None:
    """But for the forms of an IPv4 address that may be called."""
    target = address.ipv4_mapped or (
        IPv4Address(address.packed[12:]) if address in ip_network("64:ff9b::/96") else None
    )
    if address not in ip_network("2000::/3") and (target is None or not may_be_called(target, [])):
        assert not may_be_called(address, [])


@given(st.ip_addresses(), st.booleans())
def test_a_setting_allows_any_address(address: IPv4Address | IPv6Address, plain: bool) -> None:
    """A network of one address allows it, and the whole of IP allows everything, also without TLS."""
    everything: list[Network] = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    assert may_be_called(address, everything, plain=plain)
    if isinstance(address, IPv4Address):
        assert may_be_called(address, [ip_network(address)], plain=plain)


def test_an_allowed_network_allows_no_other() -> None:
    """Loopback allowed does not allow the network beside."""
    assert may_be_called(ip_address("127.0.0.1"), LOOPBACK)
    assert may_be_called(ip_address("::ffff:127.0.0.1"), LOOPBACK)
    assert not may_be_called(ip_address("10.0.0.1"), LOOPBACK)
    assert not may_be_called(ip_address("::2"), LOOPBACK)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/hook?key=a%20b&x=1",
        "HTTPS://Example.COM:8443/",
        "https://example.com./hook",
        "https://xn--bcher-kva.example/",
        "https://my_host.internal/",
        "https://redis:6379/",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]:443/",
        "https://4.example/",
        "https://a.b-c.d/" + "x" * (2_048 - 16),
    ],
)
def test_a_url_that_can_be_called_is_taken(url: str) -> None:
    """Any host and port by https; where a name leads is seen when it is called."""
    check_callback_url(url, [])


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "does not begin with https://"),
        ("example.com/hook", "does not begin with https://"),
        ("http://example.com/", "does not begin with https://"),
        ("ftp://example.com/", "does not begin with https://"),
        ("file:///etc/passwd", "does not begin with https://"),
        ("unix:///var/run/docker.sock", "does not begin with https://"),
        ("https:example.com", "has no host"),
        ("https://", "has no host"),
        ("https:///hook", "has no host"),
        ("https://:443/", "has no host"),
        ("https://.example.com/", "has no host"),
        ("https://exa..mple.com/", "has no host"),
        ("https://-a.example/", "has no host"),
        (f"https://{'a' * 64}.example/", "has no host"),
        (f"https://{'a.' * 127}example/", "has no host"),
        ("https://%6c%6fcalhost/", "has no host"),
        ("https://example.com:0/", "has no host"),
        ("https://example.com:/", "has no host"),
        ("https://[::1%25eth0]/", "has no host"),
        ("https://example.com:99999/", "is not a URL"),
        ("https://example.com:a/", "is not a URL"),
        ("https://[::1/", "is not a URL"),
        ("https://user@example.com/", "contains a user name"),
        ("https://user:word@example.com/", "contains a user name"),
        ("https://example.com@127.0.0.1/", "contains a user name"),
        ("https://example.com/#part", "has a fragment"),
        ("https://example.com#@127.0.0.1/", "has a fragment"),
        ("https://exam\tple.com/", "has a character"),
        (" https://example.com/", "has a character"),
        ("https://example.com/a b", "has a character"),
        ("https://example.com/\r\nHost: other", "has a character"),
        ("https://example.com\\@127.0.0.1/", "has a character"),
        ("https://bücher.example/", "has a character"),
        ("https://example.com/\udce9", "has a character"),
        ("https://a.b-c.d/" + "x" * (2_048 - 15), "is longer than 2,048 characters"),
        ("https://localhost/", "leads to an address"),
        ("https://LOCALHOST.:8080/", "leads to an address"),
        ("https://api.localhost/", "leads to an address"),
        ("https://127.0.0.1/", "leads to an address"),
        ("https://127.0.0.1./", "leads to an address"),
        ("https://169.254.169.254/latest/meta-data/", "leads to an address"),
        ("https://[::1]/", "leads to an address"),
        ("https://[::ffff:127.0.0.1]/", "leads to an address"),
        ("https://[::ffff:7f00:1]:80/", "leads to an address"),
        ("https://[64:ff9b::10.0.0.1]/", "leads to an address"),
        ("https://127.1/", "has no host"),
        ("https://2130706433/", "has no host"),
        ("https://0x7f000001/", "has no host"),
        ("https://0x7f.0.0.0x1/", "has no host"),
        ("https://0177.0.0.1/", "has no host"),
        ("https://example.1/", "has no host"),
        ("https://1.1.1.256/", "has no host"),
    ],
)
def test_a_url_that_cannot_be_called_is_refused(url: str, problem: str) -> None:
    """At once, in one sentence that repeats nothing of it."""
    with pytest.raises(InvalidSubmission) as caught:
        check_callback_url(url, [])
    assert str(caught.value).startswith(f"The callback URL {problem}")
    assert "127" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://localhost/", "https://[::1]/", "http://inside/hook"])
def test_a_setting_allows_private_urls(url: str) -> None:
    """With networks allowed, those may be named, and without TLS; whether a name leads there is seen later."""
    check_callback_url(url, LOOPBACK)
    with pytest.raises(InvalidSubmission):
        check_callback_url(url.replace("https", "http"), [])


@pytest.mark.parametrize("url", ["http://1.1.1.1/", "https://10.0.0.1/", "http://10.0.0.1/"])
def test_a_setting_allows_no_more_than_it_says(url: str) -> None:
    """Not another network, nor a public address without TLS."""
    with pytest.raises(InvalidSubmission, match="leads to an address"):
        check_callback_url(url, LOOPBACK)


@given(st.text() | st.text("htps:/[]@.%0x17#?\\:af-").map("https://{}".format))
def test_any_text_is_taken_or_refused(url: str) -> None:
    """Nothing but InvalidSubmission comes out of a URL that a client may have sent."""
    try:
        check_callback_url(url, LOOPBACK)
    except InvalidSubmission:
        return
    assert url.lower().startswith(("https://", "http://"))
