"""The pixel data of one instance: its frames as they are stored, decoded, and the file around them.

    PixelReader.open --index row--> InstancePixels --span--> Content, stored or decoded frames, the rest of the file

What is held at a time is bounded by `limit` bytes: a stored frame, a decoded frame, the file without its pixel data.
All frames being decoded or encoded, of all requests, are together no more than that, because codecs take several times
the memory of what they decode.

Left out: what becomes of them (transcoding.py, rendering.py, retrieve.py).
"""

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from shared.dicom.bulk import BulkTable
from shared.dicom.codecs import decode_frame
from shared.dicom.deflated import MAX_FILE_META, data_set_start
from shared.dicom.frames import FrameSpan, FrameTable, extract_bits
from shared.dicom.image import Frame, Image, image_of
from shared.dicom.syntaxes import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE
from shared.errors import CannotTranscode, NotFound
from shared.model import InstanceKey, JsonDataSet, StoredInstance
from shared.services.content import BlobRange, Content, Fragments, Inflated, Produced, whole
from shared.storage.archive import Archive

#: The columns of an instance row that this module needs.
COLUMNS = ("metadata", "frames", "bulk")

#: Bytes of a packed table, up to which unpacking it takes less time than handing it to a thread.
_FEW_BYTES = 256

#: Transfer Syntax UID of a deflated file, and of the same file once it is inflated, as long as that.
_DEFLATED_UID = DEFLATED.encode("ascii")
_INFLATED_UID = EXPLICIT_LITTLE.encode("ascii").ljust(len(_DEFLATED_UID), b"\0")


@dataclass(frozen=True, slots=True)
class InstancePixels:
    """What the index knows of one instance that holds frames."""

    instance: StoredInstance
    table: FrameTable
    bulk: BulkTable
    metadata: JsonDataSet

    @property
    def image(self) -> Image:
        """The Image Pixel attributes. Raises CannotTranscode when one is missing."""
        return image_of(self.metadata)

    @property
    def pixel_vr(self) -> str:
        """VR of the pixel data element."""
        return self.bulk.pixels.vr if self.bulk.pixels else "OW"


