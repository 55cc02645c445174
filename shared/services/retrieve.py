"""Retrieve (PS3.18 §10.4): instances, their metadata and their frames, streamed.

    instances   rows, then blobs: the first piece of several is read ahead, the rest of each when its turn has come
    metadata    rows only, a page at a time, as the gzipped JSON they hold
    frames      one row, then a ranged read for each frame; nothing of the file is parsed

Memory is bounded: `window` pieces ahead, and where something is transcoded a few frames. Everything that can fail for a
reason the client should hear (no such study, no codec) is found out before the first byte: after that a failure can
only break the connection off.

Left out: which representation is wanted (dicomweb/negotiation.py), bulk values (bulkdata.py), rendered images
(rendering.py).
"""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from shared.dicom.bulk import ReferenceResolver
from shared.dicom.frames import FrameTable
from shared.dicom.syntaxes import EXPLICIT_LITTLE, SAME_FRAMES
from shared.dicomweb.negotiation import Choice
from shared.errors import CannotTranscode, NotFound
from shared.model import InstanceKey, Level, Scope, StoredInstance
from shared.services.content import BlobRange, Content, Held, Produced, whole
from shared.services.pixels import COLUMNS, InstancePixels, PixelReader
from shared.services.transcoding import Transcoder
from shared.storage.blobs import PIECE


