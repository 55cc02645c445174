"""Bytes on their way out, readable from any place: what single-part answers, their ranges and multipart bodies are of.

    BlobRange     a range of a blob, byte for byte
    Fragments     an encapsulated value or frame, without the item heads between its fragments (PS3.5 §A.4)
    Inflated      a range of a deflated data set (PS3.5 §A.5)
    Swapped       words of a big endian value, turned round
    Produced      bytes made one after another (decoded, encoded); what comes before the place asked for is thrown away
    Held          bytes that are there
    Slice         some bytes of another content
    Joined        several contents, one after another, the next ones being opened ahead

`read` gives chunks of bounded size; nothing is read before the first of them is asked for. What is opened ahead of its
turn holds some bytes until then: `held` says how many, and `AHEAD` bounds them for each answer.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from shared.dicom.byte_order import swapped
from shared.dicom.deflated import MAX_FILE_META, RangeInflater, data_set_start
from shared.dicom.frames import FragmentJoiner
from shared.storage.blobs import PIECE, BlobStore

_ITEM_HEAD = 8
#: Bytes that the contents of one answer hold which are opened ahead, beyond those of one that holds more by itself.
AHEAD = 16 * 1024 * 1024


class Content(Protocol):
    """Some bytes. `length` is their number, None when it is not known beforehand.

    `held` is the number of bytes that are held once the first chunk has been read, or before.
    """

    @property
    def length(self) -> int | None:
        """Number of bytes, or None."""
        ...

    @property
    def held(self) -> int:
        """Number of bytes held while it is open."""
        ...

    def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """The bytes from `start`, at most `count` of them, in chunks. Raises Unavailable, NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class BlobRange:
    """Bytes of a blob."""

    blobs: BlobStore
    name: str
    offset: int
    length: int

    @property
    def held(self) -> int:
        """See `Content`: the piece at hand, and the one that is read meanwhile."""
        return min(self.length, 2 * PIECE)

    def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Content`."""
        return self.blobs.pieces(self.name, self.offset + start, _count(self.length, start, count))


@dataclass(frozen=True, slots=True)
class Fragments:
    """The values of consecutive items of a blob, joined. `offset` is that of the first value, `lengths` are theirs."""

    blobs: BlobStore
    name: str
    offset: int
    lengths: Sequence[int]

    @property
    def length(self) -> int:
        """Number of bytes."""
        return sum(self.lengths)

    @property
    def held(self) -> int:
        """See `Content`."""
        return min(self.length, 2 * PIECE)

    async def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Content`; begins with the fragment that holds `start`."""
        ends = list(accumulate(self.lengths))
        count = _count(ends[-1] if ends else 0, start, count)
        if not count:
            return
        first, last = bisect_right(ends, start), bisect_right(ends, start + count - 1)
        within = start - (ends[first - 1] if first else 0)
        joiner = FragmentJoiner([self.lengths[first] - within, *self.lengths[first + 1 : last + 1]])
        begin = self.offset + start + first * _ITEM_HEAD
        pieces = self.blobs.pieces(self.name, begin, count + (last - first) * _ITEM_HEAD)
        async with aclosing(pieces):
            async for piece in pieces:
                if joined := joiner.feed(piece):
                    yield joined


@dataclass(frozen=True, slots=True)
class Inflated:
    """Bytes of the data set of a deflated file. `stored` is the length of the file in bytes."""

    blobs: BlobStore
    name: str
    stored: int
    offset: int
    length: int
    parsing: Executor

    @property
    def held(self) -> int:
        """See `Content`: pieces of the file; the head is gone when the first chunk is there."""
        return 2 * PIECE

    async def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Content`. The file is inflated from its beginning, a piece at a time."""
        loop = asyncio.get_running_loop()
        inflater = RangeInflater(self.offset + start, _count(self.length, start, count))
        head = await self.blobs.read(self.name, 0, min(MAX_FILE_META, self.stored))
        begin = data_set_start(head)
        pieces = self.blobs.pieces(self.name, begin, self.stored - begin)
        async with aclosing(pieces):
            async for piece in pieces:
                inflated = inflater.feed(piece)
                # One step of the iterator at a time: each holds at most a megabyte, whatever the piece expands to.
                while (part := await loop.run_in_executor(self.parsing, next, inflated, None)) is not None:
                    yield part
                if inflater.done:
                    return


