"""Verify: whether index and blobs agree, as docs/storage-format.md says that they do at every moment.

    list all blobs --> for each bucket: read all keys --> examine its studies --> look at what is left over

What is listed is out of date as soon as somebody stores. So nothing counts that was found in the listings alone: a
study in which something looks wrong is examined again, row by row and blob by blob, until nobody changed it meanwhile.
Nothing is changed. A missing row is added, and a blob that is left over noted, by rebuild.py; what else is wrong with
an index is put right by making another one.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from shared.errors import MalformedRow
from shared.model import InstanceKey, StoredInstance, Study
from shared.services.examining import FAULTS, Blob, Finding, Verified, examine, is_implied
from shared.services.progress import Progress, Tally
from shared.storage import keys
from shared.storage.archive import Archive
from shared.storage.inventory import Inventory, ListedVersion, list_blobs
from shared.storage.ledger import Ledger, digest_of, read_bucket
from shared.storage.parallel import each_of, for_each, in_parallel
from shared.storage.plan import Moment
from shared.storage.rows import blobs_of
from shared.storage.texts import Backlog, backlog_of

__all__ = ["FAULTS", "Verified", "VerifyService"]

#: Studies examined at a time.
STUDIES_AT_ONCE = 8
#: Times a study in doubt is examined while others change it.
ATTEMPTS = 8
#: Later than any note is due.
_EVER = 16**13 - 2


@dataclass(frozen=True, slots=True)
class _Listed:
    """What was listed before. What is looked up is taken out, or marked: what is left belongs to nobody."""

    ledger: Ledger
    inventory: Inventory

    async def rows(self, names: Collection[str]) -> Mapping[str, bytes]:
        return self.ledger.take(names)

    async def blob(self, name: str) -> Blob | None:
        found = self.inventory.find(name)
        if found is None:
            return None
        self.inventory.settle([name])
        return Blob(*found)


@dataclass(frozen=True, slots=True)
class _AsItIs:
    """The table and the container themselves."""

    archive: Archive
    partition: str

    async def rows(self, names: Collection[str]) -> Mapping[str, bytes]:
        found = await in_parallel(lambda name: self.archive.table.get(self.partition, name), names)
        return {row.key: digest_of(row.columns) for row in found if row is not None}

    async def blob(self, name: str) -> Blob | None:
        found = await self.archive.blobs.find(name)
        return Blob(found.length, found.owner) if found else None


class VerifyService:
    """Verifies one archive."""

    def __init__(self, archive: Archive, moment: Callable[[], Moment], *, orphan_age: int) -> None:
        """`orphan_age` in microseconds: what no row names is in order while it is younger."""
        self._archive = archive
        self._moment = moment
        self._orphan_age = orphan_age

    async def verify(self, progress: Progress, tally: Tally[Verified]) -> None:
        """Compare everything and count what is wrong. Raises Unavailable when storage fails."""
        archive = self._archive
        young = self._moment().time - self._orphan_age
        with Inventory() as inventory:
            progress.begin("Blobs listed")
            async for more in list_blobs(archive.blobs, inventory):
                tally.add(Verified.BLOBS, count=more)
                progress.advance(more)
            tally.add(Verified.FOREIGN, count=inventory.foreign)
            partitions = await archive.index.partitions()
            for number, partition in enumerate(partitions, 1):
                with Ledger() as ledger:
                    bucket = _Bucket(archive, partition, _Listed(ledger, inventory), progress, tally)
                    await bucket.verify(f"bucket {number} of {len(partitions)}")
            # Last: whoever took a row away while it was looked for has left a note by now.
            async for _, _, note in archive.notes.list_due(_EVER):
                if isinstance(note, MalformedRow):
                    tally.add(Verified.MALFORMED, note.row)
                else:
                    inventory.note(note)
            tally.add(Verified.NOTED, count=inventory.count_noted())
            await self._verify_blobs(inventory, young, tally)

    async def _verify_blobs(self, inventory: Inventory, young: int, tally: Tally[Verified]) -> None:
        """What no row names, and what one names although it is garbage."""
        for version in inventory.unsettled(_EVER):
            if (keys.time_of_version(version.version) or 0) >= young:
                tally.add(Verified.YOUNG)
            elif (kind := await self._kind_of(version)) is not None:
                tally.add(kind, version.version)
        for name, owner in inventory.doomed():
            if owner is not None and (row := await self._row_of(owner)) is not None and row.version == name:
                tally.add(Verified.BLOB_DOOMED, owner.study, owner.series, owner.instance, name)

    async def _kind_of(self, version: ListedVersion) -> Verified | None:
        """What is wrong with blobs that nobody named; None if they are named by now, or gone."""
        if version.owner is not None:
            row = await self._row_of(version.owner)
            if row is not None and row.version == version.version:
                return None if set(version.blobs) <= set(blobs_of(row)) else Verified.SIDECAR_SURPLUS
        there = await in_parallel(self._archive.blobs.find, version.blobs)
        return Verified.NO_ROW if any(there) else None

    async def _row_of(self, key: InstanceKey) -> StoredInstance | None:
        """The row of an instance; None for one that cannot be read, which has been counted with its study."""
        try:
            return await self._archive.index.get_instance(key)
        except MalformedRow:
            return None


@dataclass(frozen=True, slots=True)
class _Bucket:
    """One bucket being verified."""

    archive: Archive
    partition: str
    listed: _Listed
    progress: Progress
    tally: Tally[Verified]

    async def verify(self, name: str) -> None:
        """Examine every study, and what is left when all have taken their rows."""
        ledger = self.listed.ledger
        self.progress.begin(f"Rows of {name}")
        async for read in read_bucket(self.archive.table, self.archive.index, self.partition, ledger):
            self.progress.advance(read.rows)
            for kind, rows in ((Verified.MALFORMED, read.malformed), (Verified.ASTRAY, read.astray)):
                for row in rows:
                    self.tally.add(kind, row)
        self.progress.begin(f"Studies of {name}", ledger.count_studies())
        await for_each(self._verify_study, each_of(ledger.studies()), STUDIES_AT_ONCE)
        await for_each(self._verify_left, each_of(ledger.left()), STUDIES_AT_ONCE)

    async def _verify_study(self, study: str) -> None:
        self.progress.advance()
        self.tally.add(Verified.STUDIES)
        try:
            findings, instances = await examine(self.archive.index, study, None, self.listed)
        except MalformedRow as error:
            self.tally.add(Verified.MALFORMED, error.row)
            return
        self.tally.add(Verified.INSTANCES, count=instances)
        if findings:
            await self._settle(study, self._examine_again)

    async def _examine_again(self, study: str) -> list[Finding]:
        backlog = await self._backlog_of(await self.archive.index.get_study(study))
        findings, _ = await examine(self.archive.index, study, backlog, _AsItIs(self.archive, self.partition))
        return findings

    async def _verify_left(self, left: tuple[str, list[str]]) -> None:
        study, rows = left

        async def look(study: str) -> list[Finding]:
            found = []
            for row in rows:
                backlog = await self._backlog(study, keys.time_of_search_row(row))
                try:
                    if await is_implied(self.archive.index, row, backlog):
                        continue
                except MalformedRow:  # counted with the study
                    continue
                if await self.archive.table.get(self.partition, row, select=["PartitionKey"]) is not None:
                    is_text = row.split("!")[1].endswith("t")
                    found.append(Finding(Verified.TEXT_SURPLUS if is_text else Verified.SEARCH_SURPLUS, (row,)))
            return found

        await self._settle(study, look)

    async def _settle(self, study: str, look: Callable[[str], Awaitable[list[Finding]]]) -> None:
        """Look at a study until nobody changed it meanwhile, and count what is wrong then."""
        for _ in range(ATTEMPTS):
            before = await self._tag(study)
            findings = await look(study)
            if not findings or await self._tag(study) == before:
                for each in findings:
                    self.tally.add(each.kind, *each.names)
                return
        self.tally.add(Verified.BUSY, study)

    async def _tag(self, study: str) -> tuple[str, str] | None:
        """What changes with every commit of a study, and with every transaction that works off its backlog."""
        try:
            found = await self.archive.index.get_study(study)
        except MalformedRow:  # counted with the study
            return None
        return (found.tag, str(await self._backlog_of(found))) if found else None

    async def _backlog_of(self, study: Study | None) -> Backlog | None:
        return await self._backlog(study.uid, keys.newest_first(study.created)) if study else None

    async def _backlog(self, study: str, time: str) -> Backlog | None:
        """What is left to do for the text rows of a study that was first stored at a time; it may be gone."""
        row = await self.archive.table.get(self.partition, keys.backlog_row(time, study))
        try:
            return backlog_of(row) if row else None
        except MalformedRow:  # counted with the bucket
            return None
