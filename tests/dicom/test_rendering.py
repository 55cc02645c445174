"""Rendered images, compared pixel by pixel with what pydicom's own pipeline and the equations of the standard give."""

import io
import math
import warnings
from pathlib import Path
from typing import Any

import numpy
import pydicom
import pytest
from PIL import Image as Pillow
from pydicom import Dataset, Sequence
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from shared.dicom.bulk import bulk_table
from shared.dicom.codecs import decode_frame
from shared.dicom.frames import extract_bits, join_fragments
from shared.dicom.image import Frame, Image, image_of
from shared.dicom.instance import read_instance
from shared.dicom.part10 import Part10Scanner
from shared.dicom.rendering import Rendering, Viewport, Window, render
from shared.errors import CannotRender

PNG = Rendering("image/png")

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
#: Files that come with pydicom, that it decodes by itself, of every kind of picture.
PICTURES = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_32bit.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "liver_1frame.dcm",
    "rtdose.dcm",
    "rtdose_1frame.dcm",
    "SC_rgb_small_odd.dcm",
]


def opened(raw: bytes) -> tuple[Dataset, Frame]:
    """A file without its pixel data, and its first frame, as the service gives them to the renderer."""
    scanner = Part10Scanner()
    scanner.feed(raw)
    scanned = scanner.finish()
    instance, table = read_instance(scanned), bulk_table(scanned)
    assert instance.frames is not None and table is not None and table.pixels is not None
    span = instance.frames.locate(1)
    stored = extract_bits(span, join_fragments(span, raw[span.offset : span.offset + span.length]))
    image = image_of(instance.metadata)
    frame = decode_frame(stored, scanned.transfer_syntax, image, 1 << 27, vr=table.pixels.vr)
    rest = raw[: table.pixels.begin] + raw[table.pixels.end :]
    return pydicom.dcmread(io.BytesIO(rest)), frame


def pixels_of(image: bytes) -> Any:
    return numpy.asarray(Pillow.open(io.BytesIO(image)))


def pydicoms(raw: bytes) -> Any:
    """The first frame as pydicom's pipeline has it, on a scale of 0 to 255."""
    ds = pydicom.dcmread(io.BytesIO(raw))
    values = ds.pixel_array
    values = values[0] if int(ds.get("NumberOfFrames") or 1) > 1 else values
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(values, ds)
        return colours if colours.dtype == numpy.uint8 else (colours >> 8).astype(numpy.uint8)
    if ds.SamplesPerPixel == 3:
        return (values >> (ds.BitsAllocated - 8)).astype(numpy.uint8)
    shown = apply_voi_lut(apply_modality_lut(values, ds), ds).astype(numpy.float64)
    bits = ds.BitsStored
    if "VOILUTSequence" in ds:
        low, high = 0.0, 2.0 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif ds.get("WindowWidth") or bits <= 8:
        if "ModalityLUTSequence" in ds:
            low, high = 0.0, 2.0 ** ds.ModalityLUTSequence[0].LUTDescriptor[2] - 1
        else:
            low = -(2.0 ** (bits - 1)) if ds.PixelRepresentation else 0.0
            ends = [apply_modality_lut(numpy.array([end]), ds)[0] for end in (low, low + 2.0**bits - 1)]
            low, high = float(min(ends)), float(max(ends))
    else:
        low, high = float(shown.min()), float(shown.max())
    fraction = (shown - low) / (high - low)
    if ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE":
        fraction = 1 - fraction
    return numpy.floor(numpy.clip(fraction, 0, 1) * 255 + 0.5).astype(numpy.uint8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PICTURES)
def test_pixels_are_those_of_pydicoms_own_pipeline(name: str) -> None:
    raw = (BUNDLED / name).read_bytes()
    data_set, frame = opened(raw)
    found, expected = pixels_of(render(data_set, frame, 1, PNG)), pydicoms(raw)
    assert found.shape == expected.shape
    # Both round the same numbers; what lies just between two is rounded either way.
    assert numpy.abs(found.astype(int) - expected.astype(int)).max() <= (1 if found.ndim == 2 else 0)
    assert (found == expected).mean() > 0.999


# Made-up pictures


def grey(values: Any, bits: int = 16, signed: bool = False, photometric: str = "MONOCHROME2") -> Frame:
    array = numpy.asarray(values, dtype=f"<{'i' if signed else 'u'}{max(1, bits // 8)}")
    rows, columns = array.shape
    return Frame(array.tobytes(), Image(rows, columns, 1, bits, bits, int(signed), 0, photometric))


