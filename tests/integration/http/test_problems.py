"""Problems are explained: a page for each type, to which every problem's answer leads."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from httpx import ASGITransport, AsyncClient, Response

from arqway.service.app import create_app
from arqway.service.problems.pages import markdown
from arqway.service.problems.table import KINDS, PROBLEMS, TYPE_PREFIX, UNEXPECTED
from arqway.service.settings import ServiceSettings
from tests.support.docs import text_of
from tests.support.http import OpenApi, api_client, assert_problem
from tests.support.http_jobs import JOBS

PAGE = "docs/problems.md"


@pytest.fixture
async def client(nowhere: ServiceSettings) -> AsyncIterator[AsyncClient]:
    """A service whose Redis is away, which these pages do not need."""
    async with api_client(nowhere, JOBS) as client:
        yield client


class Page(HTMLParser):
    """What a page of HTML has: its elements, the links, the style, and the text of each element."""

    _EMPTY = frozenset({"meta"})

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(response.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.seen.append((tag, dict(attrs)))
        if tag not in self._EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the innermost one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text for each element that it is in."""
        for tag in set(self.open):
            self.texts[tag] = self.texts.get(tag, "") + data

    def links(self) -> list[str | None]:
        """Return where it leads."""
        return [attributes.get("href") for tag, attributes in self.seen if tag == "a"]


def test_every_type_is_explained() -> None:
    """Each has a sentence of what it means and one of what to do, and nothing is explained that there is not."""
    assert {kind.slug for kind in KINDS} == {kind.slug for kind in (*PROBLEMS.values(), UNEXPECTED)}
    for kind in KINDS:
        assert re.fullmatch(r"[A-Z`].*\.", kind.meaning)
        assert re.fullmatch(r"[A-Z].*\.", kind.remedy)


def test_what_names_a_time_may_be_tried_again() -> None:
    """A problem that comes with Retry-After, or is the server's trouble, is worth another try; a bug is not."""
    for kind in KINDS:
        named = kind.retry_after_s is not None or "`Retry-After`" in kind.remedy
        assert not named or kind.retry
        assert kind.status < 500 or kind.retry or kind is UNEXPECTED


async def test_each_type_has_a_page_for_people(client: AsyncClient) -> None:
    """It is sound, names its language and its subject, says all there is to say, and leads back to the others."""
    for kind in KINDS:
        answer = await client.get(
            f"/problems/{kind.slug}", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        )
        page = Page(answer)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert page.open == []
        assert [attributes for tag, attributes in page.seen if tag == "html"] == [{"lang": "en"}]
        assert page.texts["title"] == f"{kind.title} · Arqway"
        assert page.texts["h1"] == kind.title
        for part in (str(kind.status), kind.code, TYPE_PREFIX + kind.slug, kind.meaning, kind.remedy):
            assert part.replace("`", "") in page.texts["main"]
        assert page.links() == ["/problems"]


async def test_a_page_runs_nothing(client: AsyncClient) -> None:
    """Its policy allows the one style that is in it, by its digest, and no script, form or frame."""
    for path in ("/problems", "/problems/job-not-found"):
        answer = await client.get(path)
        page = Page(answer)
        digest = b64encode(sha256(page.texts["style"].encode()).digest()).decode()
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy.pop("style-src") == f"'sha256-{digest}'"
        assert set(policy) == {"default-src", "base-uri", "form-action", "frame-ancestors"}
        assert set(policy.values()) == {"'none'"}
        assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.seen}


async def test_each_type_has_the_same_for_programs(client: AsyncClient) -> None:
    """Who accepts JSON and no HTML gets it, with an example that is such a problem."""
    for kind in KINDS:
        told = (await client.get(f"/problems/{kind.slug}", headers={"accept": "application/json"})).json()
        names = {"type": TYPE_PREFIX + kind.slug, "code": kind.code, "status": kind.status, "title": kind.title}
        assert told.items() >= names.items()
        assert told["example"].items() >= names.items()
        assert (told["meaning"], told["remedy"], told["retry"]) == (kind.meaning, kind.remedy, kind.retry)


async def test_the_index_leads_to_every_page(client: AsyncClient) -> None:
    """As a page and as data, by status; caches are told that the two are not the same."""
    page, data = await client.get("/problems"), await client.get("/problems", headers={"accept": "application/json"})
    listed = [problem["type"].removeprefix(TYPE_PREFIX) for problem in data.json()["problems"]]
    assert listed == [kind.slug for kind in KINDS]
    assert [kind.status for kind in KINDS] == sorted(kind.status for kind in KINDS)
    assert Page(page).links() == [f"/problems/{slug}" for slug in listed]
    assert page.headers["vary"] == data.headers["vary"] == "Accept"


async def test_a_type_that_there_is_not_is_not_found(client: AsyncClient) -> None:
    """404, and the way to those that there are."""
    answer = await client.get("/problems/none")
    assert_problem(answer, 404, "not_found")
    assert answer.headers["link"] == '</problems>; rel="help"'


@pytest.mark.parametrize("root_path", ["", "/jobs-api"])
async def test_every_problem_leads_to_its_page(nowhere: ServiceSettings, root_path: str) -> None:
    """Whichever layer answers, also behind a proxy that strips a prefix; what HTTP explains leads to the index."""
    app = create_app(nowhere.model_copy(update={"max_body_bytes": 10}), JOBS)
    transport = ASGITransport(app, root_path=root_path)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url=f"http://localhost{root_path}") as client,
    ):
        at_the_door = await client.get("/readyz", headers={"host": "evil.test"})
        at_the_body = await client.post("/jobs/test.sum", json=[1] * 100)
        at_the_route = await client.get("/readyz")
        nowhere_else = await client.put("/jobs")
        for answer, path in (
            (at_the_door, "/foreign-host"),
            (at_the_body, "/body-too-large"),
            (at_the_route, "/store-unavailable"),
            (nowhere_else, ""),
        ):
            assert answer.headers["link"] == f'<{root_path}/problems{path}>; rel="help"'
        page = await client.get(at_the_route.links["help"]["url"].removeprefix(root_path))
    assert page.status_code == 200
    assert Page(page).links() == [f"{root_path}/problems"]


async def test_a_problem_says_nothing_twice(api: OpenApi) -> None:
    """A page is the same for everybody and may be kept; a problem itself may not."""
    async with api(JOBS) as client:
        problem = await client.get("/jobs/nobody")
        page = await client.get(problem.links["help"]["url"])
    assert problem.headers["cache-control"] == "no-store"
    assert page.headers["cache-control"] == "public, max-age=3600"
    assert "no job" in Page(page).texts["main"].lower()


def test_the_documentation_is_made_from_the_table() -> None:
    """docs/problems.md is what ``python -m arqway.service.problems`` prints."""
    assert text_of(PAGE) == markdown()