class PixelReader:
    """Reads the pixel data of instances of one archive."""

    def __init__(self, archive: Archive, limit: int, parsing: Executor) -> None:
        """`limit` is in bytes; `parsing` runs what takes CPU."""
        self.archive = archive
        self.limit = limit
        self.parsing = parsing
        self._room = Room(limit)

    async def open(self, key: InstanceKey) -> InstancePixels | None:
        """The pixel data of an instance; None when there is no such instance.

        Raises NotFound when it has no frames, or none that can be told apart.
        """
        instance = await self.archive.index.get_instance(key, COLUMNS)
        return await self.pixels_of(instance) if instance else None

    async def pixels_of(self, instance: StoredInstance) -> InstancePixels:
        """The same for an instance whose row has been read with `COLUMNS`."""
        table = await self.frame_table(instance)
        if table is None:
            raise NotFound("The specified frame cannot be found.")
        return InstancePixels(instance, table, await self.bulk_table(instance), await self.metadata_of(instance))

    async def metadata_of(self, instance: StoredInstance) -> JsonDataSet:
        """The metadata of an instance whose row has been read with it; bulk references are relative."""
        packed = await self.archive.packed_metadata(instance)
        return await asyncio.get_running_loop().run_in_executor(self.parsing, _unpacked, packed)

    async def frame_table(self, instance: StoredInstance) -> FrameTable | None:
        """Where the frames of an instance lie whose row has been read with "frames"; None where it has none."""
        packed = await self.archive.packed_frames(instance)
        return await self._off_the_loop(FrameTable.unpack, packed) if packed else None

    async def bulk_table(self, instance: StoredInstance) -> BulkTable:
        """Where the bulk values of an instance lie whose row has been read with "bulk"."""
        packed = await self.archive.packed_bulk(instance)
        return await self._off_the_loop(BulkTable.unpack, packed) if packed else BulkTable()

    async def _off_the_loop[T](self, unpack: Callable[[bytes], T], packed: bytes) -> T:
        """A table; that of millions of fragments takes most of a second, though it is packed into some kilobytes."""
        if len(packed) <= _FEW_BYTES:
            return unpack(packed)
        return await asyncio.get_running_loop().run_in_executor(self.parsing, unpack, packed)

    def range_of(self, instance: StoredInstance, offset: int, length: int) -> Content:
        """Bytes of the file or, where that is deflated, of its inflated data set."""
        blobs = self.archive.blobs
        if instance.transfer_syntax == DEFLATED:
            return Inflated(blobs, instance.version, instance.length, offset, length, self.parsing)
        return BlobRange(blobs, instance.version, offset, length)

    def frame_content(self, instance: StoredInstance, span: FrameSpan) -> Content:
        """One frame as it is stored. Raises CannotTranscode when its bits must be shifted and are too many to hold."""
        if span.fragments:
            if len(span.fragments) == 1:
                return BlobRange(self.archive.blobs, instance.version, span.offset, span.length)
            return Fragments(self.archive.blobs, instance.version, span.offset, span.fragments)
        content = self.range_of(instance, span.offset, span.length)
        if not span.bit_length:
            return content
        self._check(span.length, "a frame of bits")

        async def shifted() -> AsyncGenerator[bytes]:
            stored = await whole(content)
            yield await asyncio.get_running_loop().run_in_executor(self.parsing, extract_bits, span, stored)

        return Produced(shifted, (span.bit_length + 7) // 8, held=span.length)

    async def with_frame[T](self, pixels: InstancePixels, number: int, work: Callable[[bytes], T]) -> T:
        """What `work` makes of one frame, counted from 1, as it is stored; done in a thread, when there is room for it.

        Raises CannotTranscode when the frame is too large to be held, and whatever `work` raises.
        """
        span = pixels.table.locate(number)
        if pixels.instance.transfer_syntax == EXPLICIT_BIG and span.length % 2 and not span.bit_length:
            span = replace(span, length=span.length + 1)  # its last byte is in the word that ends behind it
        size = max(span.length, pixels.image.frame_bytes)
        self._check(size, "a frame")
        async with self._room.taken(size):
            stored = await whole(self.frame_content(pixels.instance, span))
            return await asyncio.get_running_loop().run_in_executor(self.parsing, work, stored)

    async def with_room[T](self, size: int, work: Callable[[], T]) -> T:
        """What `work` makes, in a thread, of a frame of `size` bytes that is there; done when there is room for it."""
        async with self._room.taken(size):
            return await asyncio.get_running_loop().run_in_executor(self.parsing, work)

    async def decoded_frame(self, pixels: InstancePixels, number: int) -> Frame:
        """One frame, counted from 1, decoded. Raises CannotTranscode when that cannot be done."""
        return await self.with_frame(pixels, number, lambda stored: self.decode(pixels, stored))

    def decode(self, pixels: InstancePixels, stored: bytes) -> Frame:
        """A stored frame, decoded; work for a thread. Raises CannotTranscode when that cannot be done."""
        return decode_frame(stored, pixels.instance.transfer_syntax, pixels.image, self.limit, vr=pixels.pixel_vr)

    async def rest(self, instance: StoredInstance) -> bytes:
        """The file without its top-level pixel data element; inflated, and saying so, where it is deflated.

        For an instance whose row has been read with "bulk". Raises CannotTranscode when it is too large to be held.
        """
        table = await self.bulk_table(instance)
        cut = (table.pixels.begin, table.pixels.end) if table.pixels else None
        if instance.transfer_syntax == DEFLATED:
            return await self._inflated_rest(instance, cut)
        begin, end = cut or (instance.length, instance.length)
        self._check(begin + instance.length - end, "an instance without its pixel data")
        before = await whole(BlobRange(self.archive.blobs, instance.version, 0, begin))
        return before + await whole(BlobRange(self.archive.blobs, instance.version, end, instance.length - end))

    async def _inflated_rest(self, instance: StoredInstance, cut: tuple[int, int] | None) -> bytes:
        """Nobody knows how far the data set inflates, so it is read until it ends or there is too much of it."""
        blobs = self.archive.blobs
        head = await blobs.read(instance.version, 0, min(MAX_FILE_META, instance.length))
        begin, end = cut or (0, 0)
        kept = [head[: data_set_start(head)].replace(_DEFLATED_UID, _INFLATED_UID)]
        held = len(kept[0])
        for offset, length in ((0, begin), (end, self.limit + 1)):
            content = Inflated(blobs, instance.version, instance.length, offset, length, self.parsing)
            async for chunk in content.read():
                held += len(chunk)
                self._check(held, "an instance without its pixel data")
                kept.append(chunk)
        return b"".join(kept)

    def _check(self, size: int, what: str) -> None:
        if size > self.limit:
            raise CannotTranscode(
                f"{what} of more than {self.limit} bytes is not transcoded; ask for transfer-syntax=*"
            )


class Room:
    """So many bytes, taken and given back. Whoever wants more than is left waits; more than all is taken alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncGenerator[None]:
        """Take `size` bytes for the length of the block."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._used or self._used + size <= self._size)
            self._used += size
        try:
            yield
        finally:
            # Not interrupted by whoever cancels the block: the room would be lost.
            await asyncio.shield(self._give_back(size))

    async def _give_back(self, size: int) -> None:
        async with self._changed:
            self._used -= size
            self._changed.notify_all()


def _unpacked(packed: bytes) -> JsonDataSet:
    metadata: JsonDataSet = json.loads(zlib.decompress(packed, 16 + zlib.MAX_WBITS))
    return metadata
