"""Bulk values (PS3.18 §10.4.1.1.5) and pixel data (§10.4.1.1.6) of instances, each a range of the stored file.

    name in a BulkDataURI --bulk table of the row--> range of the blob --> Content

Values come in little endian byte order, whatever the file's. Pixel data that is encapsulated comes frame by frame.

Left out: how the values are called (dicom/bulk.py), which representation is wanted (dicomweb/negotiation.py).
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from shared.dicom.bulk import BulkTable, PixelElement, bulk_reference
from shared.dicom.scanned import BulkValue
from shared.dicom.syntaxes import EXPLICIT_BIG, EXPLICIT_LITTLE
from shared.dicomweb.negotiation import OCTET_STREAM, Choice
from shared.errors import CannotTranscode, NotFound
from shared.model import InstanceKey, Scope, StoredInstance
from shared.services.content import Content, Fragments, Produced, Swapped, opened_ahead, whole
from shared.services.pixels import PixelReader
from shared.services.retrieve import FrameSet, Part, RetrieveService, not_found, scope_of

#: Encapsulated Document (0042,0011), and MIME Type of Encapsulated Document (0042,0012).
DOCUMENT = "00420011"
MIME_TYPE_OF_DOCUMENT = "00420012"

#: Bytes of one word of each VR that is made of words (PS3.5 §6.2).
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_ITEM_HEAD = 8
_BITS_ALLOCATED = "00280100"


@dataclass(frozen=True, slots=True)
class Found:
    """One bulk value of an instance: the pixel data element, or another value with its content."""

    instance: StoredInstance
    pixels: PixelElement | None
    content: Content | None
    document_type: str | None


class BulkdataService:
    """Retrieves bulk values from one archive."""

    def __init__(self, retrieve: RetrieveService, pixels: PixelReader) -> None:
        self._retrieve = retrieve
        self._pixels = pixels

    async def find(self, key: InstanceKey, name: str) -> Found:
        """The value of a name. Raises NotFound when there is no such instance or value."""
        columns = ("bulk", "metadata") if name == DOCUMENT else ("bulk",)
        instance = await self._retrieve.instance(key, columns)
        table = await self._pixels.bulk_table(instance)
        if table.pixels is not None and name == table.pixels.tag:
            return Found(instance, table.pixels, None, None)
        value = table.values.get(name)
        if value is None:
            raise NotFound("The specified bulk data cannot be found.")
        document_type = await self._document_type(instance) if name == DOCUMENT else None
        return Found(instance, None, self._content(instance, value), document_type)

    async def native_pixels(self, found: Found) -> Content:
        """The value of native pixel data, in little endian byte order."""
        assert found.pixels is not None
        content = self._pixels.range_of(found.instance, found.pixels.offset, found.pixels.length)
        word = _WORDS.get(found.pixels.vr, 1)
        if found.instance.transfer_syntax != EXPLICIT_BIG or word == 1:
            return content
        if found.pixels.vr == "OW":
            # Samples of 32 bits are words of four bytes there (PS3.5 §7.3, §8.1.1).
            metadata = await self._pixels.metadata_of(await self._retrieve.instance(found.instance.key, ("metadata",)))
            (bits,) = metadata.get(_BITS_ALLOCATED, {}).get("Value", [16])[:1] or [16]
            word = bits // 8 if bits in (32, 64) else word
        return Swapped(content, word)

    def fragments(self, found: Found) -> Content:
        """The value of encapsulated pixel data whose frames nobody can tell apart: its fragments, put together."""
        assert found.pixels is not None
        content = self._pixels.range_of(found.instance, found.pixels.offset, found.pixels.length)
        return Produced(lambda: self._without_item_heads(content))

    def joined(self, frames: FrameSet, window: int) -> Content:
        """All frames of encapsulated pixel data, or of those that are to be decoded, as one value.

        `window` is the number of frames that are made ahead of the one being sent. There can be a frame for each bit of
        the file, so none is thought of before its turn.
        """
        if frames.opened is None:
            table, blobs = frames.table, self._pixels.archive.blobs
            return Fragments(blobs, frames.instance.version, table.offset, table.lengths)

        async def in_turn() -> AsyncGenerator[bytes]:
            opened = opened_ahead(frames.all(), lambda part: part.content, window)
            async with aclosing(opened):
                async for _, chunks in opened:
                    async for chunk in chunks:
                        yield chunk

        return Produced(in_turn)

    async def all_of(
        self, scope: Scope, choose: Callable[[str], Choice], *, certain: bool, pixels_only: bool
    ) -> AsyncGenerator[Part]:
        """Every bulk value of every instance of a scope. `choose` and `certain` are as in `RetrieveService.instances`.

        Raises NotFound when there is none, and CannotTranscode. Pixel data that turn out to be broken only when their
        turn has come are sent as stored.
        """
        if not certain:
            await self._retrieve.check_all(scope, choose)
        parts = self._all(scope, choose, pixels_only, or_stored=certain)
        first = await anext(parts, None)
        if first is None:
            raise NotFound("There is no bulk data.") if await self._exists(scope) else not_found(scope)
        return _continued(first, parts)

    async def _exists(self, scope: Scope) -> bool:
        async for page in self._pixels.archive.index.pages_of(scope):
            return bool(page)
        return False

    async def _all(
        self, scope: Scope, choose: Callable[[str], Choice], pixels_only: bool, *, or_stored: bool
    ) -> AsyncGenerator[Part]:
        async for page in self._pixels.archive.index.pages_of(scope, ("bulk",)):
            for instance in page:
                table = await self._pixels.bulk_table(instance)
                if not pixels_only:
                    for part in self._values(instance, table):
                        yield part
                        or_stored = True
                if table.pixels is not None:
                    async for part in self._pixel_parts(instance, table.pixels, choose, or_stored=or_stored):
                        yield part
                        or_stored = True

    def _values(self, instance: StoredInstance, table: BulkTable) -> list[Part]:
        scope = scope_of(instance.key)
        return [
            Part(scope, OCTET_STREAM, None, self._content(instance, value), bulk_reference(name))
            for name, value in table.values.items()
        ]

    async def _pixel_parts(
        self, instance: StoredInstance, element: PixelElement, choose: Callable[[str], Choice], *, or_stored: bool
    ) -> AsyncGenerator[Part]:
        """The pixel data of an instance; none where it cannot be cut into frames, or has been deleted meanwhile.

        `or_stored`: what cannot be decoded is sent as stored.
        """
        if not element.encapsulated:
            content = await self.native_pixels(Found(instance, element, None, None))
            name = bulk_reference(element.tag)
            yield Part(scope_of(instance.key), OCTET_STREAM, EXPLICIT_LITTLE, content, name)
            return
        try:
            frames = await self._retrieve.frames(instance.key, choose)
            first = await frames.made(1)
        except NotFound:
            return
        except CannotTranscode:
            if not or_stored:
                raise
            frames = await self._retrieve.frames(instance.key, _as_stored)
            first = frames.part(1)
        yield first
        for number in range(2, frames.table.count + 1):
            yield frames.part(number)

    def _content(self, instance: StoredInstance, value: BulkValue) -> Content:
        content = self._pixels.range_of(instance, value.offset, value.length)
        if value.in_items:
            return Produced(lambda: self._without_item_heads(content, skipped=1))
        words = _WORDS.get(value.vr)
        return Swapped(content, words) if words and instance.transfer_syntax == EXPLICIT_BIG else content

    async def _without_item_heads(self, content: Content, skipped: int = 0) -> AsyncGenerator[bytes]:
        """The values of items, but for the first `skipped`: an icon has a Basic Offset Table there."""
        if (content.length or 0) > self._pixels.limit:
            raise CannotTranscode(f"an encapsulated value of more than {self._pixels.limit} bytes is not available")
        items = await whole(content)
        at = 0
        while at + _ITEM_HEAD <= len(items):
            length = int.from_bytes(items[at + 4 : at + 8], "little")
            if not skipped:
                yield items[at + _ITEM_HEAD : at + _ITEM_HEAD + length]
            skipped = max(0, skipped - 1)
            at += _ITEM_HEAD + length

    async def _document_type(self, instance: StoredInstance) -> str | None:
        metadata = await self._pixels.metadata_of(instance)
        values = metadata.get(MIME_TYPE_OF_DOCUMENT, {}).get("Value") or [None]
        return values[0] if isinstance(values[0], str) else None


def _as_stored(stored: str) -> Choice:
    return Choice(True, OCTET_STREAM, stored)


async def _continued(first: Part, rest: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    yield first
    async for part in rest:
        yield part
