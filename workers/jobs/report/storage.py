"""The store of finished reports: its URL selects a folder, a bucket (S3, Google, Azure) or memory.

Workers write reports to it and the HTTP service reads them, so nothing here knows about jobs or databases.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from arqway.workers.settings import make_private

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta
    from obstore.store import ObjectStore

CHUNK_BYTES = 256 * 1024


class StoreUnusable(Exception):  # noqa: N818  like httpx: the name says the state
    """The store's URL leads nowhere, or to a folder that cannot be written."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file's metadata, known without reading it. ``etag`` is a quoted entity tag, ready for HTTP."""

    name: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Download:
    """A file being read: its size, its entity tag, and its bytes, which can be iterated once."""

    file: StoredFile
    result: "GetResult"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.result.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)


@dataclass(frozen=True, slots=True)
class ReportStore:
    """Files by name. A file appears whole or not at all, even to concurrent readers."""

    objects: "ObjectStore"

    async def put(self, name: str, content: bytes) -> None:
        """Store a file, replacing any of the same name. Atomic: a local one is written next to it and renamed."""
        await self.objects.put_async(name, content)

    async def head(self, name: str) -> StoredFile | None:
        """Return a file's metadata, or None if it does not exist."""
        try:
            return _describe(await self.objects.head_async(name))
        except FileNotFoundError:
            return None

    async def open(self, name: str) -> Download | None:
        """Open a file for reading, or return None if it does not exist. Nothing is read before the first iteration."""
        try:
            result = await self.objects.get_async(name)
        except FileNotFoundError:
            return None
        return Download(_describe(result.meta), result)


def open_store(url: str) -> ReportStore:
    """Open the store at a URL (``file://``, ``memory://``, ``s3://``, ``gs://``, ``az://``). Nothing needs closing.

    Each call with ``memory://`` creates a separate store.

    Raises:
        StoreUnusable: The URL has an unknown scheme, or names a folder that cannot be created or written.
    """
    from obstore.store import from_url

    if urlsplit(url).scheme == "file":
        folder = Path(url2pathname(urlsplit(url).path))
        try:
            make_private(folder)
            TemporaryFile(dir=folder).close()
        except OSError as error:
            raise StoreUnusable(f"The report store {folder} cannot be written: {error.strerror}") from error
    try:
        return ReportStore(from_url(url))
    except Exception as error:
        raise StoreUnusable(f"The report store {url!r} cannot be opened: {str(error).splitlines()[0]}") from error


def _describe(meta: "ObjectMeta") -> StoredFile:
    etag = (meta["e_tag"] or f"{meta['last_modified'].timestamp()}-{meta['size']}").strip('"')
    return StoredFile(name=meta["path"], size=meta["size"], etag=f'"{etag}"')
