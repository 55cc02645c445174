"""Contents give the same bytes wherever reading begins and ends."""

import asyncio
import random
from array import array
from collections.abc import AsyncGenerator

import pytest

from shared.dicom.part10 import Part10Scanner
from shared.errors import NotFound
from shared.model import InstanceKey
from shared.services.content import (
    BlobRange,
    Content,
    Fragments,
    Held,
    Inflated,
    Joined,
    Produced,
    Swapped,
    opened_ahead,
    started,
    whole,
)
from shared.services.pixels import Room
from shared.storage.blobs import PIECE
from tests.builders import INSTANCE, SERIES, STUDY, instance
from tests.services.conftest import Services

OWNER = InstanceKey(STUDY, SERIES, INSTANCE)
NOISE = random.Random(7).randbytes(5000)
#: Beginnings and numbers of bytes, at, next to and beyond every kind of end.
SLICES = [
    (0, None),
    (0, 0),
    (0, 1),
    (1, None),
    (7, 13),
    (999, 3),
    (1000, 1),
    (1, 4999),
    (4999, 9),
    (5000, None),
    (6000, 5),
]


async def check(content: Content, expected: bytes) -> None:
    """Every slice of a content is that of its bytes."""
    assert content.length in (None, len(expected))
    for start, count in SLICES:
        found = b"".join([chunk async for chunk in content.read(start, count)])
        assert found == (expected[start:] if count is None else expected[start : start + count]), (start, count)


async def test_a_range_of_a_blob(services: Services) -> None:
    blobs = services.archive.blobs
    await blobs.open()
    await blobs.put("a" * 32, b"before" + NOISE + b"behind", OWNER)
    await check(BlobRange(blobs, "a" * 32, 6, 5000), NOISE)


@pytest.mark.parametrize("lengths", [[5000], [1, 999, 0, 3000, 1000], [500] * 10, [4999, 1]])
async def test_fragments_without_the_heads_between_them(services: Services, lengths: list[int]) -> None:
    blobs = services.archive.blobs
    await blobs.open()
    stored, at = b"head", 0
    for length in lengths:
        stored += NOISE[at : at + length] + b"itemhead"
        at += length
    await blobs.put("b" * 32, stored, OWNER)
    await check(Fragments(blobs, "b" * 32, 4, array("I", lengths)), NOISE)


async def test_a_range_of_fragments_reads_no_more_than_it(services: Services) -> None:
    blobs = services.archive.blobs
    await blobs.open()
    size = 3 * PIECE
    await blobs.put("c" * 32, (bytes(size) + b"itemhead") * 3, OWNER)
    services.bench.calls.clear()
    content = Fragments(blobs, "c" * 32, 0, [size] * 3)
    assert b"".join([chunk async for chunk in content.read(2 * size - 5, 10)]) == bytes(10)
    assert dict(services.bench.calls) == {"blob read": 1}


async def test_a_range_of_a_deflated_data_set(services: Services) -> None:
    file = instance(transfer_syntax="1.2.840.10008.1.2.1.99", rows=50, columns=100, PixelData=NOISE)
    scanner = Part10Scanner()
    scanner.feed(file)
    pixels = scanner.finish().pixels
    assert pixels is not None and hasattr(pixels, "offset")
    blobs = services.archive.blobs
    await blobs.open()
    await blobs.put("d" * 32, file, OWNER)
    assert NOISE not in file
    await check(Inflated(blobs, "d" * 32, len(file), pixels.offset, 5000, services.pixels.parsing), NOISE)


@pytest.mark.parametrize("size", [2, 4, 8])
async def test_words_turned_round(size: int) -> None:
    expected = b"".join(NOISE[at : at + size][::-1] for at in range(0, 5000, size))
    await check(Swapped(Held(NOISE), size), expected)
    await check(Swapped(in_chunks(NOISE, 7, known=True), size), expected)


async def test_bytes_that_are_made() -> None:
    await check(in_chunks(NOISE, 999, known=False), NOISE)
    await check(in_chunks(NOISE, 1, known=True), NOISE)


@pytest.mark.parametrize("window", [0, 1, 4, 100])
async def test_contents_one_after_another(window: int) -> None:
    contents: list[Content] = [Held(b"")]
    contents += [in_chunks(NOISE[at : at + 250], 99, known=True) for at in range(0, 5000, 250)]
    await check(Joined(contents, window), NOISE)
    unknown = Joined([*contents, in_chunks(b"end", 2, known=False)], window)
    assert unknown.length is None
    assert await whole(unknown) == NOISE + b"end"


def in_chunks(data: bytes, size: int, *, known: bool) -> Produced:
    async def make() -> AsyncGenerator[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    return Produced(make, len(data) if known else None)


class Counted:
    """Contents that know how many of them are open, and how many have been begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.open = 0

    def content(self, data: bytes, error: Exception | None = None) -> Produced:
        async def make() -> AsyncGenerator[bytes]:
            self.begun += 1
            self.open += 1
            try:
                if error:
                    raise error
                yield data
                yield data
            finally:
                self.open -= 1

        return Produced(make)


async def each(*contents: Content) -> AsyncGenerator[Content]:
    for content in contents:
        yield content


async def test_no_more_than_the_window_is_opened_ahead() -> None:
    counted = Counted()
    opened = opened_ahead(each(*(counted.content(b"a") for _ in range(10))), lambda content: content, 3)
    number = 0
    async for _, chunks in opened:
        number += 1
        assert counted.begun <= number + 3
        assert [chunk async for chunk in chunks] == [b"a", b"a"]
    assert (number, counted.begun, counted.open) == (10, 10, 0)


async def test_what_was_opened_ahead_is_closed_when_the_reader_goes_away() -> None:
    counted = Counted()
    opened = opened_ahead(each(*(counted.content(b"a") for _ in range(10))), lambda content: content, 3)
    _, chunks = await anext(opened)
    assert await anext(chunks) == b"a"
    await chunks.aclose()
    await opened.aclose()
    assert counted.open == 0


async def test_an_error_comes_when_its_turn_has() -> None:
    counted = Counted()
    gone = counted.content(b"", NotFound("gone"))
    opened = opened_ahead(each(counted.content(b"a"), gone, counted.content(b"c")), lambda content: content, 5)
    _, chunks = await anext(opened)
    assert [chunk async for chunk in chunks] == [b"a", b"a"]
    with pytest.raises(NotFound):
        await anext(opened)
    assert counted.open == 0


async def test_the_first_error_comes_before_anything_is_sent() -> None:
    counted = Counted()
    with pytest.raises(NotFound):
        await started(counted.content(b"", NotFound("gone")).read())
    assert counted.open == 0
    chunks = await started(counted.content(b"a").read())
    assert counted.begun == 2
    assert [chunk async for chunk in chunks] == [b"a", b"a"]


async def test_room_is_waited_for_and_given_back() -> None:
    room = Room(10)
    inside: list[int] = []
    most = 0

    async def work(size: int) -> None:
        nonlocal most
        async with room.taken(size):
            inside.append(size)
            most = max(most, sum(inside) if len(inside) > 1 else 0)
            await asyncio.sleep(0.001)
            inside.remove(size)

    await asyncio.gather(*(work(size) for size in (4, 5, 6, 100, 1, 9, 10, 3)))
    assert 0 < most <= 10
    waiting = asyncio.create_task(work(10))
    async with room.taken(5):
        await asyncio.sleep(0.005)
        assert not inside
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(work(10), 5)
