"""Delete: an instance, a series or a study leaves the index at once, its blobs after a grace time.

A large study takes several transactions. Each of them leaves a whole, if smaller, study with the right counts; the
first also leaves a note, so that a delete that dies half way is finished by the sweep, or by repeating it.
"""

from collections.abc import AsyncIterator, Callable

from shared.errors import NotFound
from shared.model import InstanceKey, Scope
from shared.storage import keys
from shared.storage.archive import Archive
from shared.storage.commit import BATCH
from shared.storage.plan import Moment
from shared.storage.rows import UnfinishedDelete

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
        now = self._moment()
        note = UnfinishedDelete(scope.study, scope.series, now.time)
        await self._delete_all(note, keys.sweep_row(now.time + UNFINISHED_AFTER, now.tag))

    async def finish(self, note: UnfinishedDelete) -> None:
        """Finish a delete that died: what was stored since then stays."""
        await self._delete_all(note, None)

    async def _delete_all(self, note: UnfinishedDelete, name: str | None) -> None:
        """Delete batch by batch; with a `name`, the note exists from the first of several batches to the last."""
        committer = self._archive.committer
        noted = False
        previous: list[InstanceKey] | None = None
        async for batch in self._batches(note):
            if previous is not None:
                first = name is not None and not noted
                await committer.delete(note.study, previous, (name, note) if name and first else None)
                noted = noted or first
            previous = batch
        if previous is not None:
            await committer.delete(note.study, previous, (name, None) if name and noted else None)

    async def _batches(self, note: UnfinishedDelete) -> AsyncIterator[list[InstanceKey]]:
        waiting: list[InstanceKey] = []
        async for page in self._archive.index.list_instances(note.study, note.series):
            waiting += [each.key for each in page if each.created <= note.before]
            while len(waiting) > BATCH:
                yield waiting[:BATCH]
                del waiting[:BATCH]
        if waiting:
            yield waiting
