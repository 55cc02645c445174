"""Every blob of the container and every note of the sweep, sorted on disk: what rebuilding and verifying go through.

Listings come in the order of names, which is that of time; the questions are asked by study and by instance. An archive
may hold millions of blobs, so the sorting is done by SQLite in a temporary file of its own, about a kilobyte a blob
where UIDs are long, that is gone when the inventory is closed. Of it a fixed part is held in memory.

Left out: what follows from the answers (services/rebuild.py, services/verify.py).
"""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from itertools import batched, chain, groupby
from typing import Any, Self

from shared.model import InstanceKey
from shared.storage import keys
from shared.storage.blobs import BlobName, BlobStore
from shared.storage.notes import Garbage, Orphan, SweepNote

#: Kibibytes of the temporary file that are held in memory.
CACHE = 64 * 1024
#: Rows written to it at a time.
AT_ONCE = 5000

_SCHEMA = """
CREATE TABLE blob (
    name TEXT PRIMARY KEY, version TEXT NOT NULL, length INTEGER NOT NULL,
    study TEXT, series TEXT, instance TEXT, settled INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE noted (name TEXT PRIMARY KEY, garbage INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE wanted (
    study TEXT, version TEXT, series TEXT, instance TEXT, length INTEGER, PRIMARY KEY (study, version)
) WITHOUT ROWID;
CREATE TABLE study (uid TEXT PRIMARY KEY) WITHOUT ROWID;
"""

_INDEXES = (
    "CREATE INDEX blob_owner ON blob (study, series, instance)",
    "CREATE UNIQUE INDEX wanted_owner ON wanted (study, series, instance)",
    "INSERT OR IGNORE INTO study SELECT DISTINCT study FROM blob WHERE study IS NOT NULL",
)

_UNSETTLED = """
SELECT name, version, study, series, instance FROM blob
WHERE {} AND NOT settled AND name > ? AND name < ? AND NOT EXISTS (SELECT 1 FROM noted WHERE noted.name = blob.name)
ORDER BY name LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """A version that the index ought to name: its blob's `length` in bytes, and whose it says it is."""

    version: str
    key: InstanceKey
    length: int


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """The blobs of one version, and whose they say they are; None where none says so."""

    version: str
    owner: InstanceKey | None
    blobs: tuple[str, ...]


def workspace(schema: str) -> sqlite3.Connection:
    """A database in a temporary file that only this connection knows, with some tables."""
    database = sqlite3.connect("", isolation_level=None)
    # Nothing of it is to outlive this process: nothing is written twice, and the one transaction never ends, so that
    # only what does not fit into memory is written at all.
    database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE};")
    database.executescript(f"{schema}; BEGIN")
    return database


