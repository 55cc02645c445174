"""The search rows of one bucket as the table has them, on disk: what verifying compares with what they should be.

A study has some hundred of them, and they stand in the order of what they are found by, not in that of studies. So they
are all written to a temporary file first, some 200 bytes each; each study then takes out those it implies, and what is
left belongs to none.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Self

from shared.errors import MalformedRow
from shared.storage import keys
from shared.storage.index import Index
from shared.storage.inventory import workspace
from shared.storage.table import IndexTable, Row
from shared.storage.texts import backlog_of

#: Rows that are given at a time.
PAGE = 1000

_SCHEMA = """
CREATE TABLE found (key TEXT PRIMARY KEY, digest BLOB NOT NULL, study TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE study (uid TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Ledger:
    """The search rows, backlogs and vocabulary of one bucket, and its studies. Use it as a context manager."""

    def __init__(self) -> None:
        self._database = workspace(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, rows: Iterable[Row]) -> None:
        """Add search rows, or rows of the vocabulary."""
        self._write(
            "INSERT OR REPLACE INTO found VALUES (?, ?, ?)",
            [(row.key, digest_of(row.columns), keys.owner_of_row(row.key)) for row in rows],
        )

    def add_studies(self, rows: Iterable[Row]) -> None:
        """Add the studies that rows of studies, series or instances belong to."""
        self._write("INSERT OR IGNORE INTO study VALUES (?)", [(keys.owner_of_row(row.key),) for row in rows])

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._database.executemany(statement, rows)

    def count_studies(self) -> int:
        """How many studies there are."""
        count: int = self._database.execute("SELECT count(*) FROM study").fetchone()[0]
        return count

    def studies(self) -> Iterator[str]:
        """The studies, in the order of UIDs."""
        at = ""
        while at := self._database.execute("SELECT min(uid) FROM study WHERE uid > ?", (at,)).fetchone()[0] or "":
            yield at

    def take(self, names: Iterable[str]) -> dict[str, bytes]:
        """Take rows out; the digests of the columns of those that were there."""
        taken = {}
        for name in names:
            found = self._database.execute("DELETE FROM found WHERE key = ? RETURNING digest", (name,)).fetchone()
            if found:
                taken[name] = found[0]
        return taken

    def left(self) -> Iterator[tuple[str, list[str]]]:
        """What is left of search rows, some of one study at a time: its UID and the RowKeys."""
        self._database.execute("DELETE FROM found WHERE study = ''")
        self._database.execute("CREATE INDEX found_study ON found (study, key)")
        page = [("", "")]
        while page := self._database.execute(
            "SELECT study, key FROM found WHERE (study, key) > (?, ?) ORDER BY study, key LIMIT ?", (*page[-1], PAGE)
        ).fetchall():
            for study, rows in groupby(page, key=lambda row: row[0]):
                yield study, [key for _, key in rows]


def digest_of(columns: Mapping[str, Any]) -> bytes:
    """A digest of 16 bytes of the columns of a row."""
    text = json.dumps(columns, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(slots=True)
class Read:
    """Some rows of a bucket that were read: how many, and the RowKeys of those that are in no ledger."""

    rows: int
    malformed: list[str] = field(default_factory=list)
    #: Rows of studies that belong into another bucket.
    astray: list[str] = field(default_factory=list)


async def read_bucket(table: IndexTable, index: Index, partition: str, ledger: Ledger) -> AsyncIterator[Read]:
    """Read the keys of a bucket, and digests of its search rows, into a ledger; yields what more has been read."""
    for rows in keys.rows_of_studies():
        async for page in table.pages(partition, rows, select=["PartitionKey"]):
            read = Read(len(page))
            ledger.add_studies([row for row in page if await _belongs(row, index, partition, read)])
            yield read
    for rows in keys.rows_of_searches():
        async for page in table.pages(partition, rows):
            read = Read(len(page))
            ledger.add([row for row in page if await _belongs(row, index, partition, read)])
            yield read


async def _belongs(row: Row, index: Index, partition: str, read: Read) -> bool:
    """Whether a row is one that there may be in a bucket; else it is written down."""
    study = keys.owner_of_row(row.key)
    if study is None or _is_broken_backlog(row):
        read.malformed.append(row.key)
        return False
    if study and await index.partition_of(study) != partition:
        read.astray.append(row.key)
        return False
    return True


def _is_broken_backlog(row: Row) -> bool:
    """Whether a row is a backlog that cannot be read; of other search rows the columns are compared later."""
    if not keys.is_backlog_row(row.key):
        return False
    try:
        backlog_of(row)
    except MalformedRow:
        return True
    return False
