"""The HTTP API as the command line sees it: calls that give JSON or end the command with one line."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from service.cli.errors import FAILED, WRONG_INPUT, CommandError

JobView = dict[str, Any]
"""What ``GET /jobs/{id}`` answers: ``service.schemas.JobView``, maybe of a later version."""

END_STATES = frozenset({"succeeded", "failed", "cancelled"})

_ASK_AGAIN_S = 0.05
_ASK_WHETHER_READY_S = 0.05
_TIMEOUT_S = 30.0


class ApiClient:
    """A connection to one API; use as an async context manager.

    Every call raises CommandError where the API cannot be reached or answers with a problem.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def submit(self, kind: str, payload_json: str) -> JobView:
        """Submit a job."""
        return await self._post(f"/jobs/{quote(kind, safe='')}", payload_json)

    async def submit_report(self, user_id: int) -> str:
        """Submit a report as a web shop would, and return the job's id."""
        accepted = await self._post("/reports", f'{{"user_id": {user_id}}}')
        return str(accepted["task_id"])

    async def read(self, job_id: str) -> JobView:
        """Return what is known about a job."""
        return self._json(await self._send("GET", _job_path(job_id)))

    async def cancel(self, job_id: str) -> JobView:
        """Ask to cancel a job; a running one ends a little later."""
        return self._json(await self._send("POST", f"{_job_path(job_id)}:cancel"))

    async def follow(self, job_id: str, show: Callable[[JobView], None]) -> JobView:
        """Show the job's views until it has ended, and return the last one."""
        while True:
            view = await self.read(job_id)
            show(view)
            if view["state"] in END_STATES:
                return view
            await asyncio.sleep(_ASK_AGAIN_S)

    async def download_report(self, job_id: str) -> bytes:
        """Return the PDF of a finished report."""
        return (await self._send("GET", f"/reports/{quote(job_id, safe='')}/file")).content

    async def until_ready(self, timeout_s: float) -> None:
        """Return once the API can submit and read jobs."""
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._is_ready():  # noqa: ASYNC110 - another process sets no event of ours
                    await asyncio.sleep(_ASK_WHETHER_READY_S)
        except TimeoutError:
            raise CommandError(f"the API was not ready within {timeout_s:g} s") from None

    async def _is_ready(self) -> bool:
        try:
            return (await self._client.get("/readyz")).is_success
        except httpx.TransportError:
            return False

    async def _post(self, path: str, body_json: str) -> dict[str, Any]:
        sent = {"content": body_json.encode(), "headers": {"Content-Type": "application/json"}}
        return self._json(await self._send("POST", path, **sent))

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, **request)
        except (httpx.ConnectError, httpx.InvalidURL) as error:
            raise CommandError(f"no API answers at {self._url} ({error}); `arqway up` starts one", FAILED) from None
        except httpx.HTTPError as error:
            unsure = "" if method == "GET" else "; whether it took the request is not known"
            raise CommandError(f"the API at {self._url} broke off ({type(error).__name__}){unsure}", FAILED) from None
        if not answer.is_success:
            raise _problem(answer)
        return answer

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise CommandError(f"what answers at {self._url} is not Arqway", FAILED)
        return value


def _job_path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _problem(answer: httpx.Response) -> CommandError:
    code = WRONG_INPUT if answer.is_client_error else FAILED
    try:
        problem = answer.json()
        parts = [problem["detail"], *(f"{_place(error['loc'])}: {error['msg']}" for error in problem.get("errors", []))]
    except (ValueError, KeyError, TypeError):
        return CommandError(f"the API answered {answer.status_code} {answer.reason_phrase}", code)
    return CommandError(" ".join(parts), code)


def _place(loc: list[Any]) -> str:
    return ".".join(str(part) for part in loc[1:]) or "payload"