def colour(values: Any, photometric: str = "RGB") -> Frame:
    array = numpy.asarray(values, dtype=numpy.uint8)
    rows, columns, samples = array.shape
    return Frame(array.tobytes(), Image(rows, columns, samples, 8, 8, 0, 0, photometric))


RAMP = numpy.arange(-2000, 2000, dtype=numpy.int16).reshape(40, 100)


def shown(data_set: Dataset, frame: Frame, **wanted: Any) -> Any:
    return pixels_of(render(data_set, frame, wanted.pop("number", 1), Rendering("image/png", **wanted)))


def eight_bits(fractions: Any) -> Any:
    return numpy.floor(numpy.clip(fractions, 0, 1) * 255 + 0.5).astype(numpy.uint8)


@pytest.mark.parametrize("from_client", [True, False], ids=["asked", "of the data set"])
@pytest.mark.parametrize(
    ("function", "equation"),
    [
        ("LINEAR", lambda x, c, w: (x - (c - 0.5)) / (w - 1) + 0.5),
        ("LINEAR_EXACT", lambda x, c, w: (x - c) / w + 0.5),
        ("SIGMOID", lambda x, c, w: 1 / (1 + numpy.exp(-4 * (x - c) / w))),
    ],
)
def test_windows_follow_the_equations(function: str, equation: Any, from_client: bool) -> None:
    data_set = Dataset()
    if not from_client:
        data_set.WindowCenter, data_set.WindowWidth, data_set.VOILUTFunction = ["40", "1"], ["400", "1"], function
    window = Window(40, 400, function) if from_client else None
    found = shown(data_set, grey(RAMP, signed=True), window=window)
    assert (found == eight_bits(equation(RAMP.astype(float), 40, 400))).all()


def test_a_window_of_the_client_goes_before_that_of_the_data_set_and_is_in_measured_units() -> None:
    data_set = Dataset()
    data_set.RescaleSlope, data_set.RescaleIntercept = "2", "-1000"
    data_set.WindowCenter, data_set.WindowWidth = "0", "10"
    found = shown(data_set, grey(RAMP, signed=True), window=Window(40, 400))
    assert (found == eight_bits((RAMP * 2.0 - 1000 - 39.5) / 399 + 0.5)).all()


def test_without_a_window_the_values_of_the_frame_span_the_range() -> None:
    found = shown(Dataset(), grey(RAMP, signed=True))
    assert (found.min(), found.max()) == (0, 255)
    assert (found == eight_bits((RAMP + 2000.0) / 3999)).all()


def test_eight_bits_without_a_window_are_what_they_are() -> None:
    values = numpy.arange(100, 160, dtype=numpy.uint8).reshape(6, 10)
    assert (shown(Dataset(), grey(values, 8)) == values).all()
    assert (shown(Dataset(), grey(values, 8, photometric="MONOCHROME1")) == 255 - values).all()
    inverse = Dataset()
    inverse.PresentationLUTShape = "INVERSE"
    assert (shown(inverse, grey(values, 8, photometric="MONOCHROME1")) == 255 - values).all()


def test_padding_does_not_count_for_the_range() -> None:
    data_set = Dataset()
    data_set.add_new("PixelPaddingValue", "SS", -2000)
    data_set.add_new("PixelPaddingRangeLimit", "SS", -1001)
    found = shown(data_set, grey(RAMP, signed=True))
    assert (found[:10] == 0).all()
    assert (found == eight_bits((RAMP + 1000.0) / 2999)).all()


def lut(descriptor: list[int], data: Any) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return Sequence([item])


@pytest.mark.parametrize("packed", [True, False])
def test_a_voi_lookup_table(packed: bool) -> None:
    entries = [0, 1023, 512, 256]
    data = numpy.array(entries, "<u2").tobytes() if packed else entries
    data_set = Dataset()
    data_set.VOILUTSequence = lut([4, 2, 10], data)
    found = shown(data_set, grey([[0, 2, 3], [4, 5, 9]]))
    assert (found == eight_bits(numpy.array([[0, 0, 1023], [512, 256, 256]]) / 1023)).all()


def test_a_modality_lookup_table_comes_before_the_window() -> None:
    data_set = Dataset()
    data_set.ModalityLUTSequence = lut([3, 10, 16], [100, 200, 300])
    found = shown(data_set, grey([[10, 11, 12]]), window=Window(200, 201))
    assert (found == eight_bits((numpy.array([[100, 200, 300]]) - 199.5) / 200 + 0.5)).all()


