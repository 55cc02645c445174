"""The sweep: what timers do behind the requests. Deletes garbage, finishes deletes that died, finds orphans.

`sweep` runs often and works off the notes that are due. `find_orphans` runs rarely: it looks once at every blob, when
that is old enough that no store can still be busy with it, and leaves a note for those that no row names. Both may run
at any time, next to requests and next to themselves, and may be interrupted anywhere.
"""

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import describe
from shared.model import InstanceKey
from shared.services.delete import DeleteService
from shared.storage import keys
from shared.storage.archive import Archive
from shared.storage.parallel import in_parallel
from shared.storage.plan import Moment
from shared.storage.rows import Garbage, Orphan, SweepNote, UnfinishedDelete

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
        """Work off every note that is due. A note that fails stays for the next run and stops no other."""
        done = failed = blobs = 0
        async for partition, name, note in self._archive.index.list_notes(self._moment().time):
            try:
                blobs += await self._work_off(note)
                await self._archive.index.delete_note(partition, name)
                done += 1
            except Exception as error:
                # Whatever it is: a note that cannot be worked off must not keep the others from it.
                failed += 1
                logger.error("work of the sweep is left for its next run: %s", describe(error))
        return Swept(notes=done, failed=failed, blobs=blobs)

    async def _work_off(self, note: SweepNote) -> int:
        """Do what a note says; returns the number of blobs deleted."""
        match note:
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
        index = self._archive.index
        until = self._moment().time - self._orphan_age
        checked = await index.orphans_checked()
        orphans = 0
        if checked == 0:  # the first run begins with the first blob, whenever that was made
            orphans += await self._check("", 0, until)
        else:
            start = checked
            while start < until:
                orphans += await self._check(keys.version_prefix(start), checked, until)
                start = (start // keys.VERSION_PREFIX_SPAN + 1) * keys.VERSION_PREFIX_SPAN
                await index.set_orphans_checked(min(start, until))
        if until > checked:
            await index.set_orphans_checked(until)
        return Swept(orphans=orphans)

    async def _check(self, prefix: str, since: int, until: int) -> int:
        """Look at the blobs made from `since` to before `until` under a prefix; returns how many are orphans."""
        waiting: dict[str, list[str]] = defaultdict(list)
        owners: dict[str, InstanceKey] = {}
        orphans = 0
        async for blob in self._archive.blobs.list_names(prefix):
            version = keys.version_of_blob(blob.name)
            made = keys.time_of_version(version)
            if made is None or made < since:
                continue  # not a blob of ours, or looked at before
            if made >= until:
                break
            if blob.owner is None:
                # An upload was being undone when its process died. Any partition will do for the note.
                await self._archive.index.add_note(version, self._moment().due, version, Garbage((blob.name,)))
                orphans += 1
                continue
            if version not in waiting and len(waiting) >= CHECKED_AT_ONCE:
                orphans += await self._note_orphans(waiting, owners)
                waiting.clear()
                await self._archive.index.set_orphans_checked(made)
            waiting[version].append(blob.name)
            owners[version] = blob.owner
        return orphans + await self._note_orphans(waiting, owners)

    async def _note_orphans(self, versions: dict[str, list[str]], owners: dict[str, InstanceKey]) -> int:
        owned = await in_parallel(lambda version: self._archive.owns(owners[version], version), versions)
        now = self._moment()
        orphans = [version for version, is_owned in zip(versions, owned, strict=True) if not is_owned]
        for version in orphans:
            owner = owners[version]
            note = Orphan(tuple(versions[version]), version, owner)
            await self._archive.index.add_note(owner.study, now.due, version, note)
        owners.clear()
        return len(orphans)
