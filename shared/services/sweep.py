"""The sweep: what timers do behind the requests. Deletes garbage, finishes what died half way, finds orphans.

`sweep` runs often and works off the notes that are due, and the text rows that were left to be written. `find_orphans`
runs rarely: it looks once at every blob, when that is old enough that no store can still be busy with it, and leaves a
note for those that no row names. Both may run at any time, next to requests and next to themselves, and may be
interrupted anywhere.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.errors import MalformedRow, describe
from shared.services.delete import DeleteService
from shared.storage.archive import Archive
from shared.storage.notes import Garbage, Orphan, SweepNote, UnfinishedDelete
from shared.storage.parallel import in_parallel
from shared.storage.plan import Moment
from shared.storage.versions import BlobVersion, list_versions

logger = logging.getLogger(__name__)

#: Versions whose rows are looked for before it is written down how far the search has come.
CHECKED_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Swept:
    """What one run did, for the log."""

    notes: int = 0
    failed: int = 0
    blobs: int = 0
    orphans: int = 0
    texts: int = 0


class SweepService:
    """Sweeps one archive."""

    def __init__(
        self, archive: Archive, delete: DeleteService, moment: Callable[[], Moment], *, orphan_age: int
    ) -> None:
        """`orphan_age` in microseconds."""
        self._archive = archive
        self._delete = delete
        self._moment = moment
        self._orphan_age = orphan_age

    async def sweep(self) -> Swept:
        """Work off every note that is due, and write text rows that were left to be written.

        What fails stays for the next run and stops nothing else.
        """
        done = failed = blobs = texts = 0
        now = self._moment().time
        async for partition, name, note in self._archive.notes.list_due(now):
            try:
                blobs += await self._work_off(note)
                await self._archive.notes.delete(partition, name)
                done += 1
            except Exception as error:
                # Whatever it is: a note that cannot be worked off must not keep the others from it.
                failed += 1
                _log_failure(error)
        async for left in self._archive.left_texts(now):
            try:
                texts += await self._archive.write_left_texts(left)
            except Exception as error:
                failed += 1
                _log_failure(error)
        return Swept(notes=done, failed=failed, blobs=blobs, texts=texts)

    async def _work_off(self, note: SweepNote | MalformedRow) -> int:
        """Do what a note says; returns the number of blobs deleted."""
        match note:
            case MalformedRow():
                raise note
            case Garbage(blobs):
                await self._archive.blobs.delete(blobs)
                return len(blobs)
            case Orphan(blobs, version, owner):
                if await self._archive.owns(owner, version):
                    return 0  # its store was only slow
                await self._archive.blobs.delete(blobs)
                return len(blobs)
            case UnfinishedDelete():
                await self._delete.finish(note)
                return 0

    async def find_orphans(self) -> Swept:
        """Look at the blobs made since the last run and until `orphan_age` ago; leave a note for each orphan."""
        await self._archive.open()
        notes = self._archive.notes
        until = self._moment().time - self._orphan_age
        checked = await notes.orphans_checked()
        orphans = 0
        waiting: list[BlobVersion] = []
        async for version in list_versions(self._archive.blobs, checked, until):
            if len(waiting) >= CHECKED_AT_ONCE:
                orphans += await self._note_orphans(waiting)
                waiting.clear()
                await notes.set_orphans_checked(version.made)
            waiting.append(version)
        orphans += await self._note_orphans(waiting)
        if until > checked:
            await notes.set_orphans_checked(until)
        return Swept(orphans=orphans)

    async def _note_orphans(self, versions: Sequence[BlobVersion]) -> int:
        """Leave a note for each of the versions that no row names; returns how many those are."""
        orphans = [
            version
            for version, is_owned in zip(versions, await in_parallel(self._is_owned, versions), strict=True)
            if not is_owned
        ]
        for each in orphans:
            due = self._moment().due
            if each.owner is None:  # any partition will do for the note
                await self._archive.notes.add(each.version, due, each.version, Garbage(each.blobs))
            else:
                note = Orphan(each.blobs, each.version, each.owner)
                await self._archive.notes.add(each.owner.study, due, each.version, note)
        return len(orphans)

    async def _is_owned(self, version: BlobVersion) -> bool:
        try:
            return version.owner is not None and await self._archive.owns(version.owner, version.version)
        except MalformedRow:  # nobody can tell, and the others must be looked at
            return True


def _log_failure(error: Exception) -> None:
    logger.error("work of the sweep is left for its next run: %s", describe(error))