def test_functional_groups_of_the_frame_go_before_those_of_all() -> None:
    def group(center: int, slope: int | None = None) -> Dataset:
        voi, made = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 101
        made.FrameVOILUTSequence = Sequence([voi])
        if slope is not None:
            transformation = Dataset()
            transformation.RescaleSlope, transformation.RescaleIntercept = slope, 0
            made.PixelValueTransformationSequence = Sequence([transformation])
        return made

    data_set = Dataset()
    data_set.SharedFunctionalGroupsSequence = Sequence([group(50, slope=2)])
    data_set.PerFrameFunctionalGroupsSequence = Sequence([group(100), group(200)])
    frame = grey([[40, 50, 60, 100]])
    for number, center in ((1, 100), (2, 200), (3, 50)):
        expected = eight_bits((numpy.array([[80.0, 100, 120, 200]]) - (center - 0.5)) / 100 + 0.5)
        assert (shown(data_set, frame, number=number) == expected).all()


def test_a_palette() -> None:
    data_set = Dataset()
    data_set.PhotometricInterpretation = "PALETTE COLOR"
    data_set.SamplesPerPixel = 1
    for name, values in (("Red", [0, 255, 0, 9]), ("Green", [0, 0, 255, 8]), ("Blue", [255, 0, 0, 7])):
        data_set.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [4, 0, 16])
        data = numpy.array([value * 257 for value in values], "<u2").tobytes()
        data_set.add_new(f"{name}PaletteColorLookupTableData", "OW", data)
    found = shown(data_set, grey([[0, 1], [2, 3]], 8, photometric="PALETTE COLOR"))
    assert found.tolist() == [[[0, 0, 255], [255, 0, 0]], [[0, 255, 0], [9, 8, 7]]]


def test_colours() -> None:
    values = numpy.arange(24, dtype=numpy.uint8).reshape(2, 4, 3) * 10
    assert (shown(Dataset(), colour(values)) == values).all()
    assert (shown(Dataset(), colour(values), window=Window(1, 2)) == values).all()
    grey_ones = numpy.stack([values[..., 0], numpy.full((2, 4), 128), numpy.full((2, 4), 128)], axis=-1)
    found = shown(Dataset(), colour(grey_ones, "YBR_FULL"))
    assert (found == values[..., :1]).all()
    black = shown(Dataset(), colour([[[16, 128, 128], [235, 128, 128]]], "YBR_PARTIAL_422"))
    assert black.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_single_bits_are_black_and_white() -> None:
    frame = Frame(b"\x05\x00", Image(3, 3, 1, 1, 1, 0, 0, "MONOCHROME2"))
    assert shown(Dataset(), frame).tolist() == [[255, 0, 255], [0, 0, 0], [0, 0, 0]]


def test_floating_point_values() -> None:
    values = numpy.array([[0.0, 0.25], [0.5, 1.0]], "<f4")
    frame = Frame(values.tobytes(), Image(2, 2, 1, 32, 32, 0, 0, "MONOCHROME2", floating=True))
    assert (shown(Dataset(), frame) == eight_bits(values)).all()
    holes = numpy.array([[math.nan, math.inf], [-math.inf, 1.0]], "<f4")
    frame = Frame(holes.tobytes(), Image(2, 2, 1, 32, 32, 0, 0, "MONOCHROME2", floating=True))
    assert shown(Dataset(), frame).tolist() == [[0, 0], [0, 255]]


def test_values_far_apart() -> None:
    frame = grey([[0, 2**32 - 1], [2**31, 5]], 32)
    assert shown(Dataset(), frame).tolist() == [[0, 255], [128, 0]]


# Size and encoding


@pytest.mark.parametrize(
    ("viewport", "size"),
    [
        (Viewport(50, 50), (50, 20)),
        (Viewport(200, 200), (200, 80)),
        (Viewport(1000, 20), (50, 20)),
        (Viewport(10, 10, 0, 0, 40, 40), (10, 10)),
        (Viewport(10, 10, 80, 20), (10, 10)),
        (Viewport(10, 10, 95, 0, 50, 5), (10, 10)),
        (Viewport(1, 1), (1, 1)),
    ],
)
def test_a_viewport_is_filled_as_far_as_the_image_allows(viewport: Viewport, size: tuple[int, int]) -> None:
    found = shown(Dataset(), grey(RAMP, signed=True), viewport=viewport)
    assert found.shape[::-1] == size


