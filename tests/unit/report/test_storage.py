from pathlib import Path

import pytest

from arqway.workers.jobs.report.storage import CHUNK_BYTES, StoreUnusable, open_store

CONTENT = bytes(range(256)) * (CHUNK_BYTES // 100)


@pytest.fixture(params=["file", "memory"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store on disk, in a folder that is not there yet and has a space in its name, and one in memory."""
    return f"{(tmp_path / 'my reports').as_uri()}/kept" if request.param == "file" else "memory:///"


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below a folder."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


async def test_what_was_put_is_read_back(store_url: str) -> None:
    """A stored file comes back byte for byte, in chunks, with the size and the entity tag that ``head`` tells too."""
    store = open_store(store_url)
    await store.put("7/v1.pdf", CONTENT)

    download = await store.open("7/v1.pdf")

    assert download is not None
    assert b"".join([chunk async for chunk in download]) == CONTENT
    assert download.file == await store.head("7/v1.pdf")
    assert (download.file.name, download.file.size) == ("7/v1.pdf", len(CONTENT))
    assert download.file.etag[0] == download.file.etag[-1] == '"'


async def test_a_missing_file_is_none(store_url: str) -> None:
    """Looking for a file that is not there is no error."""
    store = open_store(store_url)

    assert await store.head("7/v1.pdf") is None
    assert await store.open("7/v1.pdf") is None


async def test_putting_again_replaces_the_whole_file(store_url: str) -> None:
    """A second put under the same name leaves nothing of the first, and nothing beside it."""
    store = open_store(store_url)
    await store.put("7/v1.pdf", CONTENT)
    await store.put("7/v1.pdf", b"short")

    download = await store.open("7/v1.pdf")

    assert download is not None
    assert [chunk async for chunk in download] == [b"short"]


async def test_two_openings_of_a_folder_share_its_files(tmp_path: Path) -> None:
    """What one opening of a folder stores, another finds: the worker writes what the service reads."""
    await open_store(tmp_path.as_uri()).put("7/v1.pdf", b"pdf")

    assert await open_store(tmp_path.as_uri()).head("7/v1.pdf") is not None
    assert files_below(tmp_path) == ["7/v1.pdf"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A store below something that is no folder is refused when it is opened, in one line that names it."""
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnusable, match=r"file/reports cannot be written: Not a directory"):
        open_store(f"{tmp_path.as_uri()}/file/reports")


def test_an_unknown_kind_of_store_is_named() -> None:
    """A URL of an unknown kind is refused in one line that repeats it."""
    with pytest.raises(StoreUnusable, match=r"\A.*'ftp://somewhere/reports' cannot be opened.*\Z"):
        open_store("ftp://somewhere/reports")
