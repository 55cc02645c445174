"""Which frame stands for a resource, what finding it costs, and that its image is made of what is stored."""

import io
from typing import Any

import numpy
import pytest
from PIL import Image
from pydicom import Dataset, Sequence, dcmread

from shared.dicom.rendering import Rendering
from shared.errors import CannotRender, CannotTranscode, NotFound
from shared.model import InstanceKey, Scope
from shared.services.pixels import PixelReader
from shared.services.rendering import TRIED, RenderingService
from shared.services.retrieve import RetrieveService
from shared.services.transcoding import Transcoder
from tests.builders import SERIES, STUDY, encapsulated, instance
from tests.services.conftest import Services, scope_of
from tests.services.test_retrieve import sample

MPEG2 = "1.2.840.10008.1.2.4.100"
PNG = Rendering("image/png")


def picture(grey: int, sop: int | None = None, series: int = 1, **elements: Any) -> bytes:
    """An instance of 2 x 2 pixels of one grey, named after it unless `sop` says otherwise."""
    uid = f"{STUDY}.{series}"
    made = {"rows": 2, "columns": 2, "PixelData": bytes([grey]) * 4, **elements}
    return instance(series=uid, sop=f"{uid}.{grey if sop is None else sop}", **made)


def text(sop: int, series: int = 1, **elements: Any) -> bytes:
    """An instance without pixel data."""
    return picture(0, sop, series, PixelData=None, **elements)


def video(sop: int, series: int = 1, **elements: Any) -> bytes:
    """An instance that has a frame which no codec decodes."""
    uid = f"{STUDY}.{series}"
    return encapsulated(
        [[b"\0\0\1\xb3video"]], transfer_syntax=MPEG2, series=uid, sop=f"{uid}.{sop}", rows=2, columns=2, **elements
    )


@pytest.fixture
def rendering(services: Services) -> RenderingService:
    return RenderingService(services.retrieve, services.pixels)


def limited(services: Services, limit: int) -> RenderingService:
    """The same service, which holds no more than so many bytes of an instance."""
    pixels = PixelReader(services.archive, limit, services.pixels.parsing)
    return RenderingService(RetrieveService(pixels, Transcoder(pixels)), pixels)


async def shown(rendering: RenderingService, scope: Scope, number: int | None = None, *, middle: bool = False) -> Any:
    """The pixels of the image that stands for a resource."""
    image = await rendering.render(await rendering.find(scope, number, middle=middle), PNG)
    return numpy.asarray(Image.open(io.BytesIO(image)))


async def grey_of(rendering: RenderingService, scope: Scope, number: int | None = None, *, middle: bool = False) -> int:
    """The one grey of that image."""
    pixels = await shown(rendering, scope, number, middle=middle)
    assert pixels.min() == pixels.max()
    return int(pixels[0, 0])


# What stands for a series


async def test_the_middle_by_instance_number_stands_for_a_series_in_whatever_order_it_came(
    services: Services, rendering: RenderingService
) -> None:
    for number in (12, 9, 10, 8, 11):
        await services.put_well(picture(number, 100 - number, InstanceNumber=number))
    assert await grey_of(rendering, Scope(STUDY, SERIES)) == 10


async def test_instances_without_a_number_count_as_they_were_stored(
    services: Services, rendering: RenderingService
) -> None:
    for grey, sop in ((30, 3), (20, 2), (10, 1)):
        await services.put_well(picture(grey, sop))
    assert await grey_of(rendering, Scope(STUDY, SERIES)) == 20
    # Those that have one are before them.
    await services.put_well(picture(40, 4, InstanceNumber=9), picture(50, 5, InstanceNumber=-9))
    assert await grey_of(rendering, Scope(STUDY, SERIES)) == 30


async def test_the_next_one_that_is_a_picture_stands_for_a_series_whose_middle_is_none(
    services: Services, rendering: RenderingService
) -> None:
    await services.put_well(
        picture(10, 1, InstanceNumber=1),
        video(2, InstanceNumber=2),
        text(3, InstanceNumber=3),
        video(4, InstanceNumber=4),
        text(5, InstanceNumber=5),
    )
    assert await grey_of(rendering, Scope(STUDY, SERIES)) == 10


