"""The search rows of one bucket as the table has them, on disk: what verifying compares with what they should be.

A study has some hundred of them, and they stand in the order of what they are found by, not in that of studies. So they
are all written to a temporary file first, some 200 bytes each; each study then takes out those it implies, and what is
left belongs to none.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Self

from shared.storage import keys
from shared.storage.inventory import workspace
from shared.storage.table import IndexTable, Row

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
            [(row.key, digest_of(row.columns), _study_of(row.key)) for row in rows],
        )

    def add_studies(self, rows: Iterable[Row]) -> None:
        """Add the studies that rows of studies, series or instances belong to."""
        self._write("INSERT OR IGNORE INTO study VALUES (?)", [(keys.study_of_row(row.key),) for row in rows])

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


def _study_of(row: str) -> str:
    """The study a row belongs to; none has one of the vocabulary."""
    return "" if row.startswith("v!") else keys.key_of_search_row(row).uids[0]


def digest_of(columns: Mapping[str, Any]) -> bytes:
    """A digest of 16 bytes of the columns of a row."""
    text = json.dumps(columns, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


async def read_bucket(table: IndexTable, partition: str, ledger: Ledger) -> AsyncIterator[int]:
    """Read the keys of a bucket, and digests of its search rows, into a ledger; yields how many rows more there are."""
    for rows in keys.rows_of_studies():
        async for page in table.pages(partition, rows, select=["PartitionKey"]):
            ledger.add_studies(page)
            yield len(page)
    for rows in keys.rows_of_searches():
        async for page in table.pages(partition, rows):
            ledger.add(page)
            yield len(page)
