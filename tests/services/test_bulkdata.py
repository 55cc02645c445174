"""Bulk values that are made of many frames: in turn, and never all at once."""

import tracemalloc
from contextlib import aclosing

from pydicom.uid import JPEGLSLossless

from shared.dicomweb.media_types import parse_accept
from shared.dicomweb.negotiation import Resource, acceptable, choose
from shared.services.content import whole
from tests import builders
from tests.services.conftest import Services

FRAMES = 20_000
MIB = 1024 * 1024


async def test_an_image_of_very_many_frames_is_one_value_of_which_few_are_held(services: Services) -> None:
    (key,) = await services.put_well(builders.instance(rows=1, columns=1, frames=FRAMES))
    candidates = acceptable(Resource.FRAMES, parse_accept([f"image/jls; transfer-syntax={JPEGLSLossless}"]))
    frames = await services.retrieve.frames(key, lambda stored: choose(candidates, stored))
    tracemalloc.start()
    try:
        content = services.bulkdata.joined(frames, 4)
        assert content.length is None
        chunks = content.read()
        async with aclosing(chunks):
            first = [await anext(chunks) for _ in range(3)]
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    expected = [await whole(frames.part(number).content) for number in (1, 2, 3)]
    assert first == expected
