"""Retrieve (PS3.18 §10.4): instances, their metadata and their frames, streamed.

    instances   rows, then blobs: the first piece of several is read ahead, the rest of each when its turn has come
    metadata    rows only, a page at a time, as the gzipped JSON they hold
    frames      one row, then a ranged read for each frame; nothing of the file is parsed

Memory is bounded: `download_window` pieces ahead, and for what must be transcoded whole files of limited size.
Everything that can fail for a reason the client should hear (no such study, no codec) is found out before the first
byte: after that a failure can only break the connection off.
"""

import asyncio
import json
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass

from shared.dicom.deflated import MAX_FILE_META, RangeInflater, data_set_start
from shared.dicom.frames import FragmentJoiner, FrameSpan, FrameTable, extract_bits, join_fragments
from shared.dicom.transcode import (
    DEFLATED,
    EXPLICIT_LITTLE,
    SAME_FRAMES,
    can_transcode,
    file_to_explicit_little,
    frame_to_explicit_little,
    image_of,
)
from shared.errors import CannotTranscode, NotFound
from shared.model import InstanceKey, JsonDataSet, Level, Scope, StoredInstance
from shared.storage.archive import Archive
from shared.storage.blobs import PIECE

#: The transfer syntax to ask for when the stored one is wanted (PS3.18 §8.7.3.5.2).
AS_STORED = "*"


#: Files that are transcoded at a time, of all requests: each is held in memory some four times.
TRANSCODED_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One instance or frame on its way out. `length` is in bytes; None when it is not known beforehand."""

    transfer_syntax: str
    length: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata on its way out: a JSON array in chunks, and a tag that changes whenever the array does."""

    tag: str
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class RetrieveLimits:
    """Pieces that are read ahead of the one being sent, and the bytes of the largest file that is transcoded."""

    download_window: int
    transcode_bytes: int


