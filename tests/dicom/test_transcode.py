"""Whole files in other transfer syntaxes, read back by pydicom: the same pixels and the same other elements."""

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from shared.dicom.codecs import DECODABLE, ENCODABLE, encode_frame
from shared.dicom.explicit import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION, SEQUENCE_END
from shared.dicom.image import Frame, Image
from shared.dicom.syntaxes import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    HTJ2K_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    NATIVE,
    RLE_LOSSLESS,
)
from shared.dicom.transcode import can_transcode, needs_first, plan_file, why_not
from shared.errors import CannotTranscode
from tests import builders
from tests.dicom.transcoding import ENOUGH, opened, transcoded

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
MPEG2 = "1.2.840.10008.1.2.4.100"
UNCOMPRESSED = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
PIXEL_HEAD = b"\xe0\x7f\x10\0OB"
PRIVATE = 0x00091001  # has no VR in Implicit VR Little Endian
PIXELS = {0x7FE00010, 0x7FE00008, 0x7FE00009}


def read(file: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(file))


def elements(ds: Dataset, *without: int) -> dict[str, Any]:
    """The DICOM JSON of a data set without its pixels, the private element, and others."""
    tags = {f"{tag:08X}" for tag in {*PIXELS, PRIVATE, *without}}
    return {tag: value for tag, value in ds.to_json_dict(suppress_invalid_tags=True).items() if tag not in tags}


