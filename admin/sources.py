"""Where an import takes files from: a folder with all folders below it, or a container of blobs.

Each file says how long it is and has a digest for the journal; its bytes are read only when they are asked for, in
pieces of bounded size.
"""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from admin.journal import digest_of
from shared.errors import NotFound, SettingError
from shared.storage.blobs import BlobStore

#: Bytes read from a file at a time.
CHUNK = 1024 * 1024


class Unreadable(Exception):
    """A file cannot be read, or is not what it was when it was listed; `name` is its own, or that of a folder."""

    def __init__(self, reason: str | None, name: str = "") -> None:
        super().__init__(reason or "it cannot be read")
        self.name = name


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: what it is called, its length in bytes, and its bytes.

    Reading raises Unreadable when the file is gone, may not be read or has changed, Unavailable when storage fails.
    """

    name: str
    length: int
    digest: bytes
    read: Callable[[], AsyncGenerator[bytes]]

    @property
    def base_name(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]


class Source(Protocol):
    """Many files, which can be gone through more than once."""

    def files(self) -> AsyncIterator[SourceFile | Unreadable]:
        """Every file, in an order that is the same each time; an error where a folder cannot be listed."""
        ...


class FolderSource:
    """The regular files below a folder. Links to files are followed, links to folders are not: they may form loops."""

    def __init__(self, folder: Path) -> None:
        """Raises SettingError when there is no such folder."""
        if not folder.is_dir():
            raise SettingError(f"there is no folder {folder}")
        self._folder = folder.resolve()

    async def files(self) -> AsyncIterator[SourceFile | Unreadable]:
        """See `Source`."""
        folders = _walk(self._folder)
        # A folder at a time in a thread: that of a network may take its time.
        while (found := await asyncio.to_thread(next, folders, None)) is not None:
            if isinstance(found, Unreadable):
                yield found
                continue
            for path, length, changed in found:
                yield SourceFile(path, length, digest_of(path, length, changed), _reader(path, length))


def _walk(folder: Path) -> Iterator[list[tuple[str, int, int]] | Unreadable]:
    """Path, length and time of change of the files of each folder, in the order of names."""
    waiting = [str(folder)]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Unreadable(error.strerror, path)
            continue
        files, folders = [], []
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file():
                    status = entry.stat()
                    files.append((entry.path, status.st_size, status.st_mtime_ns))
            except OSError as error:
                # A link that leads where nobody may look, or in a circle; the others of the folder are as they are.
                yield Unreadable(error.strerror, entry.path)
        waiting += reversed(folders)
        yield files


def _opened(path: str) -> BinaryIO:
    """A file, opened on the loop: what a thread opens for a task that is cancelled meanwhile, nobody closes."""
    return open(path, "rb")


def _reader(path: str, length: int) -> Callable[[], AsyncGenerator[bytes]]:
    async def read() -> AsyncGenerator[bytes]:
        left = length
        try:
            with _opened(path) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Unreadable("it is no file any more")
                while chunk := await asyncio.to_thread(file.read, CHUNK):
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise Unreadable(error.strerror) from None
        if left:
            raise Unreadable("its length has changed")

    return read


class ContainerSource:
    """The blobs of a container whose names begin with a prefix; `place` is the URL of the container."""

    def __init__(self, blobs: BlobStore, place: str, prefix: str) -> None:
        self._blobs = blobs
        self._place = place
        self._prefix = prefix

    async def files(self) -> AsyncIterator[SourceFile | Unreadable]:
        """See `Source`. Raises Unavailable when the container cannot be listed."""
        async for blob in self._blobs.list_names(self._prefix):
            digest = digest_of(self._place, blob.name, blob.etag)
            yield SourceFile(blob.name, blob.length, digest, _blob_reader(self._blobs, blob.name, blob.length))


def _blob_reader(blobs: BlobStore, name: str, length: int) -> Callable[[], AsyncGenerator[bytes]]:
    async def read() -> AsyncGenerator[bytes]:
        left = length
        pieces = blobs.pieces(name, 0, length)
        try:
            async for piece in pieces:
                left -= len(piece)
                yield piece
        except NotFound:
            raise Unreadable("it is gone") from None
        finally:
            await pieces.aclose()
        if left:
            raise Unreadable("its length has changed")

    return read


@dataclass(frozen=True, slots=True)
class ContainerUrl:
    """A container in an account, and what the names of its blobs begin with."""

    account: str
    container: str
    prefix: str


def container_url(text: str) -> ContainerUrl:
    """Take https://account.blob.core.windows.net/container/prefix apart. Raises SettingError."""
    parts = urlsplit(text)
    container, _, prefix = unquote(parts.path).lstrip("/").partition("/")
    if parts.scheme != "https" or not parts.hostname or not container:
        raise SettingError("--container-url must be like https://account.blob.core.windows.net/container/prefix")
    if parts.query or parts.username:
        raise SettingError(
            "--container-url must be without a signature or password: the identity of the caller is used"
        )
    return ContainerUrl(f"https://{parts.netloc}", container, prefix)
