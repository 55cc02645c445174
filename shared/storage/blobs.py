"""The blobs: immutable, under opaque names, written while they arrive and read in bounded pieces.

    upload   small: one Put Blob from memory; larger: blocks staged while the next bytes arrive, then one Put Block List
    read     ranges of at most `PIECE` bytes, each one storage call

Memory is bounded by pieces and blocks, never by the size of an instance. SDK errors end here, as in table.py.

A blob's metadata names the index row that should point to it, so that the sweep can find out whether one does
(PS3.10 files hold the same UIDs; the blob's *name* says nothing).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobProperties, ContentSettings, StorageErrorCode
from azure.storage.blob.aio import ContainerClient

from shared.errors import NotFound, Unavailable
from shared.model import InstanceKey
from shared.storage.failures import unavailable
from shared.storage.parallel import in_parallel

MIB = 1024 * 1024
#: Bytes up to which a blob is one Put Blob, and size of the blocks of larger ones. Also what an upload buffers.
BLOCK = 8 * MIB
#: Staged blocks under way at the same time in this process, whatever the number of uploads: bounds their memory.
PARALLEL_BLOCKS = 6
#: Bytes of one ranged read.
PIECE = 4 * MIB


@dataclass(frozen=True, slots=True)
class BlobName:
    """A stored blob as a listing shows it: its name, the instance whose row should name it, its length in bytes."""

    name: str
    owner: InstanceKey | None
    length: int
    etag: str


class BlobStore:
    """The container of instances behind one SDK client."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container
        self._blocks = asyncio.Semaphore(PARALLEL_BLOCKS)
        self._opened = False
        self._opening = asyncio.Lock()

    @property
    def url(self) -> str:
        """The URL of the container."""
        return self._container.url

    async def open(self) -> None:
        """Make sure that the container exists."""
        if self._opened:
            return
        async with self._opening:
            if not self._opened:
                try:
                    await self._container.create_container()
                except ResourceExistsError as error:
                    # One that is being deleted exists only as a name.
                    if error.error_code != StorageErrorCode.CONTAINER_ALREADY_EXISTS:  # type: ignore[attr-defined]
                        raise unavailable("blob storage", error) from error
                except AzureError as error:
                    raise unavailable("blob storage", error) from error
                self._opened = True

    async def check(self) -> None:
        """Ask the container for its properties. Raises Unavailable when it does not answer."""
        await self.open()
        try:
            await self._container.get_container_properties()
        except AzureError as error:
            raise unavailable("blob storage", error) from error

    def upload(self, name: str) -> "Upload":
        """Begin to write a blob."""
        return Upload(self._container, name, self._blocks)

    async def put(self, name: str, data: bytes, owner: InstanceKey) -> None:
        """Write a small blob at once."""
        upload = self.upload(name)
        await upload.write(data)
        await upload.finish(owner)

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a blob in one storage call; `length` of at most `PIECE` bytes, the whole blob when None.

        Raises NotFound when the blob is gone: a reader was overtaken by a delete and its grace time.
        """
        if length == 0:
            return b""  # there is no way to ask for an empty range
        client = self._container.get_blob_client(name)
        try:
            download = await client.download_blob(offset=offset, length=length, max_concurrency=1)
            return await download.readall()
        except ResourceNotFoundError as error:
            if error.error_code == StorageErrorCode.CONTAINER_NOT_FOUND:  # type: ignore[attr-defined]
                raise unavailable("blob storage", error) from error
            raise NotFound("the instance has been deleted") from None
        except AzureError as error:
            raise unavailable("blob storage", error) from error
        except ValueError as error:  # of the SDK, for an answer without the headers that it must have
            raise Unavailable("blob storage gave an answer that makes no sense") from error

    async def pieces(self, name: str, offset: int, length: int) -> AsyncGenerator[bytes]:
        """A range of a blob in pieces of at most `PIECE` bytes, the next one being read while one is used."""
        end = offset + length
        following: asyncio.Task[bytes] | None = None
        try:
            while offset < end:
                size = min(PIECE, end - offset)
                piece = await (following or self.read(name, offset, size))
                offset += size
                following = None
                if offset < end:
                    following = asyncio.create_task(self.read(name, offset, min(PIECE, end - offset)))
                yield piece
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def delete(self, names: Iterable[str]) -> None:
        """Delete blobs; those that are gone already do not matter."""
        await in_parallel(self._delete, names)

    async def _delete(self, name: str) -> None:
        try:
            await self._container.delete_blob(name)
        except ResourceNotFoundError:
            pass
        except AzureError as error:
            raise unavailable("blob storage", error) from error

    async def find(self, name: str) -> BlobName | None:
        """A blob as a listing would show it, None when there is none."""
        try:
            return _listed(await self._container.get_blob_client(name).get_blob_properties())
        except ResourceNotFoundError:
            return None
        except AzureError as error:
            raise unavailable("blob storage", error) from error

    async def list_names(self, prefix: str) -> AsyncIterator[BlobName]:
        """The blobs whose names begin with `prefix`, in the order of names."""
        try:
            async for blob in self._container.list_blobs(name_starts_with=prefix, include=["metadata"]):
                yield _listed(blob)
        except AzureError as error:
            raise unavailable("blob storage", error) from error


class Upload:
    """One blob being written. Finish it or discard it; what is never finished is never visible."""

    def __init__(self, container: ContainerClient, name: str, blocks: asyncio.Semaphore) -> None:
        self.name = name
        self._client = container.get_blob_client(name)
        self._blocks = blocks
        self._buffer = bytearray()
        self._staged: list[BlobBlock] = []
        self._staging: set[asyncio.Task[None]] = set()
        self._visible = False

    async def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Waits while too many blocks are under way. Raises Unavailable when a block cannot be staged."""
        rest = memoryview(data)
        while len(self._buffer) + len(rest) > BLOCK:
            taken = BLOCK - len(self._buffer)
            self._buffer += rest[:taken]
            rest = rest[taken:]
            await self._stage()
        self._buffer += rest

    async def finish(self, owner: InstanceKey) -> None:
        """Make the blob visible, with its owner's UIDs as metadata. Raises Unavailable when it cannot be written."""
        metadata = {"study": owner.study, "series": owner.series, "instance": owner.instance}
        content = ContentSettings(content_type="application/dicom")
        try:
            if not self._staged:
                # Overwriting makes the SDK's retry of a lost answer harmless; the name is ours alone.
                await self._client.upload_blob(
                    bytes(self._buffer), overwrite=True, metadata=metadata, content_settings=content
                )
            else:
                if self._buffer:
                    await self._stage()
                await asyncio.gather(*self._staging)
                await self._client.commit_block_list(self._staged, metadata=metadata, content_settings=content)
            self._visible = True
        except AzureError as error:
            raise unavailable("blob storage", error) from error
        finally:
            self._buffer = bytearray()

    async def discard(self) -> None:
        """Undo what was written, finished or not. Staged blocks are dropped at once, not after the service's week."""
        await asyncio.gather(*self._staging, return_exceptions=True)
        self._buffer = bytearray()
        try:
            if self._staged and not self._visible:
                await self._client.upload_blob(b"", overwrite=True)
            if self._staged or self._visible:
                await self._client.delete_blob()
        except AzureError as error:
            raise unavailable("blob storage", error) from error

    async def _stage(self) -> None:
        block, self._buffer = bytes(self._buffer), bytearray()
        identifier = f"{len(self._staged):08d}"
        self._staged.append(BlobBlock(block_id=identifier))
        await self._blocks.acquire()
        task = asyncio.create_task(self._stage_one(identifier, block))
        self._staging.add(task)
        for finished in [each for each in self._staging if each.done()]:
            self._staging.discard(finished)
            finished.result()

    async def _stage_one(self, identifier: str, block: bytes) -> None:
        try:
            await self._client.stage_block(identifier, block, length=len(block))
        except AzureError as error:
            raise unavailable("blob storage", error) from error
        finally:
            self._blocks.release()


def _listed(blob: BlobProperties) -> BlobName:
    return BlobName(blob.name, _owner(blob), blob.size, blob.etag.strip('"'))


def _owner(blob: BlobProperties) -> InstanceKey | None:
    metadata = blob.metadata or {}
    try:
        return InstanceKey(metadata["study"], metadata["series"], metadata["instance"])
    except KeyError:
        return None