def zoo() -> Dataset:
    """Elements of every VR, sequences of both kinds of length, private ones, and ones behind the pixel data."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = builders.SECONDARY_CAPTURE, builders.INSTANCE
    ds.StudyInstanceUID, ds.SeriesInstanceUID = builders.STUDY, builders.SERIES
    ds.PatientName, ds.PatientID, ds.PatientAge = "Müller^Jörg", "X", "012Y"
    ds.StudyDate, ds.StudyTime, ds.AcquisitionDateTime = "20240229", "101500.5", "20240229101500"
    ds.PatientComments, ds.InstanceNumber, ds.SliceThickness = "line\r\nline", 7, "2.5"
    ds.FrameIncrementPointer = 0x00181063
    ds.PixelAspectRatio = [1, 1]
    ds.RecommendedDisplayFrameRateInFloat = 1.5
    ds.add_new(0x00480006, "UL", 7)
    ds.add_new(0x0040E010, "UR", "http://example.org/x")
    ds.add_new(0x00189073, "FD", 2.25)
    ds.add_new(0x00287FE0, "UR", "http://example.org/y")
    ds.add_new(0x00660016, "OF", struct.pack("<3f", 1, 2, 3))
    ds.add_new(0x00660022, "OD", struct.pack("<2d", 1, 2))
    ds.add_new(0x00660023, "OW", b"\1\2\3\4")
    ds.add_new(0x00660129, "OL", struct.pack("<2I", 5, 6))
    ds.add_new(0x00720083, "UV", 1 << 40)
    ds.add_new(0x00720082, "SV", -(1 << 40))
    ds.add_new(0x00080120, "UR", "http://example.org/z")
    ds.add_new(0x00420011, "OB", b"%PDF")
    ds.add_new(0x00090010, "LO", "TESTS")
    ds.add_new(PRIVATE, "OB", b"\1\2\3\4")
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "A", "Größe"
    inner.add_new(0x00281055, "LO", "w")
    outer = Dataset()
    outer.ConceptNameCodeSequence = [inner]
    outer.ReferencedFrameNumber = [1, 2, 3]
    ds.ContentSequence = Sequence([outer, Dataset(), outer])
    ds["ContentSequence"].is_undefined_length = True
    ds.AnatomicRegionSequence = [inner]
    ds.add_new(0x00880200, "SQ", [icon(8)])
    ds.add_new(0xFFFCFFFC, "OB", b"\0\0\0\0")
    return ds


def icon(side: int) -> Dataset:
    ds = Dataset()
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = side
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.add_new(0x7FE00010, "OW", bytes(range(side * side)))
    return ds


def with_pixels(
    ds: Dataset, array: NDArray[Any], *, bits: int, photometric: str = "MONOCHROME2", planar: int | None = None
) -> Dataset:
    """The data set with pixels: (frames, rows, columns) or (frames, rows, columns, samples)."""
    ds.Rows, ds.Columns = array.shape[1:3]
    ds.NumberOfFrames = len(array)
    ds.SamplesPerPixel = array.shape[3] if array.ndim == 4 else 1
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * array.dtype.itemsize, bits, bits - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    ds.SmallestImagePixelValue = int(array.min())
    if planar is not None:
        ds.PlanarConfiguration = planar
    value = (array.transpose(0, 3, 1, 2) if planar else array).tobytes()
    ds.PixelData = value + b"\0" * (len(value) % 2)
    return ds


def signed_stack() -> NDArray[Any]:
    return numpy.arange(3 * 5 * 7, dtype="<i2").reshape(3, 5, 7) * 13 - 600


def native_file(ds: Dataset, syntax: str) -> bytes:
    """The file of a data set; in big endian, OW of 16 bits is turned round, as pydicom does not."""
    if syntax == EXPLICIT_BIG:
        turn_words(ds)
    return builders.file_of(ds, syntax)


def turn_words(ds: Dataset) -> None:
    for found in ds:
        if found.VR == "SQ":
            for item in found.value:
                turn_words(item)
        elif found.VR in ("OW", "OF", "OL", "OD") or (found.tag == 0x7FE00010 and ds.BitsAllocated == 16):
            word = {"OF": 4, "OL": 4, "OD": 8}.get(found.VR, 2)
            found.value = numpy.frombuffer(found.value, f"u{word}").byteswap().tobytes()


# Whole files


@pytest.mark.parametrize("target", sorted(ENCODABLE))
@pytest.mark.parametrize("source", UNCOMPRESSED)
def test_pixels_and_every_other_element_stay_the_same(source: str, target: str) -> None:
    array = signed_stack()
    expected = read(builders.file_of(with_pixels(zoo(), array, bits=12)))
    made = read(transcoded(native_file(with_pixels(zoo(), array, bits=12), source), target))
    assert made.file_meta.TransferSyntaxUID == target
    assert numpy.array_equal(made.pixel_array, array)
    assert elements(made) == elements(expected)
    assert made[PRIVATE].value == b"\1\2\3\4"
    assert made.PatientName == "Müller^Jörg"


@pytest.mark.parametrize("second", sorted(ENCODABLE))
@pytest.mark.parametrize("first", sorted(ENCODABLE - {EXPLICIT_LITTLE}))
def test_compressed_files_become_uncompressed_or_otherwise_compressed(first: str, second: str) -> None:
    colours = (numpy.arange(2 * 6 * 5 * 3) * 7 % 256).astype(numpy.uint8).reshape(2, 6, 5, 3)
    file = builders.file_of(with_pixels(zoo(), colours, bits=8, photometric="RGB", planar=1))
    compressed = transcoded(file, first)
    made = read(transcoded(compressed, second))
    assert numpy.array_equal(made.pixel_array, colours)
    assert elements(made, 0x00280004, 0x00280006) == elements(read(file), 0x00280004, 0x00280006)
    transformed = second in (JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS)
    assert made.PhotometricInterpretation == ("YBR_RCT" if transformed else "RGB")


@pytest.mark.parametrize("planar", [0, 1])
def test_uncompressed_colours_keep_their_layout(planar: int) -> None:
    colours = (numpy.arange(6 * 5 * 3) * 7 % 256).astype(numpy.uint8).reshape(1, 6, 5, 3)
    file = builders.file_of(with_pixels(zoo(), colours, bits=8, photometric="RGB", planar=planar))
    made = transcoded(transcoded(file, RLE_LOSSLESS), EXPLICIT_LITTLE)
    assert read(made).PixelData == read(file).PixelData
    assert read(made).PlanarConfiguration == planar


@pytest.mark.parametrize(
    "name",
    """SC_rgb_jpeg_dcmtk.dcm examples_ybr_color.dcm MR_small_jpeg_ls_lossless.dcm examples_jpeg2k.dcm
    J2K_pixelrep_mismatch.dcm SC_rgb_rle_16bit_2frame.dcm MR_small_RLE.dcm SC_ybr_full_422_uncompressed.dcm
    image_dfl.dcm MR_small_bigendian.dcm MR_small_implicit.dcm examples_palette.dcm SC_rgb_small_odd.dcm""".split(),
)
@pytest.mark.parametrize("target", sorted(ENCODABLE))
def test_shipped_files_keep_their_pixels(name: str, target: str) -> None:
    file = (SHIPPED / name).read_bytes()
    before, after = read(file), read(transcoded(file, target))
    difference = numpy.abs(before.pixel_array.astype(numpy.int64) - after.pixel_array)
    assert difference.max() <= (before.file_meta.TransferSyntaxUID == JPEG_BASELINE)
    kept = {"00080016", "00080018", "0020000D", "0020000E", "00100010", "00280008", "00282110"}
    assert {tag: value for tag, value in elements(after).items() if tag in kept} == {
        tag: value for tag, value in elements(before).items() if tag in kept
    }


def test_lossy_colours_are_called_what_they_have_become() -> None:
    made = read(transcoded((SHIPPED / "examples_ybr_color.dcm").read_bytes(), EXPLICIT_LITTLE))
    assert made.PhotometricInterpretation == "RGB"
    assert made.PlanarConfiguration == 0
    assert made.LossyImageCompression == "01"
    assert len(made.PixelData) == made.Rows * made.Columns * 3 * made.NumberOfFrames
    assert made["PixelData"].VR == "OB"


# What the file says of itself


def test_file_meta_is_written_anew() -> None:
    file = builders.file_of(with_pixels(zoo(), signed_stack(), bits=12))
    made = transcoded(file, JPEG_2000_LOSSLESS)
    assert made[:132] == bytes(128) + b"DICM"
    meta = read(made).file_meta
    assert meta.TransferSyntaxUID == JPEG_2000_LOSSLESS
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION
    assert meta.MediaStorageSOPInstanceUID == builders.INSTANCE
    assert made[132 + 12 + meta.FileMetaInformationGroupLength :].startswith(b"\x08\x00\x05\x00CS")


def test_each_frame_is_one_fragment_of_even_length() -> None:
    made = read(transcoded(builders.file_of(with_pixels(zoo(), signed_stack(), bits=12)), JPEG_LS_LOSSLESS))
    assert made["PixelData"].is_undefined_length and made["PixelData"].VR == "OB"
    assert made.PixelData.startswith(builders.item(b""))
    frames = list(generate_frames(made.PixelData, number_of_frames=3))
    assert len(frames) == 3 and all(len(frame) % 2 == 0 for frame in frames)


@pytest.mark.parametrize("target", [EXPLICIT_LITTLE, JPEG_LS_LOSSLESS])
def test_offset_tables_do_not_outlive_their_frames(target: str) -> None:
    image = Image(4, 6, 1, 8, 8, 0, 0, "MONOCHROME2")
    coded = [encode_frame(Frame(bytes([n]) * 24, image), RLE_LOSSLESS, ENOUGH) for n in range(3)]
    file = builders.encapsulated([[frame] for frame in coded], bot=False, eot=True, transfer_syntax=RLE_LOSSLESS)
    made = read(transcoded(file, target))
    assert "ExtendedOffsetTable" in read(file)
    assert "ExtendedOffsetTable" not in made and "ExtendedOffsetTableLengths" not in made
    assert made.pixel_array[2].max() == made.pixel_array[2].min() == 2


@pytest.mark.parametrize("source", UNCOMPRESSED)
@pytest.mark.parametrize("target", sorted(ENCODABLE))
def test_without_pixel_data_only_the_encoding_changes(source: str, target: str) -> None:
    file = native_file(zoo(), source)
    made = read(transcoded(file, target))
    assert made.file_meta.TransferSyntaxUID == target
    assert elements(made) == elements(read(builders.file_of(zoo())))


def test_values_that_break_their_vr_are_kept_as_they_are() -> None:
    file = builders.file_of(zoo(), ImplicitVRLittleEndian)
    head = struct.pack("<HHI", 0x0018, 0x0050, 4)
    assert file.count(head + b"2.5 ") == 1
    made = transcoded(file.replace(head + b"2.5 ", head + b"2,5x"), EXPLICIT_LITTLE)
    assert made.count(struct.pack("<HH2sH", 0x0018, 0x0050, b"DS", 4) + b"2,5x") == 1


def test_a_sequence_of_unknown_vr_is_implicit_within() -> None:
    """PS3.5 §6.2.2: its items are Implicit VR Little Endian, and so are the sequences within these."""
    code = struct.pack("<HHI", 0x0008, 0x0100, 2) + b"A "
    inner = struct.pack("<HHI", 0x0008, 0x2218, len(code) + 8) + builders.item(code)
    unknown = struct.pack("<HH2sHI", 0x0040, 0xA730, b"UN", 0, 0xFFFFFFFF) + builders.item(inner) + SEQUENCE_END
    file = builders.instance()
    made = read(transcoded(file[: file.index(PIXEL_HEAD)] + unknown + file[file.index(PIXEL_HEAD) :], RLE_LOSSLESS))
    assert made.ContentSequence[0].AnatomicRegionSequence[0].CodeValue == "A"


def test_a_value_too_long_for_its_vr_is_of_unknown_vr() -> None:
    ds = zoo()
    file = builders.file_of(ds, ImplicitVRLittleEndian)
    at = file.index(struct.pack("<HHI", 0x0018, 0x0050, 4))
    long = b"1\\" * 40000
    made = transcoded(
        file[:at] + struct.pack("<HHI", 0x0018, 0x0050, len(long)) + long + file[at + 12 :], EXPLICIT_LITTLE
    )
    assert struct.pack("<HH2sHI", 0x0018, 0x0050, b"UN", 0, len(long)) + long in made


# Icons, floats, single bits


@pytest.mark.parametrize("target", [EXPLICIT_LITTLE, RLE_LOSSLESS])
@pytest.mark.parametrize("undefined", [False, True])
def test_compressed_icons_are_uncompressed(target: str, undefined: bool) -> None:
    side = 8
    image = Image(side, side, 1, 8, 8, 0, 0, "MONOCHROME2")
    small = encode_frame(Frame(bytes(range(side * side)), image), JPEG_LS_LOSSLESS, ENOUGH)
    ds = read(transcoded(builders.file_of(with_pixels(zoo(), signed_stack(), bits=12)), JPEG_LS_LOSSLESS))
    nested = ds[0x00880200].value[0]
    nested[0x7FE00010] = DataElement(
        0x7FE00010, "OB", builders.item(b"") + builders.item(small + b"\0" * (len(small) % 2))
    )
    nested[0x7FE00010].is_undefined_length = True
    ds[0x00880200].is_undefined_length = undefined
    made = read(transcoded(builders.file_of(ds, JPEG_LS_LOSSLESS), target))
    (kept,) = made[0x00880200].value
    assert kept.PixelData == bytes(range(side * side))
    assert numpy.array_equal(made.pixel_array, signed_stack())


@pytest.mark.parametrize("target", sorted(ENCODABLE))
@pytest.mark.parametrize("source", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_floats_are_only_uncompressed(source: str, target: str) -> None:
    ds = with_pixels(zoo(), signed_stack(), bits=12)
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.SmallestImagePixelValue
    ds.BitsAllocated = 32
    values = numpy.linspace(-1, 1, 3 * 5 * 7, dtype=numpy.float32)
    ds.add_new(0x7FE00008, "OF", values.tobytes())
    file = native_file(ds, source)
    if target == EXPLICIT_LITTLE:
        made = transcoded(file, target)
        assert read(made).FloatPixelData == values.tobytes()
        assert numpy.array_equal(opened(made).decoded(1).array().reshape(-1), values[:35])
    else:
        with pytest.raises(CannotTranscode, match="floating point"):
            transcoded(file, target)


def bit_file(frames: int) -> tuple[bytes, NDArray[Any]]:
    """A file of single bits whose frames do not end with a byte."""
    bits = numpy.random.default_rng(1).integers(0, 2, (frames, 5, 7)).astype(numpy.uint8)
    ds = with_pixels(zoo(), bits, bits=8)
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = 0
    value = numpy.packbits(bits.reshape(-1), bitorder="little").tobytes()
    ds.PixelData = value + b"\0" * (len(value) % 2)
    return builders.file_of(ds), bits


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_frames_of_single_bits_lie_bit_by_bit(frames: int) -> None:
    file, bits = bit_file(frames)
    compressed = transcoded(file, RLE_LOSSLESS)
    assert all(numpy.array_equal(opened(compressed).decoded(n + 1).array(), bits[n]) for n in range(frames))
    made = read(transcoded(compressed, EXPLICIT_LITTLE))
    assert made.PixelData == read(file).PixelData
    with pytest.raises(CannotTranscode, match="single bits"):
        transcoded(file, JPEG_2000_LOSSLESS)


def test_odd_values_of_big_endian_words_are_copied_whole() -> None:
    """Three bytes a pixel in words of two: the last word is filled up (PS3.5 §8.1.1)."""
    file = (SHIPPED / "SC_rgb_small_odd_big_endian.dcm").read_bytes()
    made = read(transcoded(file, EXPLICIT_LITTLE))
    assert numpy.array_equal(made.pixel_array, read(file).pixel_array)


# Refusals


def test_what_can_be_turned_into_what() -> None:
    for source in DECODABLE:
        assert all(can_transcode(source, target) for target in ENCODABLE)
    assert can_transcode(MPEG2, MPEG2)
    assert why_not(MPEG2, EXPLICIT_LITTLE) == "video is only available as stored"
    assert "no decoder" in (why_not("1.2.3", EXPLICIT_LITTLE) or "")
    assert "no encoder" in (why_not(EXPLICIT_LITTLE, JPEG_BASELINE) or "")


def test_only_uncompressed_values_are_copied() -> None:
    parts = opened(builders.instance())
    assert parts.element is not None
    for source in NATIVE:
        assert not needs_first(source, EXPLICIT_LITTLE, parts.element)
        assert needs_first(source, RLE_LOSSLESS, parts.element)
    assert needs_first(RLE_LOSSLESS, EXPLICIT_LITTLE, replace(parts.element, encapsulated=True))


def test_an_unknown_target_is_refused() -> None:
    parts = opened(builders.instance())
    with pytest.raises(CannotTranscode, match="no encoder"):
        plan_file(parts.rest, parts.source, JPEG_BASELINE, parts.element, 1, parts.decoded(1))


def test_an_instance_with_fewer_frames_than_it_declares_is_refused() -> None:
    parts = opened(builders.instance(frames=3))
    with pytest.raises(CannotTranscode, match="as many frames"):
        plan_file(parts.rest, parts.source, RLE_LOSSLESS, parts.element, 2, parts.decoded(1))


def test_a_frame_unlike_the_first_is_refused() -> None:
    parts = opened(builders.instance())
    plan = plan_file(parts.rest, parts.source, RLE_LOSSLESS, parts.element, 1, parts.decoded(1))
    other = parts.decoded(1)
    with pytest.raises(CannotTranscode, match="different kinds"):
        plan.encode(replace(other, image=replace(other.image, photometric_interpretation="RGB")), ENOUGH)


def test_an_overlay_in_unused_bits_is_not_lost() -> None:
    ds = with_pixels(zoo(), signed_stack(), bits=12)
    ds.add_new(0x60000100, "US", 16)
    ds.add_new(0x60000102, "US", 12)
    file = builders.file_of(ds)
    with pytest.raises(CannotTranscode, match="overlay"):
        transcoded(file, JPEG_2000_LOSSLESS)
    assert read(transcoded(transcoded(file, RLE_LOSSLESS), EXPLICIT_LITTLE)).PixelData == ds.PixelData


def test_more_than_four_gibibytes_are_refused() -> None:
    image = Image(65535, 65535, 1, 8, 8, 0, 0, "MONOCHROME2")
    parts = opened(builders.encapsulated([[b"\0\0"]] * 2, transfer_syntax=RLE_LOSSLESS))
    with pytest.raises(CannotTranscode, match="4 GiB"):
        plan_file(parts.rest, parts.source, EXPLICIT_LITTLE, parts.element, 2, Frame(b"", image))


def test_what_is_no_file_is_refused() -> None:
    with pytest.raises(CannotTranscode):
        plan_file(bytes(200), EXPLICIT_LITTLE, RLE_LOSSLESS, None, 1, None)