class RetrieveService:
    """Retrieves from one archive."""

    def __init__(self, archive: Archive, limits: RetrieveLimits, parsing: Executor) -> None:
        """`parsing` runs what takes CPU, and bounds how much of it runs at once."""
        self._archive = archive
        self._limits = limits
        self._parsing = parsing
        # Whole files are held while they are transcoded: not one for each request that waits for its turn.
        self._transcoding = asyncio.Semaphore(TRANSCODED_AT_ONCE)

    # Instances

    async def instances(self, scope: Scope, transfer_syntax: str) -> AsyncGenerator[Part]:
        """Every instance of a scope, in the order of UIDs; consume one part before asking for the next.

        Raises NotFound when there is none, CannotTranscode when the first of them, or one of those whose own transfer
        syntax rules it out, cannot be had in the transfer syntax. An instance whose pixel data turn out to be broken
        only when its turn has come is sent as stored: its part says in which transfer syntax that is.
        """
        if transfer_syntax != AS_STORED:
            await self._check_all(scope, transfer_syntax)
        pages = self._archive.index.pages_of(scope)
        first = await anext(pages, None)
        if not first:
            raise _not_found(scope)
        return await _started(self._parts(first, pages, transfer_syntax))

    async def _check_all(self, scope: Scope, transfer_syntax: str) -> None:
        async for page in self._archive.index.pages_of(scope):
            for instance in page:
                self._check(instance, transfer_syntax)

    def _check(self, instance: StoredInstance, transfer_syntax: str) -> None:
        if instance.transfer_syntax == transfer_syntax:
            return
        if not can_transcode(instance.transfer_syntax, transfer_syntax):
            raise CannotTranscode(
                f"an instance stored in transfer syntax {instance.transfer_syntax} cannot be transcoded to "
                f"{transfer_syntax}; ask for transfer-syntax=*"
            )
        if instance.length > self._limits.transcode_bytes:
            raise CannotTranscode(
                f"an instance of more than {self._limits.transcode_bytes} bytes is not transcoded; "
                "ask for transfer-syntax=*"
            )

    async def _parts(
        self, first: list[StoredInstance], pages: AsyncIterator[list[StoredInstance]], transfer_syntax: str
    ) -> AsyncGenerator[Part]:
        async def in_order() -> AsyncIterator[StoredInstance]:
            for instance in first:
                yield instance
            async for page in pages:
                for instance in page:
                    yield instance

        def begin(instance: StoredInstance) -> Awaitable[bytes]:
            return self._archive.blobs.read(instance.version, 0, min(PIECE, instance.length))

        async with aclosing(_read_ahead(in_order(), begin, self._limits.download_window)) as started:
            sent = False
            async for instance, piece in started:
                if transfer_syntax in (AS_STORED, instance.transfer_syntax):
                    yield Part(instance.transfer_syntax, instance.length, self._rest(instance, piece))
                else:
                    yield await self._transcoded(instance, piece, transfer_syntax, or_stored=sent)
                sent = True

    async def _rest(self, instance: StoredInstance, piece: bytes) -> AsyncIterator[bytes]:
        yield piece
        async for more in self._archive.blobs.pieces(instance.version, len(piece), instance.length - len(piece)):
            yield more

    async def _transcoded(
        self, instance: StoredInstance, piece: bytes, transfer_syntax: str, *, or_stored: bool
    ) -> Part:
        """An instance in the transfer syntax or, if it cannot be had in that and `or_stored`, as stored."""
        loop = asyncio.get_running_loop()
        async with self._transcoding:
            whole = b"".join([each async for each in self._rest(instance, piece)])
            try:
                whole = await loop.run_in_executor(
                    self._parsing, file_to_explicit_little, whole, self._limits.transcode_bytes
                )
            except CannotTranscode:
                if not or_stored:
                    raise
                transfer_syntax = instance.transfer_syntax
        return Part(transfer_syntax, len(whole), _one(whole))

    # Metadata

    async def metadata(self, scope: Scope, known_tag: Callable[[str], bool]) -> Metadata | None:
        """The metadata of every instance of a scope; None when the caller knows the current tag already.

        Raises NotFound when there is no such study, series or instance.
        """
        index = self._archive.index
        if scope.series is not None and scope.instance is not None:
            key = InstanceKey(scope.study, scope.series, scope.instance)
            instance = await index.get_instance(key, ("metadata",))
            if instance is None:
                raise _not_found(scope)
            if known_tag(instance.version):
                return None
            return Metadata(instance.version, self._json_array(_one_page(instance)))
        found = (
            await index.get_study(scope.study)
            if scope.series is None
            else await index.get_series(scope.study, scope.series)
        )
        if found is None:
            raise _not_found(scope)
        if known_tag(found.tag):
            return None
        pages = index.list_instances(scope.study, scope.series, ("metadata",))
        return Metadata(found.tag, self._json_array(pages))

    async def _json_array(self, pages: AsyncIterator[list[StoredInstance]]) -> AsyncIterator[bytes]:
        """The stored JSON objects as one array. They are not parsed: what was stored is what is sent."""
        separator = b"["
        async for page in pages:
            for instance in page:
                yield separator
                async for piece in self._metadata_json(instance):
                    yield piece
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

    async def frames(self, key: InstanceKey, numbers: Sequence[int], transfer_syntax: str) -> AsyncGenerator[Part]:
        """Some frames of an instance, counted from 1, in the order asked for.

        Raises NotFound when the instance or one of the frames does not exist, CannotTranscode when the frames cannot
        be had in the transfer syntax.
        """
        index = self._archive.index
        columns = ("frames",) if transfer_syntax == AS_STORED else ("frames", "metadata")
        instance = await index.get_instance(key, columns)
        if instance is None:
            raise _not_found(Scope(key.study, key.series, key.instance))
        table = await self._frame_table(instance)
        if table is None or max(numbers) > table.count:
            raise NotFound("The specified frame cannot be found.")
        spans = [table.locate(number) for number in numbers]
        if any(span.bit_length and span.length > self._limits.transcode_bytes for span in spans):
            raise CannotTranscode(f"a frame of bits larger than {self._limits.transcode_bytes} bytes is not available")
        if transfer_syntax in (AS_STORED, instance.transfer_syntax):
            return await _started(self._frames(instance, spans, None, instance.transfer_syntax))
        if transfer_syntax != EXPLICIT_LITTLE or not can_transcode(instance.transfer_syntax, transfer_syntax):
            raise CannotTranscode(
                f"frames stored in transfer syntax {instance.transfer_syntax} cannot be transcoded to "
                f"{transfer_syntax}; ask for transfer-syntax=*"
            )
        if instance.transfer_syntax in SAME_FRAMES:
            return await _started(self._frames(instance, spans, None, transfer_syntax))
        if any(span.length > self._limits.transcode_bytes for span in spans):
            raise CannotTranscode(f"a frame of more than {self._limits.transcode_bytes} bytes is not transcoded")
        image = image_of(await self._parsed_metadata(instance))

        def decode(frame: bytes) -> bytes:
            return frame_to_explicit_little(frame, instance.transfer_syntax, image, self._limits.transcode_bytes)

        return await _started(self._frames(instance, spans, decode, transfer_syntax))

    async def _frame_table(self, instance: StoredInstance) -> FrameTable | None:
        packed = await self._archive.packed_frames(instance)
        return FrameTable.unpack(packed) if packed else None

    async def _parsed_metadata(self, instance: StoredInstance) -> JsonDataSet:
        metadata: JsonDataSet = json.loads(b"".join([piece async for piece in self._metadata_json(instance)]))
        return metadata

    async def _frames(
        self,
        instance: StoredInstance,
        spans: Sequence[FrameSpan],
        decode: Callable[[bytes], bytes] | None,
        transfer_syntax: str,
    ) -> AsyncGenerator[Part]:
        loop = asyncio.get_running_loop()
        if instance.transfer_syntax == DEFLATED:
            for span in spans:
                yield Part(transfer_syntax, None, self._inflated(instance, span))
            return

        async def in_order() -> AsyncIterator[FrameSpan]:
            for span in spans:
                yield span

        def begin(span: FrameSpan) -> Awaitable[bytes]:
            return self._archive.blobs.read(instance.version, span.offset, min(PIECE, span.length))

        async with aclosing(_read_ahead(in_order(), begin, self._limits.download_window)) as started:
            async for span, piece in started:
                rest = self._archive.blobs.pieces(instance.version, span.offset + len(piece), span.length - len(piece))
                if decode is None and not span.bit_length:
                    length = sum(span.fragments) if span.fragments else span.length
                    yield Part(transfer_syntax, length, _joined(span, piece, rest))
                    continue
                stored = b"".join([piece, *[each async for each in rest]])
                whole = extract_bits(span, stored) if span.bit_length else join_fragments(span, stored)
                if decode is not None:
                    whole = await loop.run_in_executor(self._parsing, decode, whole)
                yield Part(transfer_syntax, len(whole), _one(whole))

    async def _inflated(self, instance: StoredInstance, span: FrameSpan) -> AsyncGenerator[bytes]:
        """A frame of a deflated instance: the file is inflated up to its end, a piece at a time (PS3.5 §A.5)."""
        loop = asyncio.get_running_loop()
        inflater = RangeInflater(span.offset, span.length)
        head = await self._archive.blobs.read(instance.version, 0, min(MAX_FILE_META, instance.length))
        start = data_set_start(head)
        pieces = self._archive.blobs.pieces(instance.version, start, instance.length - start)
        found: list[bytes] = []
        async with aclosing(pieces):
            async for piece in pieces:
                inflated = inflater.feed(piece)
                # One step of the iterator at a time: each holds at most a megabyte, whatever the piece expands to.
                while (part := await loop.run_in_executor(self._parsing, next, inflated, None)) is not None:
                    if span.bit_length:
                        found.append(part)
                    else:
                        yield part
                if inflater.done:
                    break
        if span.bit_length:
            yield extract_bits(span, b"".join(found))


