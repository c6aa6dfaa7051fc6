"""Shell sessions of a page, run on a real service: what they show is compared with what comes out."""

import re
import shlex
import shutil
from collections.abc import Iterable
from itertools import pairwise

import httpx

from tests.support import docs

API = "http://127.0.0.1:8000"
_ID, _TAG = re.compile(r"\b[0-9a-f]{32}\b"), re.compile(r'"\d+-[0-9a-f]{9,}(?:-o)?"')
_VARYING = (
    (_ID, "ID"),
    (_TAG, "TAG"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"\b\d{13}-\d+\b"), "EVENT"),
)


class Console:
    """Runs sessions one after the other, with the ids and tags that really came in place of those that are shown.

    Args:
        url: The service without keys.
        locked_url: The one that wants ``key``.
        key: An API key.
    """

    def __init__(self, url: str, locked_url: str, key: str) -> None:
        self._url = url
        self._locked_url = locked_url
        self._key = key
        self._real: dict[str, str] = {}

    async def run(self, session: docs.Session) -> str:
        """Run a command and return what it printed."""
        locked = "$ARQWAY_API_KEY" in session.command
        command = session.command.replace(API, self._locked_url if locked else self._url)
        command = command.replace("$ARQWAY_API_KEY", self._key)
        for shown in _ID.findall(command):
            command = command.replace(shown, self._real[shown])
        for shown in _TAG.findall(command):
            command = command.replace(shown, self._real.get(shown) or await self._present_tag(command))
        output = await _curl(command)
        for pattern in (_ID, _TAG):
            self._real.update(zip(pattern.findall(session.output), pattern.findall(output), strict=False))
        return output

    async def _present_tag(self, command: str) -> str:
        async with httpx.AsyncClient() as client:
            answer = await client.get(next(word for word in shlex.split(command) if word.startswith("http")))
        return answer.headers["etag"]


def is_like(shown: str, real: str) -> bool:
    """Tell whether real output is what is shown, but for what varies; ``…`` stands for lines, or a part of one."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in _plain(shown)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _plain(real))) is not None


def _plain(text: str) -> Iterable[str]:
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return [line.rstrip() for line in text.strip().splitlines()]


async def _curl(command: str) -> str:
    """Run a ``curl`` command; where there is no curl, httpx sends the request."""
    words = shlex.split(command)
    if program := shutil.which("curl"):
        code, output = await docs.run(program, "-sS", *words[1:])
        assert code == 0, output
        return output.replace("\r\n", "\n")
    return await _send(words)


async def _send(words: list[str]) -> str:
    options = {name: [value for flag, value in pairwise(words) if flag == name] for name in ("-H", "-d", "-X")}
    url = next(word for word in words if word.startswith("http"))
    method = options["-X"][0] if options["-X"] else "POST" if options["-d"] else "GET"
    headers = dict(header.split(": ", 1) for header in options["-H"])
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, url, content="".join(options["-d"]) or None, headers=headers)
    head = f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\n"
    head += "".join(f"{name}: {value}\n" for name, value in answer.headers.items()) + "\n"
    return (head if "-i" in words else "") + answer.text
