"""Palettes and colour spaces, compared with pydicom where it is right, and with the tables of the standard."""

import contextlib
import io
import struct
import time
from typing import Any

import numpy
import pydicom
import pytest
from pydicom import Dataset, Sequence
from pydicom.data import get_palette_files
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.uid import ExplicitVRBigEndian

from shared.dicom.rendering import Window
from shared.errors import CannotRender
from tests.dicom.pictures import colour, grey, shown

SHADES = numpy.arange(256, dtype=numpy.uint8).reshape(16, 16)


def palette(descriptor: list[int], data: Any, *, segmented: bool = False) -> Dataset:
    """A data set with the same table for red, green and blue."""
    data_set = Dataset()
    for name in ("Red", "Green", "Blue"):
        data_set.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", descriptor)
        keyword = f"{'Segmented' if segmented else ''}{name}PaletteColorLookupTableData"
        data_set.add_new(keyword, "OW" if isinstance(data, bytes) else "US", data)
    return data_set


def reds(data_set: Dataset, values: Any, bits: int = 8, signed: bool = False) -> Any:
    return shown(data_set, grey([values], bits, signed, "PALETTE COLOR"))[0, :, 0].tolist()


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}H", *numbers)


def test_a_palette_of_three_tables() -> None:
    data_set = Dataset()
    for name, values in (("Red", [0, 255, 0, 9]), ("Green", [0, 0, 255, 8]), ("Blue", [255, 0, 0, 7])):
        data_set.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [4, 0, 16])
        data_set.add_new(f"{name}PaletteColorLookupTableData", "OW", words(*(value * 257 for value in values)))
    found = shown(data_set, grey([[0, 1], [2, 3]], 8, photometric="PALETTE COLOR"))
    assert found.tolist() == [[[0, 0, 255], [255, 0, 0]], [[0, 255, 0], [9, 8, 7]]]


@pytest.mark.parametrize("name", ["fall", "hotiron", "hotmetalblue", "pet", "pet20step", "spring", "summer", "winter"])
def test_well_known_palettes_segmented_or_not_are_as_pydicom_has_them(name: str) -> None:
    data_set = pydicom.dcmread(get_palette_files(f"{name}.dcm")[0])
    expected = apply_color_lut(SHADES, data_set)
    assert (shown(data_set, grey(SHADES, 8, photometric="PALETTE COLOR")) == expected).all()


@pytest.mark.parametrize(
    ("descriptor", "data", "expected"),
    [
        ([4, 0, 8], bytes([1, 2, 3, 4]), [1, 2, 3, 4]),
        ([3, 0, 8], bytes([1, 2, 3, 0]), [1, 2, 3, 3]),
        ([4, 0, 8], words(1, 2, 3, 4), [1, 2, 3, 4]),
        ([4, 0, 8], words(0x100, 0x200, 0x300, 0x4FF), [1, 2, 3, 4]),
        ([4, 0, 16], words(0x100, 0x200, 0x300, 0x4FF), [1, 2, 3, 4]),
        ([4, 0, 16], words(1, 2, 3, 4), [1, 2, 3, 4]),
        ([4, 0, 16], bytes([1, 2, 3, 4]), [1, 2, 3, 4]),
        ([4, 0, 16], [0x100, 0x200, 0x300, 0x400], [1, 2, 3, 4]),
        ([0, 0, 16], words(0x100, 0x200), [1, 2, 2, 2]),
        ([2, 1, 16], words(0x100, 0x200), [1, 1, 2, 2]),
    ],
    ids=["packed", "odd", "words", "upper bytes", "16 bits", "8 of 16", "packed 16", "numbers", "short", "first is 1"],
)
def test_entries_are_packed_in_every_way(descriptor: list[int], data: Any, expected: list[int]) -> None:
    assert reds(palette(descriptor, data), [0, 1, 2, 3]) == expected


def test_values_outside_of_a_table_have_its_ends() -> None:
    data_set = palette([256, 2, 8], bytes(range(256)))
    assert reds(data_set, [0, 2, 3, 257, 258, 300, 65535], 16) == [0, 0, 1, 255, 255, 255, 255]


@pytest.mark.parametrize("first", [-2, 65534], ids=["signed", "sign lost"])
def test_the_first_value_may_be_negative(first: int) -> None:
    data_set = palette([4, 0, 16], words(0x100, 0x200, 0x300, 0x400))
    data_set["RedPaletteColorLookupTableDescriptor"].VR = "SS" if first < 0 else "US"
    data_set.RedPaletteColorLookupTableDescriptor = [4, first, 16]
    assert reds(data_set, [-9, -2, -1, 0, 1, 9], 16, signed=True) == [1, 1, 2, 3, 4, 4]


def test_tables_of_a_big_endian_file() -> None:
    written = palette([4, 0, 16], struct.pack(">4H", 0x100, 0x200, 0x300, 0x4FF))
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 16])
    item.add_new("LUTData", "OW", struct.pack(">4H", 0, 0x5555, 0xAAAA, 0xFFFF))
    written.VOILUTSequence = Sequence([item])
    written.file_meta = FileMetaDataset()
    written.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    file = io.BytesIO()
    pydicom.dcmwrite(file, written)
    read = pydicom.dcmread(io.BytesIO(file.getvalue()), force=True)
    assert reds(read, [0, 1, 2, 3]) == [1, 2, 3, 4]
    assert shown(read, grey([[0, 1, 2, 3]], 8)).tolist() == [[0, 85, 170, 255]]


