"""Rendered images, compared pixel by pixel with what pydicom's own pipeline and the equations of the standard give."""

import io
import math
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
from shared.errors import BadRequest
from tests.dicom.pictures import RAMP, colour, eight_bits, floats, grey, lut, pixels_of, shown

PNG = Rendering("image/png")

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
#: Files that come with pydicom, of every kind of picture that it and what is installed for tests decode.
PICTURES = """
    693_J2KI CT_small ExplVR_BigEnd GDCMJ2K_TextGBR J2K_pixelrep_mismatch JPEG2000 JPEGLSNearLossless_08
    JPEGLSNearLossless_16 MR_small MR_small_RLE MR_small_bigendian MR_small_expb MR_small_implicit
    MR_small_jp2klossless MR_small_jpeg_ls_lossless MR_small_padded SC_jpeg_no_color_transform
    SC_jpeg_no_color_transform_2 SC_rgb_dcmtk_+eb+cr SC_rgb_dcmtk_+eb+cy+n1 SC_rgb_dcmtk_+eb+cy+n2
    SC_rgb_dcmtk_+eb+cy+np SC_rgb_dcmtk_+eb+cy+s2 SC_rgb_dcmtk_+eb+cy+s4 SC_rgb_gdcm_KY
    SC_rgb_jls_lossy_line SC_rgb_jls_lossy_sample SC_rgb_jpeg SC_rgb_jpeg_app14_dcmd SC_rgb_jpeg_dcmd
    SC_rgb_jpeg_dcmtk SC_rgb_jpeg_lossy_gdcm SC_rgb_rle SC_rgb_rle_16bit SC_rgb_rle_16bit_2frame
    SC_rgb_rle_2frame SC_rgb_rle_32bit SC_rgb_rle_32bit_2frame SC_rgb_small_odd SC_rgb_small_odd_jpeg
    SC_ybr_full_422_uncompressed examples_jpeg2k examples_overlay examples_palette examples_rgb_color
    examples_ybr_color liver_1frame liver_expb_1frame rtdose rtdose_1frame rtdose_expb rtdose_expb_1frame
    rtdose_rle rtdose_rle_1frame
""".split()


def opened(raw: bytes) -> tuple[Dataset, Frame]:
    """A file without its pixel data, and its first frame, as the service gives them to the renderer."""
    scanner = Part10Scanner()
    scanner.feed(raw)
    scanned = scanner.finish()
    instance, table = read_instance(scanned), bulk_table(scanned)
    assert instance.frames is not None and table is not None and table.pixels is not None
    span = instance.frames.locate(1)
    stored = raw[span.offset : span.offset + span.length]
    stored = join_fragments(span, stored) if span.fragments else extract_bits(span, stored)
    image = image_of(instance.metadata)
    frame = decode_frame(stored, scanned.transfer_syntax, image, 1 << 27, vr=table.pixels.vr)
    rest = raw[: table.pixels.begin] + raw[table.pixels.end :]
    return pydicom.dcmread(io.BytesIO(rest)), frame


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
    raw = (BUNDLED / f"{name}.dcm").read_bytes()
    data_set, frame = opened(raw)
    found, expected = pixels_of(render(data_set, frame, 1, PNG)), pydicoms(raw)
    assert found.shape == expected.shape
    assert (found == expected).all()


# Made-up pictures


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


def test_padding_of_wide_values_does_not_count_for_the_range() -> None:
    data_set = Dataset()
    data_set.FloatPixelPaddingValue = -1000.0
    assert shown(data_set, floats([[-1000.0, 0.0], [1.0, 2.0]])).tolist() == [[0, 0], [128, 255]]
    data_set.add_new("PixelPaddingValue", "SL", -(2**31))
    found = shown(data_set, grey([[-(2**31), 0], [2**29, 2**30]], 32, signed=True))
    assert found.tolist() == [[0, 0], [128, 255]]


def test_padding_that_lost_its_sign_is_negative() -> None:
    data_set = Dataset()
    data_set.add_new("PixelPaddingValue", "US", 63536)
    assert shown(data_set, grey([[-2000, 0], [500, 1000]], signed=True)).tolist() == [[0, 0], [128, 255]]


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


def test_a_modality_lookup_table_whose_first_value_lost_its_sign() -> None:
    data_set = Dataset()
    data_set.ModalityLUTSequence = lut([3, 65535, 16], [100, 200, 300])
    found = shown(data_set, grey([[-1, 0, 1]], signed=True), window=Window(200, 201))
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


def test_single_bits_are_black_and_white() -> None:
    frame = Frame(b"\x05\x00", Image(3, 3, 1, 1, 1, 0, 0, "MONOCHROME2"))
    assert shown(Dataset(), frame).tolist() == [[255, 0, 255], [0, 0, 0], [0, 0, 0]]


def test_floating_point_values() -> None:
    values = numpy.array([[0.0, 0.25], [0.5, 1.0]])
    assert (shown(Dataset(), floats(values)) == eight_bits(values)).all()


def test_what_is_no_number_does_not_count_for_the_range() -> None:
    holes = [[math.nan, math.inf, -math.inf], [1000.0, 1500.0, 2000.0]]
    assert shown(Dataset(), floats(holes)).tolist() == [[0, 255, 0], [0, 128, 255]]
    assert shown(Dataset(), floats([[math.nan, math.inf]])).tolist() == [[0, 0]]


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
    with pytest.raises(BadRequest, match="outside"):
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


def test_spacing_may_be_that_of_a_frame() -> None:
    def group(spacing: list[int]) -> Dataset:
        measures, made = Dataset(), Dataset()
        measures.PixelSpacing = spacing
        made.PixelMeasuresSequence = Sequence([measures])
        return made

    data_set = Dataset()
    data_set.SharedFunctionalGroupsSequence = Sequence([group([2, 1])])
    data_set.PerFrameFunctionalGroupsSequence = Sequence([group([1, 2]), Dataset()])
    frame = grey(RAMP, signed=True)
    assert shown(data_set, frame, number=1, viewport=Viewport(100, 100)).shape == (20, 100)
    assert shown(data_set, frame, number=2, viewport=Viewport(100, 100)).shape == (80, 100)


@pytest.mark.parametrize("media", ["image/jpeg", "image/png", "image/webp", "image/gif"])
@pytest.mark.parametrize("coloured", [True, False])
def test_every_media_type_is_what_it_says(media: str, coloured: bool) -> None:
    values = numpy.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=numpy.uint8)
    frame = colour(values) if coloured else grey(values[..., 0], 8)
    best, worst = (render(Dataset(), frame, 1, Rendering(media, quality)) for quality in (100, 1))
    opened_image = Pillow.open(io.BytesIO(best))
    assert (f"image/{(opened_image.format or '').lower()}", opened_image.size) == (media, (48, 64))
    assert (len(worst) < len(best)) == (media in ("image/jpeg", "image/webp"))
