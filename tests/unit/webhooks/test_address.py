"""The guard: where connections go and where they do not, whatever a name, a redirect or a resolver says."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import httpcore
import pytest

from arqway.workers.webhooks.address import CallbackRefused, GuardedNetwork, resolve
from arqway.workers.webhooks.sender import Sender, Unreachable
from tests.support.webhook_receiver import (
    LOOPBACK,
    Names,
    answer,
    led_by,
    receiving,
)

PUBLIC = "93.184.215.14"


async def test_a_name_that_leads_to_this_machine_is_refused() -> None:
    """The system says where ``localhost`` leads; no connection is made there."""
    async with receiving() as receiver:
        port = int(receiver.url.split(":")[2].partition("/")[0])
        for plain in (False, True):
            with pytest.raises(CallbackRefused):
                await GuardedNetwork([], plain=plain).connect_tcp("localhost", port, timeout=5)
        stream = await GuardedNetwork(LOOPBACK, plain=True).connect_tcp("localhost", port, timeout=5)
        await stream.aclose()


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], ["::ffff:169.254.169.254"], ["64:ff9b::127.0.0.1"]],
)
async def test_one_private_address_of_a_name_is_one_too_many(addresses: list[str]) -> None:
    """All are checked, before any is connected to."""
    async with receiving() as receiver, aclosing(Sender([], resolve=Names(addresses))) as sender:
        with pytest.raises(CallbackRefused, match="may not be called"):
            await sender.post("https://receiver.example/", {}, b"")
    assert receiver.connections == 0


async def test_a_name_is_resolved_once_for_a_connection() -> None:
    """An answer that would be another the next time (DNS rebinding) is asked for once, and so is of no use."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with receiving(host="receiver.example") as receiver, led_by(names) as sender:
        assert (await sender.post(receiver.url, {}, b"")).status == 204
    assert names.asked == ["receiver.example"]


async def test_rebinding_finds_the_guard_at_each_connection() -> None:
    """A name that led somewhere allowed is checked anew the next time: the second message goes nowhere."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    closing = answer(200, connection="close")
    async with receiving(closing, host="receiver.example") as receiver, led_by(names) as sender:
        await sender.post(receiver.url, {}, b"")
        with pytest.raises(CallbackRefused):
            await sender.post(receiver.url, {}, b"")
    assert receiver.connections == 1


async def test_a_public_name_is_connected_to_by_its_checked_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the network below is given is the address that was checked, never the name."""
    connected: list[tuple[str, int]] = []

    async def connect(self: httpcore.AnyIOBackend, host: str, port: int, **_: object) -> httpcore.AsyncNetworkStream:
        connected.append((host, port))
        raise httpcore.ConnectError("refused")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    names = Names([PUBLIC, "2606:4700::1", PUBLIC], ["127.0.0.1"])
    async with aclosing(Sender([], resolve=names)) as sender:
        with pytest.raises(Unreachable):
            await sender.post("https://receiver.example:8443/", {}, b"")
    assert connected == [(PUBLIC, 8443), ("2606:4700::1", 8443)]
    assert len(names.asked) == 1


async def test_an_address_that_does_not_accept_is_followed_by_the_next() -> None:
    """A host with several addresses is reached by any of them."""
    names = Names(["127.0.0.2", "127.0.0.1"])  # the receiver listens on the second only
    async with receiving(host="receiver.example") as receiver, led_by(names) as sender:
        assert (await sender.post(receiver.url, {}, b"")).status == 204


async def test_no_socket_of_this_machine_is_connected_to() -> None:
    """Httpcore could; nothing here may ask it to."""
    with pytest.raises(CallbackRefused):
        await GuardedNetwork(LOOPBACK, plain=True).connect_unix_socket("/run/some.sock")


async def test_plain_http_goes_to_allowed_networks_only() -> None:
    """A name without TLS that leads to a public address is refused, though with TLS it would not be."""
    async with aclosing(Sender(LOOPBACK, resolve=Names([PUBLIC]))) as sender:
        with pytest.raises(CallbackRefused):
            await sender.post("http://receiver.example/", {}, b"")


@pytest.mark.parametrize(
    "location", ["https://10.0.0.1/", "http://1.1.1.1/", "https://inside.example/", "file:///etc/hosts", "http://["]
)
async def test_a_redirect_goes_through_the_same_checks(location: str) -> None:
    """To a private address, written or resolved, to a public one without TLS, or to what is no URL of a receiver."""
    names = Names(["127.0.0.1"], ["10.0.0.2"])
    moved = answer(307, location=location)
    async with receiving(moved, host="receiver.example") as receiver, led_by(names) as sender:
        with pytest.raises(CallbackRefused):
            await sender.post(receiver.url, {}, b"")
    assert receiver.connections == 1


async def test_a_name_server_that_never_answers_is_given_up_on() -> None:
    """Resolving is part of the time to connect."""

    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(httpcore.ConnectTimeout):
        await GuardedNetwork([], plain=False, resolve=never).connect_tcp("slow.example", 443, timeout=0.05)


async def test_a_host_without_an_address_is_unreachable() -> None:
    """An empty answer is no error of the resolver, and no success."""
    async with aclosing(Sender([], resolve=Names([]))) as sender:
        with pytest.raises(Unreachable):
            await sender.post("https://receiver.example/", {}, b"")


async def test_the_systems_resolver_is_asked_for_addresses() -> None:
    """Odd forms of an address are what the system takes them for; what does not exist is an OSError."""
    assert "127.0.0.1" in await resolve("127.1", 80)
    assert set(await resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match=r".+"):
        await resolve("a" * 64 + ".invalid", 80)
