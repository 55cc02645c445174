"""The notes of the sweep: work that is left for later, in the partition of the study it concerns.

A commit that makes garbage writes its note in the same transaction; whatever else leaves work behind adds one. A note
stays until its work is done, and every kind of work may be done twice.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import MalformedRow, Unavailable
from shared.model import InstanceKey, StoredInstance
from shared.storage import keys
from shared.storage.index import ABOUT_ITSELF, Index
from shared.storage.rows import blobs_of, number_of, reading
from shared.storage.table import Column, Committed, IndexTable, Operation, Row

_ORPHANS_ROW = "orphans"


@dataclass(frozen=True, slots=True)
class Garbage:
    """Blobs that no row names any more."""

    blobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Orphan:
    """The blobs of a version that no row named when it was looked for; to be looked for again before they go."""

    blobs: tuple[str, ...]
    version: str
    owner: InstanceKey


@dataclass(frozen=True, slots=True)
class UnfinishedDelete:
    """A delete of a study, or of one series, that takes several transactions; instances newer than `before` stay."""

    study: str
    series: str | None
    before: int


type SweepNote = Garbage | Orphan | UnfinishedDelete


@dataclass(frozen=True, slots=True)
class NoteChange:
    """What a commit does to a note besides: it writes what `note` says, or removes it where that is None.

    `due` is in microseconds since 1970; with `identifier`, any text that is unique, it names the note.
    """

    due: int
    identifier: str
    note: SweepNote | None

    @property
    def key(self) -> str:
        """RowKey of the note."""
        return keys.sweep_row(self.due, self.identifier)

    def operation(self) -> Operation:
        """The change as a part of a transaction."""
        return Operation("put", self.key, note_columns(self.note)) if self.note else Operation("delete", self.key)


def note_columns(note: SweepNote) -> dict[str, Column]:
    """Columns of a sweep row."""
    match note:
        case Garbage(blobs):
            return {"kind": "garbage", "blobs": " ".join(blobs)}
        case Orphan(blobs, version, owner):
            return {
                "kind": "orphan",
                "blobs": " ".join(blobs),
                "version": version,
                "owner": keys.instance_row(owner),
            }
        case UnfinishedDelete(study, series, before):
            return {"kind": "delete", "study": study, "seriesUid": series or "", "before": before}


def note_of(row: Row) -> SweepNote | MalformedRow:
    """The note in a sweep row; or what is to be said of it, for one that nobody can read must not hide the others."""
    try:
        with reading(row.key):
            return _note_of(row.columns)
    except MalformedRow as error:
        return error


def _note_of(columns: Mapping[str, Any]) -> SweepNote:
    match columns["kind"]:
        case "garbage":
            return Garbage(tuple(columns["blobs"].split()))
        case "orphan":
            owner = keys.key_of_instance_row(columns["owner"])
            return Orphan(tuple(columns["blobs"].split()), columns["version"], owner)
        case "delete":
            return UnfinishedDelete(columns["study"], columns["seriesUid"] or None, number_of(columns["before"]))
        case _:
            raise ValueError("a note of no kind that there is")


def garbage_of(instances: Sequence[StoredInstance]) -> Garbage:
    """The note that leaves every blob of some instances to the sweep. Under 300 instances fit into one note."""
    return Garbage(tuple(name for instance in instances for name in blobs_of(instance)))


class Notes:
    """The notes of one data partition, and how far the search for orphans has come."""

    def __init__(self, table: IndexTable, index: Index) -> None:
        self._table = table
        self._index = index

    async def add(self, study: str, due: int, identifier: str, note: SweepNote) -> None:
        """Leave work for the sweep, due at a time in microseconds since 1970. Raises Unavailable if it is not noted."""
        change = NoteChange(due, identifier, note)
        answer = await self._table.commit(await self._index.partition_of(study), [change.operation()])
        if not isinstance(answer, Committed):
            raise Unavailable("the index does not take a note")

    async def list_due(self, now: int) -> AsyncIterator[tuple[str, str, SweepNote | MalformedRow]]:
        """All work that is due: partition, RowKey and note."""
        for partition in await self._index.partitions():
            async for page in self._table.pages(partition, keys.sweep_rows_due(now)):
                for row in page:
                    yield partition, row.key, note_of(row)

    async def list_beside(self, study: str) -> AsyncIterator[SweepNote | MalformedRow]:
        """All work, due or not, in the partition of a study: its own notes and those of the studies beside it."""
        async for page in self._table.pages(await self._index.partition_of(study), keys.sweep_rows()):
            for row in page:
                yield note_of(row)

    async def delete(self, partition: str, key: str) -> None:
        """Strike off work that is done; no error if it is gone already."""
        await self._table.commit(partition, [Operation("delete", key)])

    async def orphans_checked(self) -> int:
        """Time, in microseconds since 1970, before which every blob has been looked at; 0 at first."""
        row = await self._table.get(ABOUT_ITSELF, _ORPHANS_ROW)
        return row.columns["checkedBefore"] if row else 0

    async def set_orphans_checked(self, time: int) -> None:
        """Remember how far the search for orphans has come."""
        await self._table.commit(ABOUT_ITSELF, [Operation("put", _ORPHANS_ROW, {"checkedBefore": time})])
