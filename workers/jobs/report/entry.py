"""A catalogue entry; kept apart from ``catalogue.py`` so that it needs no database driver."""

from dataclasses import dataclass, field
from datetime import UTC, datetime


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A finished report: where its file is, and its properties."""

    user_id: int
    version: int
    object_name: str
    sha256: str
    bytes: int
    pages: int
    created_at: datetime = field(default_factory=_now)
