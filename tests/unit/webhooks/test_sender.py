"""The sender, towards real servers: what arrives there, and what it makes of odd answers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from arqway.workers.webhooks.address import CallbackRefused
from arqway.workers.webhooks.sender import Sender, Unreachable
from tests.support.webhook_receiver import (
    LOOPBACK,
    OK,
    Names,
    answer,
    led_by,
    make_certificate,
    receiving,
    served_with,
)

NO_ANSWERS = {
    "nothing": b"",
    "another protocol": b"220 mail.example ESMTP\r\n",
    "a broken header": b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "an endless header": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,
}


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    """One that may go to this machine."""
    async with aclosing(Sender(LOOPBACK)) as sender:
        yield sender


async def test_a_message_arrives_as_it_was_sent(sender: Sender) -> None:
    """Method, path with its query, headers and body; and the answer's status and headers come back."""
    async with receiving(answer(202, b"thanks", X_Note="yes")) as receiver:
        answered = await sender.post(receiver.url, {"webhook-id": "msg_1"}, b'{"a":1}')
    (message,) = receiver.messages
    assert (message.line, message.body) == ("POST /hook?key=1 HTTP/1.1", b'{"a":1}')
    assert message.headers["webhook-id"] == "msg_1"
    assert message.headers["host"] == receiver.url.split("/")[2]
    assert (answered.status, answered.headers["x-note"]) == (202, "yes")


async def test_messages_of_one_moment_share_a_connection(sender: Sender) -> None:
    """The answer's short body is read, so the next message needs no new handshake."""
    async with receiving(answer(200, b"thanks")) as receiver:
        for _ in range(3):
            await sender.post(receiver.url, {}, b"")
    assert (len(receiver.messages), receiver.connections) == (3, 1)


async def test_nothing_is_taken_from_the_environment(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy: it would connect, unguarded, in our place."""
    async with receiving() as receiver, receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with aclosing(Sender(LOOPBACK)) as new:
            await new.post(receiver.url, {}, b"")
    assert (len(receiver.messages), proxy.connections) == (1, 0)


@pytest.mark.parametrize(
    "url",
    ["http://1.1.1.1/", "https://10.0.0.1/", "https://user@localhost/", "ftp://localhost/", "https://localhost/#part"],
)
async def test_a_url_is_checked_again_when_it_is_called(sender: Sender, url: str) -> None:
    """The setting may have changed since it was accepted."""
    with pytest.raises(CallbackRefused, match="The callback URL"):
        await sender.post(url, {}, b"")


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_that_keeps_the_post_is_followed(sender: Sender, status: int) -> None:
    """The same message goes to where the receiver has moved."""
    async with receiving() as new, receiving(answer(status, location=new.url)) as old:
        answered = await sender.post(old.url, {"webhook-id": "msg_1"}, b"body")
    (message,) = new.messages
    assert answered.status == 204
    assert (message.line[:4], message.body, message.headers["webhook-id"]) == ("POST", b"body", "msg_1")


async def test_a_relative_redirect_is_followed(sender: Sender) -> None:
    """``Location`` may name a path of the same receiver."""
    async with receiving(answer(307, location="/moved"), OK) as receiver:
        assert (await sender.post(receiver.url, {}, b"")).status == 204
    assert receiver.messages[1].line == "POST /moved HTTP/1.1"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304])
async def test_a_redirect_that_would_lose_the_post_is_an_answer(sender: Sender, status: int) -> None:
    """A GET would tell nothing, so nobody sends one."""
    async with receiving() as new, receiving(answer(status, location=new.url)) as old:
        assert (await sender.post(old.url, {}, b"")).status == status
    assert new.connections == 0


async def test_redirects_are_followed_three_times(sender: Sender) -> None:
    """A circle ends."""
    async with receiving(answer(308, location="/hook")) as receiver:
        assert (await sender.post(receiver.url, {}, b"")).status == 308
    assert len(receiver.messages) == 4


async def test_a_slow_receiver_is_given_up_on() -> None:
    """After the time for all of it, redirects included; the connection is closed."""
    async with (
        receiving(None) as slow,
        receiving(answer(307, location=slow.url)) as first,
        aclosing(Sender(LOOPBACK, within_s=0.3)) as sender,
    ):
        with pytest.raises(Unreachable, match=r"did not answer within 0\.3 s"):
            await sender.post(first.url, {}, b"")
    assert len(slow.messages) == 1


async def test_a_huge_body_is_not_read(sender: Sender) -> None:
    """A receiver that pours gigabytes after its 200 has taken the message; of the rest a little is read."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n"
    async with receiving(head, pour=b"x" * 65_536) as receiver:
        assert (await sender.post(receiver.url, {}, b"")).status == 200
        assert receiver.poured < 64 * 1024 * 1024


async def test_a_body_that_never_ends_is_not_waited_for(sender: Sender) -> None:
    """The status says that the message was taken."""
    async with receiving(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf") as receiver:
        async with asyncio.timeout(10):
            assert (await sender.post(receiver.url, {}, b"")).status == 200


@asynccontextmanager
async def saying(reply: bytes) -> AsyncIterator[int]:
    """Give the port of a server that says the same to everybody, before it is asked, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("reply", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_is_unreachable(sender: Sender, reply: bytes) -> None:
    """Whatever comes back, if it is not HTTP."""
    async with saying(reply) as port:
        with pytest.raises(Unreachable, match="broke the connection, or did not answer with HTTP"):
            await sender.post(f"http://127.0.0.1:{port}/", {}, b"")


async def test_nobody_there_is_unreachable(sender: Sender) -> None:
    """The text says so without saying what else this machine knows."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match=r"^The receiver does not accept connections\.$"):
        await sender.post(f"http://127.0.0.1:{port}/", {}, b"")


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    """RFC 6761: ``.invalid`` never exists."""

    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with aclosing(Sender([], resolve=unknown)) as sender:
        with pytest.raises(Unreachable, match="name cannot be resolved"):
            await sender.post("https://receiver.invalid/", {}, b"")


async def test_a_certificate_is_checked_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS knows the name that the URL has, though the connection went to an address."""
    certificate = make_certificate(tmp_path, ["DNS:receiver.example"])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    names = Names(["127.0.0.1"])
    tls = served_with(certificate)
    async with receiving(tls=tls, host="receiver.example") as receiver, led_by(names) as sender:
        assert (await sender.post(receiver.url, {}, b"")).status == 204
        other = receiver.url.replace("receiver.example", "other.example")
        with pytest.raises(Unreachable, match="certificate was not accepted: Hostname mismatch"):
            await sender.post(other, {}, b"")
    assert len(receiver.messages) == 1


async def test_a_certificate_of_an_unknown_issuer_is_not_accepted(tmp_path: Path, sender: Sender) -> None:
    """Without SSL_CERT_FILE the usual authorities count, and no other."""
    async with receiving(tls=served_with(make_certificate(tmp_path))) as receiver:
        with pytest.raises(Unreachable, match="certificate was not accepted: self-signed certificate"):
            await sender.post(receiver.url, {}, b"")
    assert receiver.messages == []


async def test_a_receiver_without_tls_is_told_so(sender: Sender) -> None:
    """What a plain server says does not pass for TLS."""
    async with saying(answer(400)) as port:
        with pytest.raises(Unreachable, match="speaks no TLS"):
            await sender.post(f"https://127.0.0.1:{port}/", {}, b"")
