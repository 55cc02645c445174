"""Rebuild: the index made anew from the blobs alone.

    list the blobs --choose the newest version of each instance--> those without a row --scan, judge--> commit

Every blob says whose it is, and everything a row holds was computed from the blob in the first place, so the same scan
and the same commit compute it again (services/store.py). What the blobs do not tell:

- when an instance was committed: it counts as stored when its version was made, moments before;
- when its study was first stored, if that instance has been replaced or deleted since: the oldest there is counts;
- which rules it was stored under (v1 or v2): those of v2 apply, and leave attributes out that break a rule. Metadata
  that lie in a blob of their own are used as they are;
- that it was deleted: until the sweep has come, only a note of the index that is lost says so.

A row that names a blob which is there is never touched. So the same work may be done again, which goes on with what is
missing, and the service may go on meanwhile: commits are those of any store, and versions that a store may still be
busy with are left alone.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from shared.dicom.part10 import Part10Scanner
from shared.errors import MalformedDicom, MalformedRow, NotFound, ServiceError, SettingError, describe
from shared.model import InstanceKey, NewInstance, StoredInstance
from shared.services.judging import StoreRequest, prepare
from shared.services.progress import Progress, Tally
from shared.storage import keys
from shared.storage.archive import Archive
from shared.storage.commit import CommitResult
from shared.storage.inventory import Inventory, WantedVersion, list_blobs
from shared.storage.notes import Garbage, Notes, Orphan
from shared.storage.parallel import each_of, for_each, in_parallel
from shared.storage.plan import Moment
from shared.storage.rows import blobs_of, sidecars_of

logger = logging.getLogger(__name__)

#: Microseconds after which no store can be busy with a version any more: longer than any request may run (host.json).
SETTLED_AFTER = 1_200_000_000
#: Instances that are scanned before they are committed; bounds the metadata that is held.
COMMIT_AFTER = 200
#: Studies under way at a time. Each has one commit at a time; their instances share the room for scans.
STUDIES_AT_ONCE = 4
#: Blobs read at a time, each holding two pieces of 4 MiB and its header.
SCANS_AT_ONCE = 8

#: Later than any note is due.
_EVER = 16**13 - 2


class Rebuilding(StrEnum):
    """What a rebuild meets."""

    PRESENT = "rows that were there already"
    ADDED = "rows added"
    REMOVED = "rows removed: their instance was deleted, or their blob is gone"
    DELETED = "versions of deleted or replaced instances, left to the sweep"
    SUPERSEDED = "older or surplus versions, left to the sweep"
    YOUNG = "instances with a version younger than 20 minutes, left for another run"
    ROW_ALONE = "rows whose blob is gone or has another length"
    UNREADABLE = "blobs that are not the instance they say they are"
    REFUSED = "instances that the index does not take"
    MALFORMED = "rows and notes that cannot be read, with the studies that such a row is of"
    NO_OWNER = "blobs that do not say whose they are"
    FOREIGN = "blobs with names of another form"


#: What should not be.
FAULTS = frozenset({Rebuilding.MALFORMED, Rebuilding.ROW_ALONE, Rebuilding.UNREADABLE, Rebuilding.REFUSED})


@dataclass(frozen=True, slots=True)
class RebuildOptions:
    """How to rebuild.

    `idle`: nobody stores meanwhile, so the youngest versions count too. `removes`: a row goes whose blob is gone. `old`
    are the notes of another index, which this one replaces: what they call garbage stays garbage.
    """

    idle: bool = False
    removes: bool = False
    old: Notes | None = None


class RebuildService:
    """Rebuilds the index of one archive."""

    def __init__(
        self, archive: Archive, moment: Callable[[], Moment], parsing: Executor, *, max_header_bytes: int
    ) -> None:
        self._archive = archive
        self._moment = moment
        self._parsing = parsing
        self._max_header_bytes = max_header_bytes

    async def rebuild(self, options: RebuildOptions, progress: Progress, tally: Tally[Rebuilding]) -> None:
        """Add every row that is missing. Done again, it goes on.

        Raises Unavailable when storage fails, and SettingError rather than remove most rows.
        """
        with Inventory() as inventory:
            now = self._moment().time
            before = _EVER if options.idle else now - SETTLED_AFTER
            await self._take_stock(inventory, options, progress, tally)
            if options.removes:
                await self._refuse_another_container(inventory, progress)
            tally.add(Rebuilding.FOREIGN, count=inventory.foreign)
            tally.add(Rebuilding.NO_OWNER, count=inventory.count_ownerless())
            tally.add(Rebuilding.DELETED, count=inventory.count_garbage())
            tally.add(Rebuilding.YOUNG, count=inventory.choose(before))
            progress.begin("Instances", inventory.count_wanted())
            scanning = Scanning(self._archive, self._parsing, self._max_header_bytes, asyncio.Semaphore(SCANS_AT_ONCE))
            run = _Run(self._archive, self._moment, scanning, options.removes, before, inventory, progress, tally)
            await for_each(run.study, each_of(inventory.studies()), STUDIES_AT_ONCE)

    async def _take_stock(
        self, inventory: Inventory, options: RebuildOptions, progress: Progress, tally: Tally[Rebuilding]
    ) -> None:
        """List blobs and notes. Notes come last: what they name that was deleted meanwhile is in the listing still."""
        archive = self._archive
        # Blobs come first, so that of a container that does not exist no index is made.
        progress.begin("Blobs listed")
        async for more in list_blobs(archive.blobs, inventory):
            progress.advance(more)
        async for studies in archive.index.list_studies():
            inventory.add_studies(studies)
        for notes in (archive.notes, options.old):
            if notes is not None:
                async for _, _, note in notes.list_due(_EVER):
                    if isinstance(note, MalformedRow):
                        tally.add(Rebuilding.MALFORMED, note.row)
                    else:
                        inventory.note(note)

    async def _refuse_another_container(self, inventory: Inventory, progress: Progress) -> None:
        """Raises SettingError where most rows name blobs that are not there: it is the wrong container, or was lost."""
        progress.begin("Rows compared")
        rows = gone = 0
        async for studies in self._archive.index.list_studies():
            for study in studies:
                with suppress(MalformedRow):  # its turn comes
                    async for page in self._archive.index.list_instances(study):
                        rows += len(page)
                        gone += sum(inventory.length_of(row.version) is None for row in page)
                        progress.advance(len(page))
        if 2 * gone > rows:
            raise SettingError(
                f"DICOM_CONTAINER: {gone} of {rows} rows name blobs that it does not hold; if it is the right one all "
                "the same, rebuild into another table, which gets no such rows"
            )


@dataclass(frozen=True, slots=True)
class Scanning:
    """Reads blobs the way a store reads what arrives; `room` bounds how many at a time."""

    archive: Archive
    parsing: Executor
    max_header_bytes: int
    room: asyncio.Semaphore

    async def scan(self, wanted: WantedVersion) -> NewInstance | None:
        """What the index holds of an instance, from its blob; None if that is not the instance it says it is.

        Raises NotFound when the blob is gone, Unavailable when storage fails.
        """
        loop = asyncio.get_running_loop()
        async with self.room:
            scanner = Part10Scanner(max_header_bytes=self.max_header_bytes)
            try:
                async with aclosing(self.archive.blobs.pieces(wanted.version, 0, wanted.length)) as pieces:
                    async for piece in pieces:
                        await loop.run_in_executor(self.parsing, scanner.feed, piece)
                return await loop.run_in_executor(self.parsing, _prepared, scanner, wanted)
            except MalformedDicom:
                return None
            except ServiceError:
                raise
            except Exception as error:
                # As in a store: a defect met on the way is this instance's failure alone.
                logger.error("an instance could not be processed: %s", describe(error))
                return None


def _prepared(scanner: Part10Scanner, wanted: WantedVersion) -> NewInstance | None:
    request = StoreRequest(wanted.key.study, replaces=False, lenient=True)
    _, new = prepare(scanner.finish(), wanted.version, request)
    if new is None or new.key != wanted.key:
        return None
    return replace(new, created=keys.time_of_version(wanted.version))


@dataclass(frozen=True, slots=True)
class _Run:
    """One rebuild while it runs; `before` is the time from which versions count as young."""

    archive: Archive
    moment: Callable[[], Moment]
    scanning: Scanning
    removes: bool
    before: int
    inventory: Inventory
    progress: Progress
    tally: Tally[Rebuilding]

    async def study(self, study: str) -> None:
        """Rebuild one study; one with a row that cannot be read is left alone, its blobs too."""
        try:
            await self._rebuild(study)
        except MalformedRow as error:
            self.tally.add(Rebuilding.MALFORMED, error.row)

    async def _rebuild(self, study: str) -> None:
        async for page in self.archive.index.list_instances(study):
            for row in page:
                await self._compare(row)
        if self.inventory.wanted(study, "", 1):
            # The rows came first: whoever deleted an instance whose row was not there any more left a note before that.
            async for note in self.archive.notes.list_beside(study):
                if isinstance(note, Garbage):
                    struck = self.inventory.strike_off_garbage(study, note)
                    self.tally.add(Rebuilding.DELETED, count=struck)
                    self.progress.advance(struck)
        # In the order in which they were stored: newer values replace older ones in the study's attributes.
        after = ""
        while chosen := self.inventory.wanted(study, after, COMMIT_AFTER):
            after = chosen[-1].version
            await self._add(chosen)
            self.progress.advance(len(chosen))
        await self._leave_to_sweep(study)

    async def _compare(self, row: StoredInstance) -> None:
        """Strike off what has the row it needs; a row that is wrong goes where that harms nothing."""
        key, inventory = row.key, self.inventory
        garbage = inventory.is_garbage(row.version)
        length = inventory.length_of(row.version)
        if length is None:  # stored since the listing, or gone
            found = await self.archive.blobs.find(row.version)
            length = found.length if found else None
        if length == row.length and not garbage:
            inventory.settle(blobs_of(row))
            self.tally.add(Rebuilding.PRESENT)
            self.progress.advance(inventory.strike_off(key))
            return
        another = inventory.wanted_of(key) not in (None, row.version)
        if garbage or (length is None and (another or self.removes)):
            # A blob that is not there is no garbage, and must not be if it comes back.
            await self.archive.committer.delete(key.study, [key], before=row.created, garbage=length is not None)
            self.tally.add(Rebuilding.REMOVED, *_uids(key))
            return
        # A blob of another length is left alone as well: a delete would take it away.
        inventory.settle_all_of(key)
        self.tally.add(Rebuilding.ROW_ALONE, *_uids(key))
        self.progress.advance(inventory.strike_off(key))

    async def _add(self, chosen: Sequence[WantedVersion]) -> None:
        """Scan some instances of a study and commit them."""
        scanned = await in_parallel(self._scan, chosen)
        ready = [each for each in scanned if each is not None]
        if not ready:
            return
        await in_parallel(self._put_sidecars, ready)
        for new, result in zip(ready, await self.archive.store(ready, replaces=False), strict=True):
            match result:
                case CommitResult.STORED:
                    self.inventory.settle([new.version, *sidecars_of(new)])
                    self.tally.add(Rebuilding.ADDED)
                case CommitResult.EXISTS:  # it has been stored anew meanwhile
                    self.tally.add(Rebuilding.PRESENT)
                case CommitResult.REFUSED:
                    self.inventory.settle_all_of(new.key)
                    self.tally.add(Rebuilding.REFUSED, *_uids(new.key))

    async def _scan(self, wanted: WantedVersion) -> NewInstance | None:
        try:
            new = await self.scanning.scan(wanted)
        except NotFound:  # deleted since the listing
            self.tally.add(Rebuilding.DELETED)
            return None
        if new is None:
            # What cannot be read must not be taken for superfluous, nor may an older version stand for it.
            self.inventory.settle_all_of(wanted.key)
            self.tally.add(Rebuilding.UNREADABLE, *_uids(wanted.key), wanted.version)
        return new

    async def _put_sidecars(self, new: NewInstance) -> None:
        """Write what is missing. A sidecar that is there was written by the store itself and is never changed."""
        for name, data in sidecars_of(new).items():
            if self.inventory.length_of(name) is None:
                await self.archive.blobs.put(name, data, new.key)

    async def _leave_to_sweep(self, study: str) -> None:
        """Leave notes for what no row of the study names; the sweep looks again before it deletes."""
        for each in self.inventory.unsettled(self.before, study):
            assert each.owner is not None
            surplus = self.inventory.is_settled(each.version)  # sidecars beside a row that has no use for them
            note = Garbage(each.blobs) if surplus else Orphan(each.blobs, each.version, each.owner)
            await self.archive.notes.add(study, self.moment().due, each.version, note)
            self.tally.add(Rebuilding.SUPERSEDED)


def _uids(key: InstanceKey) -> tuple[str, str, str]:
    return key.study, key.series, key.instance
