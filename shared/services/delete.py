"""Delete: an instance, a series or a study leaves the index at once, its blobs after a grace time.

A large study takes several transactions. Each of them leaves a whole, if smaller, study with the right counts; the
first also leaves a note, so that a delete that dies half way is finished by the sweep, or by repeating it.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from shared.errors import NotFound
from shared.model import InstanceKey, Scope, StoredInstance
from shared.storage.archive import Archive
from shared.storage.commit import BATCH
from shared.storage.notes import NoteChange, UnfinishedDelete
from shared.storage.plan import Moment

#: Microseconds after which the sweep takes a delete for dead: longer than any request may run (host.json).
UNFINISHED_AFTER = 1_200_000_000


class DeleteService:
    """Deletes from one archive."""

    def __init__(self, archive: Archive, moment: Callable[[], Moment]) -> None:
        self._archive = archive
        self._moment = moment

    async def delete(self, scope: Scope) -> None:
        """Delete what the scope names. Raises NotFound when there is nothing, Unavailable when storage fails."""
        index = self._archive.index
        if scope.series is not None and scope.instance is not None:
            key = InstanceKey(scope.study, scope.series, scope.instance)
            if await index.get_instance(key) is None:
                raise NotFound("The specified instance cannot be found.")
            await self._archive.committer.delete(scope.study, [key])
            return
        if scope.series is not None:
            if await index.get_series(scope.study, scope.series) is None:
                raise NotFound("The specified series cannot be found.")
        elif await index.get_study(scope.study) is None:
            raise NotFound("The specified study cannot be found.")
        await self._delete_all(scope.study, scope.series)

    async def finish(self, note: UnfinishedDelete) -> None:
        """Finish a delete that died: what was stored since then stays."""
        async for batch in self._batches(note.study, note.series):
            keys_of_batch = [each.key for each in batch]
            await self._archive.committer.delete(note.study, keys_of_batch, before=note.before)

    async def _delete_all(self, study: str, series: str | None) -> None:
        """Delete batch by batch; of several, the first leaves a note and the last removes it."""
        committer = self._archive.committer
        left: NoteChange | None = None
        previous: list[StoredInstance] | None = None
        async for batch in self._batches(study, series):
            if previous is not None:
                note = None
                if left is None:
                    now = self._moment()
                    # Clocks of several processes differ: what is being deleted counts as older than the note.
                    before = max([now.time, *(each.created for each in [*previous, *batch])])
                    unfinished = UnfinishedDelete(study, series, before)
                    note = left = NoteChange(now.time + UNFINISHED_AFTER, now.tag, unfinished)
                await committer.delete(study, [each.key for each in previous], note)
            previous = batch
        if previous is not None:
            await committer.delete(study, [each.key for each in previous], replace(left, note=None) if left else None)

    async def _batches(self, study: str, series: str | None) -> AsyncIterator[list[StoredInstance]]:
        waiting: list[StoredInstance] = []
        async for page in self._archive.index.list_instances(study, series):
            waiting += page
            while len(waiting) > BATCH:
                yield waiting[:BATCH]
                del waiting[:BATCH]
        if waiting:
            yield waiting
