"""Hooks of MkDocs: how these pages, which are read in the repository too, become a site.

``mkdocs.yml`` names this file. The pages stay as they are on disk; nothing here is imported by Arqway.
"""

import re
import shutil
from pathlib import Path
from typing import Any

_LINK_OUT_OF_DOCS = re.compile(r"\]\((?:\.\./)+")


def on_config(config: Any) -> Any:
    """Give the navigation a section with every decision, in the order of their numbers."""
    folder = Path(config.docs_dir)
    pages = sorted(page.relative_to(folder).as_posix() for page in (folder / "decisions").glob("*.md"))
    config.nav.append({"Decisions": pages})
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: object) -> str:
    """Let a link that leaves ``docs/`` lead to the repository, for the site has no such page."""
    if "/" in page.file.src_uri:
        return markdown
    return _LINK_OUT_OF_DOCS.sub(f"]({config.repo_url}/blob/main/", markdown)


def on_post_build(config: Any) -> None:
    """Put each page's Markdown beside its HTML: ``llms.txt`` links to it, for readers that take text only."""
    folder, site = Path(config.docs_dir), Path(config.site_dir)
    for page in folder.rglob("*.md"):
        shutil.copyfile(page, site / page.relative_to(folder))
