"""What is opened ahead of its turn, and what becomes of a study that changes while it is sent."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from shared.dicomweb.negotiation import Resource
from shared.model import InstanceKey, Scope
from shared.services.content import AHEAD, Content, Produced, opened_ahead, whole
from tests.builders import SERIES, STUDY, instance
from tests.services.conftest import Services, choosing

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "most"), [(0, 5), (MIB, 5), (4 * MIB, 4), (AHEAD // 2 + 1, 2), (AHEAD, 1), (128 * MIB, 1)]
)
async def test_large_contents_are_not_opened_ahead(size: int, most: int) -> None:
    begun = 0

    async def made() -> AsyncGenerator[bytes]:
        nonlocal begun
        begun += 1
        yield b"1"
        yield b"2"

    async def contents() -> AsyncGenerator[Content]:
        for _ in range(9):
            yield Produced(made, held=size)

    done = 0
    opened = opened_ahead(contents(), lambda content: content, 4)
    async with aclosing(opened):
        async for _, chunks in opened:
            async with aclosing(chunks):
                assert b"".join([chunk async for chunk in chunks]) == b"12"
                assert begun - done <= most
            done += 1
    assert done == 9


@pytest.fixture
async def three(services: Services) -> list[InstanceKey]:
    """Three instances, to be sent encoded."""
    return await services.put_well(*(instance(sop=f"{SERIES}.{number}") for number in (1, 2, 3)))


async def sent(services: Services, change: Callable[[], Awaitable[object]]) -> list[tuple[str | None, str | None]]:
    """Instance and transfer syntax of what is sent of the study, where something changes after the first has been."""
    found = []
    choose = choosing(Resource.STUDY, JPEGLSLossless)
    async for part in await services.retrieve.instances(Scope(STUDY), choose, certain=False):
        if not found:
            await change()
        assert await whole(part.content)
        found.append((part.scope.instance, part.transfer_syntax))
    return found


async def test_an_instance_that_is_replaced_meanwhile_is_sent_as_it_is_now(
    services: Services, three: list[InstanceKey]
) -> None:
    async def change() -> None:
        await services.put_well(instance(sop=f"{SERIES}.2", rows=9), replaces=True)
        await services.put_well(instance(sop=f"{SERIES}.3", BitsAllocated=32, BitsStored=32, rows=1), replaces=True)

    assert await sent(services, change) == [
        (f"{SERIES}.1", JPEGLSLossless),
        (f"{SERIES}.2", JPEGLSLossless),
        # No encoder takes that one.
        (f"{SERIES}.3", ExplicitVRLittleEndian),
    ]


async def test_an_instance_that_is_deleted_meanwhile_is_left_out(services: Services, three: list[InstanceKey]) -> None:
    async def change() -> None:
        await services.delete.delete(Scope(STUDY, SERIES, f"{SERIES}.2"))

    assert await sent(services, change) == [(f"{SERIES}.1", JPEGLSLossless), (f"{SERIES}.3", JPEGLSLossless)]


async def test_a_transcoded_file_can_be_read_twice(services: Services, three: list[InstanceKey]) -> None:
    choose = choosing(Resource.INSTANCE, JPEGLSLossless)
    part = await services.retrieve.part_of(await services.retrieve.instance(three[0]), choose(ExplicitVRLittleEndian))
    assert await whole(part.content) == await whole(part.content)