@dataclass(frozen=True, slots=True)
class Swapped:
    """A content of known length whose words of `size` bytes, 2, 4 or 8, are turned round (PS3.5 §7.3)."""

    content: Content
    size: int

    @property
    def length(self) -> int | None:
        """Number of bytes."""
        return self.content.length

    @property
    def held(self) -> int:
        """See `Content`."""
        return 2 * self.content.held

    async def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Content`; reads on to the ends of words."""
        skipped = start % self.size
        left = _count(self.length or 0, start, count)
        aligned = -(-(left + skipped) // self.size) * self.size
        chunks = self.content.read(start - skipped, aligned)
        held = b""
        async with aclosing(chunks):
            async for chunk in chunks:
                held += chunk
                whole_words = len(held) // self.size * self.size
                turned, held = swapped(held[:whole_words], self.size), held[whole_words:]
                kept = turned[skipped : skipped + left]
                skipped -= min(skipped, len(turned))
                left -= len(kept)
                if kept:
                    yield kept
        if held[:left]:  # half a word, which nobody can turn round
            yield held[:left]


@dataclass(frozen=True, slots=True)
class Produced:
    """Bytes that `make` makes, in order, each time they are asked for; it holds `held` of them, or what makes them."""

    make: Callable[[], AsyncGenerator[bytes]]
    length: int | None = None
    held: int = PIECE

    async def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Content`."""
        chunks = self.make()
        async with aclosing(chunks):
            async for chunk in chunks:
                skipped = min(start, len(chunk))
                start -= skipped
                kept = chunk[skipped:] if count is None else chunk[skipped : skipped + count]
                if kept:
                    yield kept
                if count is not None:
                    count -= len(kept)
                    if not count:
                        return


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that are there."""

    data: bytes

    @property
    def length(self) -> int:
        """Number of bytes."""
        return len(self.data)

    @property
    def held(self) -> int:
        """See `Content`."""
        return len(self.data)

    async def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Content`."""
        if held := self.data[start:] if count is None else self.data[start : start + count]:
            yield held


@dataclass(frozen=True, slots=True)
class Joined:
    """Contents one after another; `window` of them are opened ahead of the one being read."""

    contents: Sequence[Content]
    window: int

    @property
    def length(self) -> int | None:
        """Number of bytes; None when one of the lengths is not known."""
        lengths = [content.length for content in self.contents]
        return None if None in lengths else sum(length or 0 for length in lengths)

    @property
    def held(self) -> int:
        """See `Content`: what is opened ahead within it."""
        return min(sum(content.held for content in self.contents), AHEAD)

    async def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Content`. Reading from elsewhere than the beginning needs known lengths."""

        async def slices() -> AsyncGenerator[Content]:
            before = 0
            for content in self.contents:
                length = content.length
                if start or count is not None:
                    assert length is not None
                    low = max(0, start - before)
                    high = length if count is None else min(length, start + count - before)
                    before += length
                    if low < high:
                        yield Slice(content, low, high - low)
                else:
                    yield content

        opened = opened_ahead(slices(), lambda content: content, self.window)
        async with aclosing(opened):
            async for _, chunks in opened:
                async for chunk in chunks:
                    yield chunk


@dataclass(frozen=True, slots=True)
class Slice:
    """The `length` bytes of a content from `start`."""

    content: Content
    start: int
    length: int

    @property
    def held(self) -> int:
        """See `Content`."""
        return self.content.held

    def read(self, start: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Content`."""
        return self.content.read(self.start + start, _count(self.length, start, count))


async def opened_ahead[T](
    items: AsyncGenerator[T], content_of: Callable[[T], Content], window: int
) -> AsyncGenerator[tuple[T, AsyncGenerator[bytes]]]:
    """Each item with the chunks of its content, the first chunk of the next `window` items being read ahead.

    Fewer of them where they hold much: nothing more is opened while those that are open hold `AHEAD` bytes. Use up the
    chunks of one item before asking for the next. What cannot be read is raised when its turn has come.
    """
    waiting: deque[tuple[T, AsyncGenerator[bytes], asyncio.Task[bytes | None]]] = deque()
    weights: deque[int] = deque()
    try:
        async with aclosing(items):
            ended = False
            while True:
                while not ended and len(waiting) <= window and sum(weights) < AHEAD:
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        ended = True
                        break
                    content = content_of(item)
                    chunks = content.read()
                    weights.append(content.held)
                    waiting.append((item, chunks, asyncio.ensure_future(_first_of(chunks))))
                if not waiting:
                    return
                item, chunks, first = waiting[0]
                async with aclosing(_continued(await first, chunks)) as continued:
                    yield item, continued
                waiting.popleft()
                weights.popleft()
    finally:
        for _, _, first in waiting:
            first.cancel()
        await asyncio.gather(*(first for _, _, first in waiting), return_exceptions=True)
        for _, chunks, _ in waiting:
            await chunks.aclose()


async def _first_of(chunks: AsyncGenerator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _continued(first: bytes | None, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(chunks):
        if first is not None:
            yield first
            async for chunk in chunks:
                yield chunk


async def started(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same chunks, the first of them read: what goes wrong with it can still be answered with a status."""
    try:
        return _continued(await _first_of(chunks), chunks)
    except BaseException:
        await chunks.aclose()
        raise


async def whole(content: Content) -> bytes:
    """All bytes of a content whose size the caller has bounded."""
    return b"".join([chunk async for chunk in content.read()])


def _count(length: int, start: int, count: int | None) -> int:
    left = max(0, length - start)
    return left if count is None else min(left, count)
