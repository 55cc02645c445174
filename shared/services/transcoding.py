"""An instance in another transfer syntax, made while it is sent (PS3.18 §8.7.3.5).

    the file without its pixel data --plan--> what comes before and behind the frames
    frame by frame: stored --decode, encode--> sent

What is held is the file without its pixel data and one frame, decoded and encoded, whatever the size of the file.

Left out: which transfer syntax is wanted (dicomweb/negotiation.py), how a file and a frame are turned (dicom/).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from shared.dicom.bulk import PixelElement
from shared.dicom.codecs import encode_frame
from shared.dicom.image import Frame
from shared.dicom.transcode import FilePlan, needs_first, plan_file
from shared.errors import CannotTranscode
from shared.model import StoredInstance
from shared.services.content import Content, Held, Produced
from shared.services.pixels import InstancePixels, PixelReader


class Transcoder:
    """Turns instances and frames of one archive into other transfer syntaxes."""

    def __init__(self, pixels: PixelReader) -> None:
        self._pixels = pixels

    async def instance(self, instance: StoredInstance, target: str) -> Content:
        """A whole file in a transfer syntax, for an instance whose row has been read with `pixels.COLUMNS`.

        Its first frame is decoded before this returns. Raises CannotTranscode when it cannot be had.
        """
        rest = await self._pixels.rest(instance)
        element = (await self._pixels.bulk_table(instance)).pixels
        source = instance.transfer_syntax
        opened: InstancePixels | None = None
        # Sent once, as a rule: then the first frame need not be held until the last has been sent.
        firsts: list[Frame] = []
        if element is not None and needs_first(source, target, element):
            table = await self._pixels.frame_table(instance)
            if table is None:
                raise CannotTranscode("the frames of the instance cannot be told apart; ask for transfer-syntax=*")
            opened = await self._pixels.pixels_of(instance)
            firsts.append(await self._pixels.decoded_frame(opened, 1))
        count = opened.table.count if opened else 1

        def plan() -> FilePlan:
            return plan_file(rest, source, target, element, count, firsts[0] if firsts else None)

        planned = await self._in_thread(plan)
        if element is None:
            return Held(planned.before + planned.after)
        if opened is None:
            return Produced(lambda: self._copied(instance, element, planned), planned.length)
        size = len(rest) + opened.image.frame_bytes
        return Produced(lambda: self._frame_by_frame(opened, firsts, planned), planned.length, size)

    async def _copied(self, instance: StoredInstance, element: PixelElement, plan: FilePlan) -> AsyncGenerator[bytes]:
        """A file whose native pixel data stay as they are, but perhaps for the order of bytes."""
        yield plan.before
        joiner = plan.joiner()
        value = self._pixels.range_of(instance, element.offset, element.length).read()
        async with aclosing(value):
            async for chunk in value:
                yield joiner.feed(chunk)
        yield joiner.finish()

    async def _frame_by_frame(
        self, opened: InstancePixels, firsts: list[Frame], plan: FilePlan
    ) -> AsyncGenerator[bytes]:
        """The file, its frames one after another; `firsts` holds the first of them, decoded, and is emptied."""
        yield plan.before
        joiner, limit = plan.joiner(), self._pixels.limit
        begun = 1
        if firsts:
            size = firsts[0].image.frame_bytes
            yield await self._pixels.with_room(size, lambda: joiner.feed(plan.encode(firsts.pop(), limit)))
            begun = 2
        for number in range(begun, opened.table.count + 1):
            yield await self._pixels.with_frame(opened, number, lambda stored: joiner.feed(plan.convert(stored, limit)))
        yield joiner.finish()

    async def frame(self, opened: InstancePixels, number: int, target: str) -> bytes:
        """One frame, counted from 1, in a transfer syntax. Raises CannotTranscode when it cannot be had."""

        def turn(stored: bytes) -> bytes:
            return encode_frame(self._pixels.decode(opened, stored), target, self._pixels.limit)

        return await self._pixels.with_frame(opened, number, turn)

    async def _in_thread[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pixels.parsing, work)
