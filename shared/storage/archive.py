"""What the services are given of storage: one data partition of blobs and index, ready to use."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.model import InstanceKey, NewInstance, StoredInstance
from shared.storage import keys, rows
from shared.storage.blobs import BlobStore
from shared.storage.commit import CommitResult, Committer
from shared.storage.index import Index
from shared.storage.notes import Notes
from shared.storage.search import Found, search
from shared.storage.search_request import SearchRequest
from shared.storage.table import IndexTable
from shared.storage.text_writer import LeftBacklog, left_backlogs, work_off


@dataclass(frozen=True, slots=True)
class Archive:
    """The blobs, the index and the commits of one data partition.

    `search_scan_rows` is the number of rows a search may read that no key range narrows.
    """

    blobs: BlobStore
    index: Index
    table: IndexTable
    committer: Committer
    notes: Notes
    search_scan_rows: int

    async def open(self) -> None:
        """Make sure that container and table exist. Raises Unavailable."""
        await self.blobs.open()
        await self.index.open()

    async def put_sidecars(self, instance: NewInstance) -> None:
        """Write what does not fit into the instance's row to blobs beside its own."""
        for name, data in rows.sidecars_of(instance).items():
            await self.blobs.put(name, data, instance.key)

    async def delete_blobs_of(self, instance: NewInstance) -> None:
        """Delete the blobs of an instance that was not committed."""
        await self.blobs.delete([instance.version, *rows.sidecars_of(instance)])

    async def store(self, instances: list[NewInstance], *, replaces: bool) -> list[CommitResult]:
        """Commit instances of one study; see `Committer.store`."""
        return await self.committer.store(instances, replaces=replaces)

    async def left_texts(self, now: int) -> AsyncIterator[LeftBacklog]:
        """What has been left undone for text rows, as of `now` in microseconds since 1970."""
        async for left in left_backlogs(self.table, await self.index.partitions(), now):
            yield left

    async def write_left_texts(self, left: LeftBacklog) -> bool:
        """Do what was left undone; see `text_writer.work_off`."""
        return await work_off(self.table, left)

    async def search(self, request: SearchRequest) -> Found:
        """The page of matches a request asks for; see `storage.search.search`."""
        return await search(self.table, self.index, request, scan_limit=self.search_scan_rows)

    async def packed_metadata(self, instance: StoredInstance) -> bytes:
        """The gzipped DICOM JSON of an instance whose row was read with its metadata, wherever it lies."""
        if instance.metadata is not None:
            return instance.metadata
        return await self.blobs.read(keys.metadata_blob(instance.version))

    async def packed_frames(self, instance: StoredInstance) -> bytes | None:
        """The packed frame table of an instance whose row was read with it, wherever that lies; None without one."""
        if instance.frames_apart:
            return await self.blobs.read(keys.frames_blob(instance.version))
        return instance.frames

    async def packed_bulk(self, instance: StoredInstance) -> bytes | None:
        """The packed bulk table of an instance whose row was read with it, wherever that lies; None without one."""
        if instance.bulk_apart:
            return await self.blobs.read(keys.bulk_blob(instance.version))
        return instance.bulk

    async def owns(self, key: InstanceKey, version: str) -> bool:
        """Whether the index row of an instance names this version."""
        found = await self.index.get_instance(key)
        return found is not None and found.version == version
