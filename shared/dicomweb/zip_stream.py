"""A ZIP archive written as its entries arrive, for whoever wants a study as one file.

Facts. Entries are stored, not compressed: pixel data hardly shrinks, and time to the first byte counts. Sizes and
checksums follow each entry (a data descriptor), so nothing is held or read twice; ZIP64 throughout, so that neither an
entry nor the archive has a limit that matters. The library of Python writes the format; what it writes is taken away at
once.
"""

import io
import zipfile
from types import TracebackType
from typing import IO


class _Outbox(io.RawIOBase):
    """A file that can only be written to and whose contents are collected by `take`."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._written += data
        return len(data)

    def take(self) -> bytes:
        written, self._written = bytes(self._written), bytearray()
        return written


class ZipStream:
    """One archive: `begin` an entry, `add` its bytes, `end` it; `finish` after the last. Each gives bytes to send."""

    def __init__(self) -> None:
        self._outbox = _Outbox()
        self._archive = zipfile.ZipFile(self._outbox, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._entry: IO[bytes] | None = None

    def begin(self, name: str) -> bytes:
        """The head of an entry called `name`, a path with slashes."""
        entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))  # the earliest there is: the time says nothing
        entry.external_attr = 0o644 << 16
        self._entry = self._archive.open(entry, "w", force_zip64=True)
        return self._outbox.take()

    def add(self, data: bytes) -> bytes:
        """The next bytes of the entry."""
        assert self._entry is not None
        self._entry.write(data)
        return self._outbox.take()

    def end(self) -> bytes:
        """What follows the bytes of an entry."""
        assert self._entry is not None
        self._entry.close()
        self._entry = None
        return self._outbox.take()

    def finish(self) -> bytes:
        """The directory, which ends the archive."""
        self._archive.close()
        return self._outbox.take()

    def __enter__(self) -> "ZipStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An archive that was broken off is left as it is; closing it is only for the library's own sake.
        if self._entry is not None:
            self._entry.close()
            self._entry = None
        self._archive.close()