def test_a_region_is_cut_and_mirrored() -> None:
    values = numpy.arange(100, dtype=numpy.uint8).reshape(10, 10)
    plain = shown(Dataset(), grey(values, 8), viewport=Viewport(4, 3, 2, 5, 4, 3))
    assert (plain == values[5:8, 2:6]).all()
    both = Viewport(4, 3, 2, 5, 4, 3, flip_horizontal=True, flip_vertical=True)
    assert (shown(Dataset(), grey(values, 8), viewport=both) == values[5:8, 2:6][::-1, ::-1]).all()


def test_a_region_outside_of_the_image_is_refused() -> None:
    with pytest.raises(CannotRender, match="outside"):
        shown(Dataset(), grey(RAMP, signed=True), viewport=Viewport(10, 10, 100, 0))


@pytest.mark.parametrize(
    ("keyword", "value", "size"),
    [
        ("PixelAspectRatio", [2, 1], (100, 80)),
        ("PixelSpacing", [1, 2], (100, 20)),
        ("PixelAspectRatio", [0, 1], (100, 40)),
    ],
)
def test_pixels_are_square_in_a_viewport(keyword: str, value: list[int], size: tuple[int, int]) -> None:
    data_set = Dataset()
    setattr(data_set, keyword, value)
    assert shown(data_set, grey(RAMP, signed=True), viewport=Viewport(100, 100)).shape[::-1] == size
    assert shown(data_set, grey(RAMP, signed=True)).shape == RAMP.shape


@pytest.mark.parametrize("media", ["image/jpeg", "image/png", "image/webp", "image/gif"])
@pytest.mark.parametrize("coloured", [True, False])
def test_every_media_type_is_what_it_says(media: str, coloured: bool) -> None:
    values = numpy.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=numpy.uint8)
    frame = colour(values) if coloured else grey(values[..., 0], 8)
    best, worst = (render(Dataset(), frame, 1, Rendering(media, quality)) for quality in (100, 1))
    opened_image = Pillow.open(io.BytesIO(best))
    assert (f"image/{(opened_image.format or '').lower()}", opened_image.size) == (media, (48, 64))
    assert (len(worst) < len(best)) == (media in ("image/jpeg", "image/webp"))


# Files that lie


def hostile(**elements: Any) -> Dataset:
    data_set = Dataset()
    with pydicom.config.disable_value_validation():
        for keyword, value in elements.items():
            if isinstance(value, tuple):
                data_set.add_new(keyword, *value)
            else:
                setattr(data_set, keyword, value)
    return data_set


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "data_set",
    [
        hostile(WindowCenter="40", WindowWidth="0"),
        hostile(WindowCenter="40", WindowWidth="-5"),
        hostile(WindowCenter="1e308", WindowWidth="1e-308", VOILUTFunction="SIGMOID"),
        hostile(WindowCenter="", WindowWidth=""),
        hostile(RescaleSlope="1e308", RescaleIntercept="1e308"),
        hostile(RescaleSlope="0", RescaleIntercept="5"),
        hostile(PixelPaddingValue=("US", 65535), PixelPaddingRangeLimit=("US", 0)),
        hostile(VOILUTSequence=Sequence([])),
        hostile(PerFrameFunctionalGroupsSequence=Sequence([Dataset()])),
        hostile(PixelAspectRatio=["0", "0"]),
    ],
    ids=lambda data_set: ",".join(element.keyword for element in data_set),
)
def test_values_that_make_no_sense_are_borne(data_set: Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert shown(data_set, grey(RAMP, signed=True), viewport=Viewport(20, 20)).shape == (8, 20)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "data_set",
    [
        hostile(VOILUTSequence=Sequence([Dataset()])),
        hostile(VOILUTSequence=lut([4, 0, 99], [1, 2, 3, 4])),
        hostile(ModalityLUTSequence=lut([4, 0, 16], b"")),
        hostile(ModalityLUTSequence=lut([4, 0], [1, 2, 3, 4])),
    ],
)
def test_lookup_tables_that_are_none_are_refused(data_set: Dataset) -> None:
    with pytest.raises(CannotRender):
        shown(data_set, grey(RAMP, signed=True))


def test_a_palette_that_is_missing_is_refused_without_its_values() -> None:
    with pytest.raises(CannotRender) as raised:
        shown(Dataset(), grey([[0, 1], [2, 3]], 8, photometric="PALETTE COLOR"))
    assert "cannot be rendered" in str(raised.value)


def test_a_descriptor_that_promises_more_than_there_is_does_not_allocate_it() -> None:
    data_set = Dataset()
    data_set.VOILUTSequence = lut([0, 0, 16], [0, 65535])
    assert shown(data_set, grey([[0, 1], [2, 60000]])).tolist() == [[0, 255], [255, 255]]