@dataclass(frozen=True, slots=True)
class Part:
    """One instance, frame or bulk value on its way out: `name` is what it is called below the URL of `scope`."""

    scope: Scope
    media: str
    transfer_syntax: str | None
    content: Content
    name: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata on its way out: a JSON array in chunks, and a tag that changes whenever the array does."""

    tag: str
    chunks: AsyncIterator[bytes]


class RetrieveService:
    """Retrieves from one archive."""

    def __init__(self, pixels: PixelReader, transcoder: Transcoder) -> None:
        self._archive = pixels.archive
        self._pixels = pixels
        self._transcoder = transcoder

    # Instances

    async def instance(self, key: InstanceKey, columns: Sequence[str] = ()) -> StoredInstance:
        """What the index knows of an instance. Raises NotFound."""
        found = await self._archive.index.get_instance(key, columns)
        if found is None:
            raise not_found(Scope(key.study, key.series, key.instance))
        return found

    async def part_of(self, instance: StoredInstance, choice: Choice) -> Part:
        """An instance as it was chosen to be sent. Raises CannotTranscode when it cannot be had so."""
        if choice.transfer_syntax == instance.transfer_syntax:
            content: Content = self._stored(instance)
        else:
            content = await self._transcoder.instance(await self._reread(instance), choice.transfer_syntax)
        return Part(scope_of(instance.key), choice.media, choice.transfer_syntax, content)

    async def instances(self, scope: Scope, choose: Callable[[str], Choice], *, certain: bool) -> AsyncGenerator[Part]:
        """Every instance of a scope, in the order of UIDs; consume one part before asking for the next.

        `choose` says how to send what is stored in a transfer syntax, and raises CannotTranscode where it cannot be;
        unless it is `certain` that it never does, that is found out for all before the first one is read. Raises
        NotFound when there is none. An instance whose pixel data turn out to be broken only when its turn has come is
        sent as stored: its part says in which transfer syntax that is.
        """
        if not certain:
            await self.check_all(scope, choose)
        pages = self._archive.index.pages_of(scope)
        first = await anext(pages, None)
        if not first:
            raise not_found(scope)
        return self._parts(first, pages, choose)

    async def check_all(self, scope: Scope, choose: Callable[[str], Choice]) -> None:
        """Find out whether `choose` raises CannotTranscode for any instance of a scope, and raise it."""
        async for page in self._archive.index.pages_of(scope):
            for syntax in {instance.transfer_syntax for instance in page}:
                choose(syntax)

    async def _parts(
        self,
        first: list[StoredInstance],
        pages: AsyncIterator[list[StoredInstance]],
        choose: Callable[[str], Choice],
    ) -> AsyncGenerator[Part]:
        sent = False
        for instance in first:
            part = await self._part_or_stored(instance, choose, or_stored=sent)
            if part is not None:
                yield part
                sent = True
        async for page in pages:
            for instance in page:
                part = await self._part_or_stored(instance, choose, or_stored=True)
                if part is not None:
                    yield part

    async def _part_or_stored(
        self, instance: StoredInstance, choose: Callable[[str], Choice], *, or_stored: bool
    ) -> Part | None:
        """An instance, read some time ago, as it is to be sent: as it is now, where it must be decoded.

        None where it has been deleted since. As stored it is sent all the same: its blob is kept for that.
        """
        choice = choose(instance.transfer_syntax)
        if choice.transfer_syntax == instance.transfer_syntax:
            return await self.part_of(instance, choice)
        found = await self._archive.index.get_instance(instance.key, COLUMNS)
        if found is None:
            return None
        try:
            choice = choose(found.transfer_syntax)
            if choice.transfer_syntax == found.transfer_syntax:
                return await self.part_of(found, choice)
            content = await self._transcoder.instance(found, choice.transfer_syntax)
            return Part(scope_of(found.key), choice.media, choice.transfer_syntax, content)
        except CannotTranscode:
            if not or_stored:
                raise
        return Part(scope_of(found.key), choice.media, found.transfer_syntax, self._stored(found))

    def _stored(self, instance: StoredInstance) -> Content:
        return BlobRange(self._archive.blobs, instance.version, 0, instance.length)

    async def _reread(self, instance: StoredInstance) -> StoredInstance:
        """The same instance with what decoding it needs."""
        found = await self.instance(instance.key, COLUMNS)
        if found.version != instance.version:
            raise NotFound("the instance has been replaced meanwhile")
        return found

    # Metadata

    async def metadata(self, scope: Scope, url_of: Callable[[Scope], str]) -> Metadata:
        """The metadata of every instance of a scope; of a study or series nothing is read before the first chunk.

        `url_of` gives the URL of an instance, below which its bulk values are. Raises NotFound when there is no such
        study, series or instance.
        """
        index = self._archive.index
        if scope.series is not None and scope.instance is not None:
            instance = await self.instance(InstanceKey(scope.study, scope.series, scope.instance), ("metadata",))
            return Metadata(instance.version, self._json_array(_one_page(instance), url_of))
        found = (
            await index.get_study(scope.study)
            if scope.series is None
            else await index.get_series(scope.study, scope.series)
        )
        if found is None:
            raise not_found(scope)
        pages = index.list_instances(scope.study, scope.series, ("metadata",))
        return Metadata(found.tag, self._json_array(pages, url_of))

    async def _json_array(
        self, pages: AsyncIterator[list[StoredInstance]], url_of: Callable[[Scope], str]
    ) -> AsyncIterator[bytes]:
        """The stored JSON objects as one array. They are not parsed: but for their URLs, what was stored is sent."""
        separator = b"["
        async for page in pages:
            for instance in page:
                yield separator
                resolver = ReferenceResolver(url_of(scope_of(instance.key)))
                async for piece in self._metadata_json(instance):
                    yield resolver.feed(piece)
                yield resolver.finish()
                separator = b","
        yield b"[]" if separator == b"[" else b"]"

    async def _metadata_json(self, instance: StoredInstance) -> AsyncIterator[bytes]:
        """The JSON object of one instance, a piece at a time: some kilobytes can unpack to many megabytes."""
        packed = await self._archive.packed_metadata(instance)
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while packed:
            yield unpacker.decompress(packed, PIECE)
            packed = unpacker.unconsumed_tail

    # Frames

    async def frames(self, key: InstanceKey, choose: Callable[[str], Choice], *, greatest: int = 1) -> "FrameSet":
        """The frames of an instance, as they were chosen to be sent.

        Raises NotFound when the instance or frame `greatest` does not exist, CannotTranscode when the frames cannot be
        had.
        """
        instance = await self.instance(key, ("frames",))
        table = await self._pixels.frame_table(instance)
        if table is None or greatest > table.count:
            raise NotFound("The specified frame cannot be found.")
        choice = choose(instance.transfer_syntax)
        stored, target = instance.transfer_syntax, choice.transfer_syntax
        opened = None
        if target != stored and not (target == EXPLICIT_LITTLE and stored in SAME_FRAMES):
            opened = await self._pixels.pixels_of(await self._reread(instance))
        return FrameSet(self._pixels, self._transcoder, instance, table, choice, opened)


@dataclass(frozen=True, slots=True)
class FrameSet:
    """The frames of one instance; `opened` where they must be decoded to be had as chosen, None where not."""

    pixels: PixelReader
    transcoder: Transcoder
    instance: StoredInstance
    table: FrameTable
    choice: Choice
    opened: InstancePixels | None

    def part(self, number: int) -> Part:
        """One frame, counted from 1. What is wrong with its pixel data shows when its content is read."""
        if self.opened is None:
            content = self.pixels.frame_content(self.instance, self.table.locate(number))
        else:
            content = Produced(self._transcoded(self.opened, number), held=self.opened.image.frame_bytes)
        scope = scope_of(self.instance.key)
        return Part(scope, self.choice.media, self.choice.transfer_syntax, content, f"frames/{number}")

    async def all(self) -> AsyncGenerator[Part]:
        """Every frame, in order."""
        for number in range(1, self.table.count + 1):
            yield self.part(number)

    async def made(self, number: int) -> Part:
        """The same with its content there, so that its length is known. Raises CannotTranscode."""
        part = self.part(number)
        return part if self.opened is None else replace(part, content=Held(await whole(part.content)))

    def _transcoded(self, opened: InstancePixels, number: int) -> Callable[[], AsyncGenerator[bytes]]:
        async def make() -> AsyncGenerator[bytes]:
            yield await self.transcoder.frame(opened, number, self.choice.transfer_syntax)

        return make


def not_found(scope: Scope) -> NotFound:
    """The error for a study, series or instance that does not exist."""
    names = {Level.STUDY: "study", Level.SERIES: "series", Level.INSTANCE: "instance"}
    return NotFound(f"The specified {names[scope.level]} cannot be found.")


def scope_of(key: InstanceKey) -> Scope:
    """An instance as a scope."""
    return Scope(key.study, key.series, key.instance)


async def _one_page(instance: StoredInstance) -> AsyncIterator[list[StoredInstance]]:
    yield [instance]