async def test_no_more_than_a_few_instances_are_looked_at_for_a_picture(
    services: Services, rendering: RenderingService
) -> None:
    around = [text(sop, InstanceNumber=sop) for sop in range(2, TRIED + 4)]
    await services.put_well(picture(10, 1, InstanceNumber=1), *around)
    services.bench.calls.clear()
    with pytest.raises(NotFound, match="no image"):
        await rendering.find(Scope(STUDY, SERIES), None, middle=False)
    assert dict(services.bench.calls) == {"table query": 1, "table row": TRIED}


# What stands for a study


async def test_series_come_in_the_order_of_their_numbers(services: Services, rendering: RenderingService) -> None:
    await services.put_well(picture(40, series=4), picture(30, series=3, SeriesNumber=10))
    assert await grey_of(rendering, Scope(STUDY)) == 30
    await services.put_well(picture(20, series=2, SeriesNumber=9))
    assert await grey_of(rendering, Scope(STUDY)) == 20


@pytest.mark.parametrize("modality", ["SEG", "RTDOSE", "SR", "KO", "PR"])
async def test_what_says_something_about_pictures_comes_after_them(
    services: Services, rendering: RenderingService, modality: str
) -> None:
    await services.put_well(picture(10, series=1, SeriesNumber=1, Modality=modality))
    assert await grey_of(rendering, Scope(STUDY)) == 10
    await services.put_well(picture(20, series=2, SeriesNumber=2, Modality="CT"))
    assert await grey_of(rendering, Scope(STUDY)) == 20


async def test_a_series_without_a_picture_is_passed_over(services: Services, rendering: RenderingService) -> None:
    await services.put_well(
        text(1, 1, SeriesNumber=1), video(1, 2, SeriesNumber=2), picture(30, series=3, SeriesNumber=3)
    )
    assert await grey_of(rendering, Scope(STUDY)) == 30


@pytest.mark.parametrize("scope", [Scope(STUDY), Scope(STUDY, SERIES)], ids=["study", "series"])
async def test_where_nothing_can_be_decoded_that_is_why_there_is_no_image(
    services: Services, rendering: RenderingService, scope: Scope
) -> None:
    await services.put_well(text(1), video(2))
    found = await rendering.find(scope, None, middle=False)
    with pytest.raises(CannotTranscode, match="no decoder"):
        await rendering.render(found, PNG)


# What stands for an instance


@pytest.mark.parametrize(
    ("representative", "frames", "first", "middle"),
    [(None, 3, 1, 2), (None, 4, 1, 2), (None, 1, 1, 1), (3, 3, 3, 3), (1, 3, 1, 1), (0, 3, 1, 2), (4, 3, 1, 2)],
)
async def test_the_representative_frame_stands_for_an_instance_if_it_has_one(
    services: Services, rendering: RenderingService, representative: int | None, frames: int, first: int, middle: int
) -> None:
    named = {} if representative is None else {"RepresentativeFrameNumber": representative}
    pixels = b"".join(bytes([number]) * 4 for number in range(1, frames + 1))
    (key,) = await services.put_well(picture(0, 1, frames=frames, **(named | {"PixelData": pixels})))
    assert await grey_of(rendering, scope_of(key)) == first
    assert await grey_of(rendering, scope_of(key), middle=True) == middle
    assert [await grey_of(rendering, scope_of(key), number) for number in range(1, frames + 1)] == [
        *range(1, frames + 1)
    ]


async def test_what_is_not_there_is_named(services: Services, rendering: RenderingService) -> None:
    picture_key, text_key = await services.put_well(picture(1), text(2, 2))
    missing: list[tuple[Scope, int | None, str]] = [
        (Scope("1.2.3"), None, "study"),
        (Scope(STUDY, "1.2.3"), None, "series"),
        (Scope(STUDY, SERIES, "1.2.3"), None, "instance"),
        (Scope(STUDY, SERIES, "1.2.3"), 1, "instance"),
        (Scope(STUDY, text_key.series), None, "no image"),
        (scope_of(text_key), None, "frame"),
        (scope_of(text_key), 1, "frame"),
        (scope_of(picture_key), 2, "frame"),
    ]
    for scope, number, what in missing:
        with pytest.raises(NotFound, match=what):
            await rendering.find(scope, number, middle=False)


# What it costs