class Inventory:
    """What was listed. Close it, or use it as a context manager."""

    def __init__(self) -> None:
        self._database = workspace(_SCHEMA)
        #: Blobs with names of another form than ours.
        self.foreign = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the temporary file back."""
        self._database.close()

    # Filling

    def add(self, blobs: Iterable[BlobName]) -> None:
        """Add blobs of a listing."""
        rows = []
        for blob in blobs:
            version = keys.version_of_blob(blob.name)
            if keys.time_of_version(version) is None or blob.name not in keys.blobs_of_version(version):
                self.foreign += 1
                continue
            owner = (blob.owner.study, blob.owner.series, blob.owner.instance) if blob.owner else (None, None, None)
            rows.append((blob.name, version, blob.length, *owner))
        self._write(
            "INSERT OR REPLACE INTO blob (name, version, length, study, series, instance) VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )

    def note(self, note: SweepNote) -> None:
        """Add the blobs of a note. What is garbage stays so, whatever another note says."""
        if isinstance(note, Garbage | Orphan):
            garbage = int(isinstance(note, Garbage))
            self._write(
                "INSERT INTO noted VALUES (?, ?) ON CONFLICT DO UPDATE SET garbage = max(garbage, excluded.garbage)",
                [(name, garbage) for name in note.blobs],
            )

    def add_studies(self, studies: Iterable[str]) -> None:
        """Add studies that the index has."""
        self._write("INSERT OR IGNORE INTO study VALUES (?)", [(study,) for study in studies])

    def seal(self) -> None:
        """Say that all blobs are there: what sorts them is made now."""
        for statement in _INDEXES:
            self._database.execute(statement)

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._database.executemany(statement, rows)

    # What the index ought to name

    def choose(self, before: int) -> int:
        """Choose the newest version of each instance, of those that are not garbage.

        An instance of which one version is not older than `before` (microseconds since 1970) is left out altogether,
        its blobs being settled; returns the number of those instances.
        """
        young = "SELECT DISTINCT study, series, instance FROM blob WHERE name = version AND version >= ?"
        time = f"{before:013x}"
        self._database.execute(f"UPDATE blob SET settled = 1 WHERE (study, series, instance) IN ({young})", (time,))  # noqa: S608
        self._database.execute(
            """
            INSERT INTO wanted SELECT study, max(version), series, instance, length FROM blob
            WHERE name = version AND study IS NOT NULL AND NOT settled
                AND NOT EXISTS (SELECT 1 FROM noted WHERE noted.name = blob.name AND garbage)
            GROUP BY study, series, instance
            """
        )
        return self._number(f"SELECT count(*) FROM ({young})", time)  # noqa: S608

    def count_wanted(self) -> int:
        """How many versions are chosen."""
        return self._number("SELECT count(*) FROM wanted")

    def studies(self) -> Iterator[str]:
        """The studies of all blobs and those of the index, in the order of UIDs."""
        at = ""
        while found := self._database.execute("SELECT min(uid) FROM study WHERE uid > ?", (at,)).fetchone()[0]:
            yield (at := found)

    def wanted(self, study: str, after: str, limit: int) -> list[WantedVersion]:
        """The next chosen versions of a study, oldest first: at most `limit`, behind the version `after`."""
        found = self._database.execute(
            "SELECT version, series, instance, length FROM wanted WHERE study = ? AND version > ?"
            " ORDER BY version LIMIT ?",
            (study, after, limit),
        )
        return [
            WantedVersion(version, InstanceKey(study, series, instance), length)
            for version, series, instance, length in found
        ]

    def wanted_of(self, key: InstanceKey) -> str | None:
        """The version chosen for an instance, or None."""
        found = self._database.execute(
            "SELECT version FROM wanted WHERE study = ? AND series = ? AND instance = ?", _owner(key)
        ).fetchone()
        return found[0] if found else None

    def strike_off(self, key: InstanceKey) -> bool:
        """Say that an instance needs no row; returns whether one was wanted."""
        done = self._database.execute("DELETE FROM wanted WHERE study = ? AND series = ? AND instance = ?", _owner(key))
        return done.rowcount > 0

    def strike_off_garbage(self, study: str, note: Garbage) -> int:
        """Say that versions which have become garbage need no row; returns how many of them were wanted."""
        struck = 0
        for names in batched(note.blobs, AT_ONCE, strict=False):
            self._write("INSERT OR REPLACE INTO noted VALUES (?, 1)", [(name,) for name in names])
            for name in names:
                done = self._database.execute("DELETE FROM wanted WHERE study = ? AND version = ?", (study, name))
                struck += done.rowcount
        return struck

    # Single blobs

    def length_of(self, name: str) -> int | None:
        """Bytes of a blob that was listed, or None."""
        found = self._database.execute("SELECT length FROM blob WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def find(self, name: str) -> tuple[int, InstanceKey | None] | None:
        """Length in bytes and owner of a blob that was listed; None without one."""
        found = self._database.execute(
            "SELECT length, study, series, instance FROM blob WHERE name = ?", (name,)
        ).fetchone()
        if found is None:
            return None
        length, *owner = found
        return length, None if None in owner else InstanceKey(*owner)

    def is_garbage(self, name: str) -> bool:
        """Whether a garbage note names the blob."""
        return bool(self._number("SELECT count(*) FROM noted WHERE name = ? AND garbage", name))

    def is_settled(self, name: str) -> bool:
        """Whether it is known what the blob is there for."""
        return bool(self._number("SELECT count(*) FROM blob WHERE name = ? AND settled", name))

    def settle(self, names: Iterable[str]) -> None:
        """Say of blobs that it is known what they are there for."""
        self._write("UPDATE blob SET settled = 1 WHERE name = ?", [(name,) for name in names])

    def settle_all_of(self, key: InstanceKey) -> None:
        """The same of every blob of an instance."""
        self._database.execute(
            "UPDATE blob SET settled = 1 WHERE study = ? AND series = ? AND instance = ?", _owner(key)
        )

    # What is left

    def unsettled(self, before: int, study: str | None = None) -> Iterator[ListedVersion]:
        """Versions with blobs that are not settled and that no note names, made before a time; of one study or of all.

        A page at a time, so that blobs may be settled meanwhile.
        """
        rows = chain.from_iterable(self._unsettled_pages(f"{before:013x}", study))
        for (version, *owner), group in groupby(rows, key=lambda row: row[1:]):
            names = tuple(row[0] for row in group)
            yield ListedVersion(version, None if None in owner else InstanceKey(*owner), names)

    def _unsettled_pages(self, before: str, study: str | None) -> Iterator[list[Any]]:
        query = _UNSETTLED.format("study = ?" if study is not None else "? IS NULL")
        after = ""
        while page := self._database.execute(query, (study, after, before, AT_ONCE)).fetchall():
            after = page[-1][0]
            yield page

    def count_garbage(self) -> int:
        """How many versions are there that garbage notes name."""
        return self._number(
            "SELECT count(*) FROM blob WHERE name = version"
            " AND EXISTS (SELECT 1 FROM noted WHERE noted.name = blob.name AND garbage)"
        )

    def count_noted(self) -> int:
        """How many versions are there that notes name."""
        return self._number("SELECT count(*) FROM blob WHERE name = version AND name IN (SELECT name FROM noted)")

    def doomed(self) -> list[tuple[str, InstanceKey | None]]:
        """Versions that are settled although they are garbage, and whose they say they are."""
        found = self._database.execute(
            "SELECT name FROM blob WHERE name = version AND settled"
            " AND EXISTS (SELECT 1 FROM noted WHERE noted.name = blob.name AND garbage)"
        )
        return [(name, owner) for (name,) in found.fetchall() for _, owner in [self.find(name) or (0, None)]]

    def count_ownerless(self) -> int:
        """How many blobs do not say whose they are."""
        return self._number("SELECT count(*) FROM blob WHERE study IS NULL")

    def _number(self, query: str, *arguments: Any) -> int:
        number: int = self._database.execute(query, arguments).fetchone()[0]
        return number


async def list_blobs(blobs: BlobStore, inventory: Inventory) -> AsyncIterator[int]:
    """List the container into an inventory; yields how many blobs more are there."""
    waiting: list[BlobName] = []
    async for blob in blobs.list_names(""):
        waiting.append(blob)
        if len(waiting) == AT_ONCE:
            inventory.add(waiting)
            yield len(waiting)
            waiting.clear()
    inventory.add(waiting)
    inventory.seal()
    yield len(waiting)


def _owner(key: InstanceKey) -> tuple[str, str, str]:
    return key.study, key.series, key.instance