async def _read_ahead[T](
    items: AsyncIterator[T], begin: Callable[[T], Awaitable[bytes]], window: int
) -> AsyncGenerator[tuple[T, bytes]]:
    """Each item with its first bytes, `window` of them being read while one is used."""
    waiting: deque[tuple[T, asyncio.Future[bytes]]] = deque()
    try:
        async for item in items:
            waiting.append((item, asyncio.ensure_future(begin(item))))
            if len(waiting) > window:
                ready, piece = waiting.popleft()
                yield ready, await piece
        while waiting:
            ready, piece = waiting.popleft()
            yield ready, await piece
    finally:
        for _, piece in waiting:
            piece.cancel()
        await asyncio.gather(*(piece for _, piece in waiting), return_exceptions=True)


async def _joined(span: FrameSpan, piece: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes of a frame's span as they come, without the item heads between its fragments."""
    joiner = FragmentJoiner(span.fragments or (span.length,))
    yield joiner.feed(piece)
    async for more in rest:
        yield joiner.feed(more)


async def _started(parts: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    """The same parts, the first of them made: what goes wrong with it can still be answered with a status."""
    return _begun(await anext(parts), parts)


async def _begun(first: Part, rest: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    async with aclosing(rest):
        yield first
        async for part in rest:
            yield part


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _one_page(instance: StoredInstance) -> AsyncIterator[list[StoredInstance]]:
    yield [instance]


def _not_found(scope: Scope) -> NotFound:
    names = {Level.STUDY: "study", Level.SERIES: "series", Level.INSTANCE: "instance"}
    return NotFound(f"The specified {names[scope.level]} cannot be found.")
