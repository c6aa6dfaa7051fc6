"""The pages that explain problems: for people as HTML without scripts, for programs as JSON."""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape

from pydantic_core import to_json

from arqway.service.problems.answers import PAGES
from arqway.service.problems.kinds import ProblemKind
from arqway.service.problems.table import KINDS
from arqway.service.shapes.problems import ProblemTypeView

_STYLE = """
:root { color-scheme: light dark; --line: #d5d9e0; --soft: #f4f6f9; --quiet: #4d5665; --link: #0b57c4; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4250; --soft: #1d222b; --quiet: #a9b4c4; --link: #8ab8ff; } }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.25; margin: 1.5rem 0 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p { margin: .4rem 0; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible, pre:focus-visible { outline: .15rem solid var(--link); outline-offset: .15rem; }
code { font: .9em ui-monospace, monospace; background: var(--soft); padding: .1em .3em; border-radius: .25rem; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; overflow-x: auto; }
pre code { padding: 0; background: none; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: 1rem 0; }
dt, .quiet { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 500; }
tbody th { font-weight: 400; }
"""
_POLICY = f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
PAGE_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; {_POLICY}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "public, max-age=3600",
    "Vary": "Accept",
}
"""What the answers with these pages have. The policy allows the style that is in the page, and nothing else."""

_INTRODUCTION = """\
# Problems

What each error of the service means, and what a client can do about it. The service has these pages at `/problems`, and
the header `Link` of every problem leads to its own. The [contract](contract.md#problems) says what all have in common.
This page is made by `python -m arqway.service.problems`.
"""

_CODE = re.compile(r"`([^`]+)`")


def describe(kind: ProblemKind) -> ProblemTypeView:
    """Return all there is to say about a type of problem."""
    return {
        "type": kind.uri,
        "code": kind.code,
        "title": kind.title,
        "status": kind.status,
        "meaning": kind.meaning,
        "remedy": kind.remedy,
        "retry": kind.retry,
        "example": kind.example(),
    }


def page_of(kind: ProblemKind, base: str) -> str:
    """Return the page of one type; ``base`` is the path below which the client finds the service."""
    example = escape(to_json(kind.example(), indent=2).decode(), quote=False)
    again = "It may succeed later." if kind.retry else "It will be refused again."
    facts = {
        "Status": f"{kind.status}",
        "Code": f"<code>{kind.code}</code>",
        "Type": f"<code>{kind.uri}</code>",
        "The same request again": again,
    }
    return _page(
        kind.title,
        f'<nav aria-label="Problems"><a href="{escape(base)}{PAGES}">All problems</a></nav>',
        f"<h1>{escape(kind.title)}</h1>",
        "<dl>",
        *(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items()),
        "</dl>",
        f"<h2>When it happens</h2><p>{_text(kind.meaning)}</p>",
        f"<h2>What to do</h2><p>{_text(kind.remedy)}</p>",
        '<h2 id="example">Example</h2>',
        f'<pre tabindex="0" role="region" aria-labelledby="example"><code>{example}</code></pre>',
    )


def index_page(base: str) -> str:
    """Return the page that leads to all others."""
    below = f"{escape(base)}{PAGES}"
    return _page(
        "Problems",
        "<h1>Problems</h1>",
        "<p>Every error is answered as <code>application/problem+json</code> (RFC 9457). <code>type</code> and "
        "<code>code</code> never change, so programs can rely on them; <code>title</code> and <code>detail</code> are "
        "for people. What HTTP itself explains has the type <code>about:blank</code>.</p>",
        '<div class="table"><table><thead><tr><th scope="col">Status</th><th scope="col">Code</th>'
        '<th scope="col">When it happens</th></tr></thead><tbody>',
        *(_row(kind, below) for kind in KINDS),
        "</tbody></table></div>",
    )


def _row(kind: ProblemKind, below: str) -> str:
    link = f'<a href="{below}/{kind.slug}"><code>{kind.code}</code></a>'
    return f'<tr><td>{kind.status}</td><th scope="row">{link}</th><td>{_text(kind.meaning)}</td></tr>'


def _text(markdown: str) -> str:
    """Return a sentence of the table as HTML."""
    return _CODE.sub(r"<code>\1</code>", escape(markdown, quote=False))


def _page(title: str, *parts: str) -> str:
    return "\n".join(_frame(title, parts))


def _frame(title: str, parts: Iterable[str]) -> Iterable[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)} · Arqway</title><style>{_STYLE}</style></head><body><main>"
    yield from parts
    yield "</main></body></html>"


def markdown() -> str:
    """Return docs/problems.md."""
    sections = (
        f"## {kind.slug}\n\n**{kind.status}** `{kind.code}` · {kind.title}. The same request "
        f"{'may succeed later' if kind.retry else 'is refused again'}. {kind.meaning}\n\n{kind.remedy}\n"
        for kind in KINDS
    )
    return _INTRODUCTION + "\n" + "\n".join(sections)
