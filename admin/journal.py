"""The journal of an import: what has been done already, so that a run that was stopped can be gone on with.

An SQLite database of one digest for each file. The digest is of what identifies the file's contents without reading
them (path, length and time of a file; URL and ETag of a blob), so a file that has changed is imported again, and
nothing in the journal names a patient. A group of files is entered in one transaction after it has been committed to
the archive: what is in the journal is in the archive, however the process ends.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from shared.errors import SettingError

#: Marks a database as a journal of ours, of this form: "DIJ" and a number.
_APPLICATION = 0x44494A01


class Journal:
    """What has been imported into one archive. Without a path it remembers nothing."""

    def __init__(self, path: Path | None, archive: str) -> None:
        """`archive` says which archive is meant, and how files are imported into it.

        Raises SettingError when the file is none, or one of another archive or way.
        """
        with _as_setting_error():
            # Not shared: of two imports with one journal the second is refused.
            self._database = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=0)
        try:
            with _as_setting_error():
                self._open(digest_of(archive))
        except BaseException:
            self._database.close()
            raise

    def _open(self, archive: bytes) -> None:
        """Take the file for this process, and make sure that it is what it ought to be."""
        run = self._database.execute
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("BEGIN EXCLUSIVE")
        (application,) = run("PRAGMA application_id").fetchone()
        if application == 0 and not run("SELECT 1 FROM sqlite_master").fetchone():
            run(f"PRAGMA application_id={_APPLICATION}")
            run("CREATE TABLE done (digest BLOB PRIMARY KEY) WITHOUT ROWID")
            run("CREATE TABLE archive (digest BLOB)")
            run("INSERT INTO archive VALUES (?)", (archive,))
        elif application != _APPLICATION:
            raise SettingError("--journal names a file that is no journal")
        if run("SELECT digest FROM archive").fetchone() != (archive,):
            raise SettingError("--journal names that of an import into another archive, or with another --replace")
        run("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def __contains__(self, digest: bytes) -> bool:
        return self._database.execute("SELECT 1 FROM done WHERE digest = ?", (digest,)).fetchone() is not None

    def add(self, digests: Iterable[bytes]) -> None:
        """Enter files that need not be imported again."""
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO done VALUES (?)", [(digest,) for digest in digests])
        self._database.execute("COMMIT")


@contextmanager
def _as_setting_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SettingError(f"--journal: the file cannot be used ({error})") from None


def digest_of(*parts: str | int) -> bytes:
    """A digest of 16 bytes of some texts and numbers."""
    text = "\0".join(map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