# Segments: opcode, length, then entries (0), the last value (1), or the offset in bytes of segments to copy (2)


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        (words(0, 2, 0x100, 0x200, 0, 2, 0x300, 0x400), [1, 2, 3, 4]),
        (words(0, 1, 0x100, 1, 3, 0x400), [1, 2, 3, 4]),
        (words(0, 1, 0x400, 1, 3, 0x100), [4, 3, 2, 1]),
        (words(0, 1, 0x100, 0, 1, 0x200, 2, 2, 0, 0), [1, 2, 1, 2]),
        (words(0, 1, 0x100, 0, 1, 0x200, 2, 1, 6, 0), [1, 2, 2, 2]),
        (words(0, 1, 0x100, 1, 2, 0x300, 2, 1, 6, 0), [1, 2, 3, 3]),
        (words(0, 9, 0x100, 0x200), [1, 2, 2, 2]),
        (words(0, 1, 0x100, 1, 65535, 0xFFFF), [1, 1, 1, 1]),
    ],
    ids=["discrete", "linear", "down", "indirect", "second", "linear again", "cut off", "beyond the table"],
)
def test_segments_are_expanded(segments: bytes, expected: list[int]) -> None:
    assert reds(palette([4, 0, 16], segments, segmented=True), [0, 1, 2, 3]) == expected


def test_segments_of_eight_bits() -> None:
    segments = bytes([0, 1, 10, 1, 2, 30, 2, 1, 0, 0, 0, 0])
    assert reds(palette([4, 0, 8], segments, segmented=True), [0, 1, 2, 3]) == [10, 20, 30, 10]


@pytest.mark.parametrize(
    "segments",
    [
        b"",
        words(1, 3, 0x100),
        words(0, 0, 1, 1),
        words(0, 1, 0x100, 3, 1, 1),
        words(0, 1, 0x100, 1, 0, 1),
        words(0, 1, 0x100, 2, 1, 6, 0),
        words(0, 1, 0x100, 2, 1, 0xFFFF, 0xFFFF),
        words(0, 1, 0x100, 2, 0, 0, 0),
    ],
    ids=["empty", "linear first", "nothing", "unknown", "no length", "copies itself", "far away", "copies nothing"],
)
def test_segments_that_are_none_are_refused(segments: bytes) -> None:
    with pytest.raises(CannotRender, match="lookup table"):
        reds(palette([4, 0, 16], segments, segmented=True), [0, 1])


@pytest.mark.parametrize(
    "segments",
    [words(0, 1, 7) + words(1, 65535, 7) * 100_000, words(0, 1, 7) + words(2, 65535, 0, 0) * 100_000],
    ids=["linear", "indirect"],
)
def test_segments_that_expand_without_end_cost_no_more_than_a_table(segments: bytes) -> None:
    data_set = palette([0, 0, 16], segments, segmented=True)
    begun = time.process_time()
    with contextlib.suppress(CannotRender):
        reds(data_set, [0, 1])
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "data_set",
    [
        Dataset(),
        palette([4, 0], words(1, 2, 3, 4)),
        palette([4, 0, 0], words(1, 2, 3, 4)),
        palette([4, 0, 32], words(1, 2, 3, 4)),
        palette([4, 0, 16], b""),
        palette([4, 0, 16], b"\x01"),
    ],
    ids=["missing", "two numbers", "no bits", "32 bits", "no data", "half a word"],
)
def test_palettes_that_are_none_are_refused(data_set: Dataset) -> None:
    with pytest.raises(CannotRender, match="the image cannot be rendered"):
        reds(data_set, [0, 1])


# Colour spaces

COLOURS = numpy.random.default_rng(7).integers(0, 256, (8, 12, 3), dtype=numpy.uint8)


def test_rgb_is_as_it_is_and_windows_do_not_touch_it() -> None:
    assert (shown(Dataset(), colour(COLOURS)) == COLOURS).all()
    windowed = Dataset()
    windowed.WindowCenter, windowed.WindowWidth = "1", "2"
    assert (shown(windowed, colour(COLOURS), window=Window(1, 2)) == COLOURS).all()


def test_ybr_full_is_converted_as_by_pydicom() -> None:
    found = shown(Dataset(), colour(COLOURS, "YBR_FULL"))
    assert (found == convert_color_space(COLOURS, "YBR_FULL", "RGB")).all()


def test_ybr_partial_has_its_black_at_16_and_its_white_at_235() -> None:
    values = [[[16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34], [41, 240, 110]]]
    found = shown(Dataset(), colour(values, "YBR_PARTIAL_422")).astype(int)
    expected = numpy.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    assert numpy.abs(found - expected).max() <= 1


@pytest.mark.parametrize(("bits", "values"), [(5, [0, 15, 31]), (12, [0, 2047, 4095]), (16, [0, 32767, 65535])])
def test_samples_of_other_than_eight_bits_are_scaled(bits: int, values: list[int]) -> None:
    frame = colour(numpy.repeat(values, 3).reshape(1, 3, 3), bits=bits)
    found = shown(Dataset(), frame)[0, :, 0].tolist()
    assert found == ([0, 123, 255] if bits == 5 else [0, 127, 255])


@pytest.mark.parametrize("photometric", ["HSV", "ARGB", "CMYK"])
def test_retired_colour_spaces_are_refused(photometric: str) -> None:
    with pytest.raises(CannotRender, match="colours"):
        shown(Dataset(), colour(COLOURS, photometric))


def test_four_samples_are_refused() -> None:
    with pytest.raises(CannotRender, match="colours"):
        shown(Dataset(), colour(numpy.zeros((2, 2, 4)), "CMYK"))