async def test_what_stands_for_a_resource_is_found_in_three_calls_and_without_a_blob(
    services: Services, rendering: RenderingService
) -> None:
    keys = await services.put_well(*(picture(number, InstanceNumber=number) for number in range(1, 41)))
    for scope, calls in (
        (Scope(STUDY), {"table query": 2, "table row": 1}),
        (Scope(STUDY, SERIES), {"table query": 1, "table row": 1}),
        (scope_of(keys[0]), {"table row": 1}),
    ):
        services.bench.calls.clear()
        await rendering.find(scope, None, middle=False)
        assert dict(services.bench.calls) == calls


async def test_an_image_takes_the_frame_and_what_is_around_the_pixel_data(
    services: Services, rendering: RenderingService
) -> None:
    pixels = bytes(4 * 1000)
    (key,) = await services.put_well(picture(0, 1, frames=1000, PixelData=pixels))
    found = await rendering.find(scope_of(key), 500, middle=False)
    services.bench.calls.clear()
    await rendering.render(found, PNG)
    assert set(services.bench.calls) == {"blob read"} and services.bench.calls["blob read"] <= 3


async def test_a_version_is_another_after_the_instance_was_replaced(
    services: Services, rendering: RenderingService
) -> None:
    (key,) = await services.put_well(picture(10, 1))
    before = await rendering.find(scope_of(key), None, middle=False)
    again = await rendering.find(scope_of(key), None, middle=True)
    await services.put_well(picture(20, 1), replaces=True)
    after = await rendering.find(scope_of(key), None, middle=False)
    assert before.version == again.version != after.version
    assert await grey_of(rendering, scope_of(key)) == 20


# What it is made of


@pytest.mark.parametrize("name", ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"])
async def test_an_image_is_the_same_in_whatever_transfer_syntax_it_is_stored(
    services: Services, rendering: RenderingService, name: str
) -> None:
    (key,) = await services.put_well(sample("MR_small.dcm"))
    plain = await shown(rendering, scope_of(key))
    assert plain.shape == (64, 64) and plain.max() > plain.min()
    (key,) = await services.put_well(sample(f"MR_small_{name}.dcm"), replaces=True)
    assert (await shown(rendering, scope_of(key)) == plain).all()


async def test_a_deflated_instance_is_shown(services: Services, rendering: RenderingService) -> None:
    (key,) = await services.put_well(sample("image_dfl.dcm"))
    values = dcmread(io.BytesIO(sample("image_dfl.dcm"))).pixel_array
    assert values.dtype == numpy.uint8
    assert (await shown(rendering, scope_of(key)) == values).all()


async def test_each_frame_has_the_window_of_its_functional_group(
    services: Services, rendering: RenderingService
) -> None:
    groups = []
    for center in (50, 150):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth, window.VOILUTFunction = center, 100, "LINEAR_EXACT"
        group.FrameVOILUTSequence = Sequence([window])
        groups.append(group)
    (key,) = await services.put_well(
        picture(100, 1, frames=2, PixelData=bytes([100]) * 8, PerFrameFunctionalGroupsSequence=Sequence(groups))
    )
    assert [await grey_of(rendering, scope_of(key), number) for number in (1, 2)] == [255, 0]


async def test_elements_behind_the_pixel_data_do_no_harm(services: Services, rendering: RenderingService) -> None:
    (key,) = await services.put_well(picture(7, 1, DataSetTrailingPadding=bytes(5000)))
    assert await grey_of(rendering, scope_of(key)) == 7


# What is refused


async def test_no_more_is_held_than_is_allowed(services: Services) -> None:
    keys: list[InstanceKey] = await services.put_well(
        picture(1, EncapsulatedDocument=bytes(20_000)), picture(2, rows=200, columns=100, PixelData=bytes(20_000))
    )
    for key in keys:
        found = await limited(services, 21_000).find(scope_of(key), None, middle=False)
        assert await limited(services, 30_000).render(found, PNG)
        with pytest.raises(CannotTranscode, match="of more than 10000 bytes"):
            await limited(services, 10_000).render(found, PNG)


async def test_a_lookup_table_that_is_none_is_refused(services: Services, rendering: RenderingService) -> None:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [0, 0, 99])
    table.add_new("LUTData", "US", [1, 2, 3])
    (key,) = await services.put_well(picture(1, VOILUTSequence=Sequence([table])))
    found = await rendering.find(scope_of(key), None, middle=False)
    with pytest.raises(CannotRender, match="descriptor"):
        await rendering.render(found, PNG)
