"""A receiver of webhooks: a real server on 127.0.0.1 that answers as it is told to, and remembers what it got."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from arqway.workers.contract.callback import Network
from arqway.workers.webhooks.sender import Sender
from arqway.workers.webhooks.signature import verify

LOOPBACK: list[Network] = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer as it goes over the wire; ``retry_after="5"`` gives the header ``retry-after: 5``."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Message(NamedTuple):
    """A request that came."""

    line: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def verified(self, secret: str) -> str:
        """Return the message's id. Raises InvalidSignature."""
        return verify(secret, self.headers, self.body)


@dataclass
class Receiver:
    """What a receiver answers, and what it got.

    Args:
        answers: For the first requests, each once; the last one stays. None: it never answers.
        pour: Sent again and again after the answer, until the client has had enough.
    """

    answers: list[bytes | None] = field(default_factory=lambda: [OK])
    pour: bytes = b""
    messages: list[Message] = field(default_factory=list)
    connections: int = 0
    poured: int = 0
    url: str = ""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to let go of the requests that got no answer."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            while True:
                self.messages.append(await _read_message(reader))
                reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if reply is None:
                    await self.held.wait()
                    return
                await self._write(writer, reply)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has gone
        finally:
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, reply: bytes) -> None:
        writer.write(reply)
        await writer.drain()
        while self.pour:
            writer.write(self.pour)
            self.poured += len(self.pour)
            await writer.drain()


async def _read_message(reader: asyncio.StreamReader) -> Message:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (text.split(": ", 1) for text in fields)}
    return Message(line, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def receiving(
    *answers: bytes | None, tls: ssl.SSLContext | None = None, pour: bytes = b"", host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    """Give a receiver that listens on 127.0.0.1; ``url`` names it by ``host``."""
    receiver = Receiver(list(answers) or [OK], pour)
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(receiver.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"{'https' if tls else 'http'}://{host}:{port}/hook?key=1"
    try:
        yield receiver
    finally:
        receiver.held.set()
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def make_certificate(folder: Path, names: Sequence[str] = ("DNS:localhost", "IP:127.0.0.1")) -> Path:
    """Return a new certificate, with its key in the same file, that signs itself; openssl makes it."""
    openssl = shutil.which("openssl")
    assert openssl, "these tests need the program openssl, which Debian has in the package of that name"
    path = folder / "receiver.pem"
    command: list[str | Path] = [openssl, "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=receiver"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", f"subjectAltName={','.join(names)}", "-keyout", path, "-out", "-"]
    done = subprocess.run(command, check=True, capture_output=True)
    with path.open("ab") as file:
        file.write(done.stdout)
    return path


def served_with(certificate: Path) -> ssl.SSLContext:
    """Return what a server needs to show the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class Names:
    """Gives prepared addresses for any name, the next ones at each question, and counts those."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the next answer; the last one stays."""
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def led_by(names: Names) -> AbstractAsyncContextManager[Sender]:
    """Return a sender that may go to this machine, and is led by ``names``."""
    return aclosing(Sender(LOOPBACK, resolve=names))
