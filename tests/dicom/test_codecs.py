"""Frames decoded and encoded: compared with pydicom and its own decoders, with what went in, and with broken ones."""

import random
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import JPEGLSLossless

from shared.dicom.codecs import DECODABLE, ENCODABLE, decode_frame, encode_frame, encoded_image
from shared.dicom.codestreams import MAX_MARKERS, MAX_SCANS, MAX_TILES, j2k_codestream
from shared.dicom.image import Frame, Image, image_of
from shared.dicom.syntaxes import (
    DEFLATED_FRAMES,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    HTJ2K_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from shared.errors import CannotTranscode
from tests import builders
from tests.dicom.transcoding import ENOUGH, opened

JPEG_BASELINE, JPEG_EXTENDED, JPEG_PROGRESSIVE = (f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 55))
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
COMPRESSED = sorted(ENCODABLE - {EXPLICIT_LITTLE})

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
#: Files that come with pydicom, and that it can decode without complaint where the tests run.
SAMPLES = """
    rtdose.dcm SC_rgb_jpeg_dcmd.dcm MR_small_implicit.dcm examples_overlay.dcm examples_rgb_color.dcm
    examples_palette.dcm SC_rgb_small_odd.dcm liver_1frame.dcm SC_ybr_full_422_uncompressed.dcm CT_small.dcm
    MR_small.dcm image_dfl.dcm liver_expb_1frame.dcm ExplVR_BigEnd.dcm rtdose_expb.dcm MR_small_bigendian.dcm
    SC_rgb_dcmtk_+eb+cy+n1.dcm SC_rgb_dcmtk_+eb+cy+s4.dcm SC_rgb_jpeg_dcmtk.dcm SC_rgb_jpeg_app14_dcmd.dcm
    SC_rgb_small_odd_jpeg.dcm SC_rgb_dcmtk_+eb+cr.dcm examples_ybr_color.dcm SC_rgb_jpeg_lossy_gdcm.dcm
    SC_rgb_dcmtk_+eb+cy+np.dcm SC_rgb_dcmtk_+eb+cy+s2.dcm SC_rgb_dcmtk_+eb+cy+n2.dcm SC_jpeg_no_color_transform.dcm
    SC_jpeg_no_color_transform_2.dcm MR_small_jpeg_ls_lossless.dcm JPEGLSNearLossless_08.dcm
    JPEGLSNearLossless_16.dcm SC_rgb_jls_lossy_sample.dcm SC_rgb_jls_lossy_line.dcm GDCMJ2K_TextGBR.dcm
    examples_jpeg2k.dcm J2K_pixelrep_mismatch.dcm MR_small_jp2klossless.dcm JPEG2000.dcm SC_rgb_gdcm_KY.dcm
    693_J2KI.dcm SC_rgb_rle_32bit.dcm rtdose_rle.dcm SC_rgb_rle_2frame.dcm SC_rgb_rle_16bit_2frame.dcm
    SC_rgb_rle.dcm MR_small_RLE.dcm
""".split()


def picture(rows: int, columns: int, samples: int, bits: int, signed: bool) -> NDArray[Any]:
    """Slopes with noise that reach the least and the greatest value."""
    noise = numpy.random.default_rng(rows * columns + bits).integers(0, 5, (rows, columns, samples))
    slopes = numpy.add.outer(numpy.arange(rows) * 7, numpy.arange(columns) * 5)[..., None] + noise
    values = (slopes * (numpy.arange(samples) + 1)) % (1 << bits)
    values.flat[0], values.flat[-1] = 0, (1 << bits) - 1
    cell = 8 if bits <= 8 else 16 if bits <= 16 else 32
    if signed:
        values = values - (1 << bits - 1)
    return values.astype(f"{'i' if signed else 'u'}{cell // 8}")


def frame_of(array: NDArray[Any], bits: int, photometric: str | None = None, planar: int = 0) -> Frame:
    """A frame of (rows, columns, samples)."""
    rows, columns, samples = array.shape
    image = Image(
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        bits_allocated=8 * array.dtype.itemsize,
        bits_stored=bits,
        pixel_representation=int(array.dtype.kind == "i"),
        planar_configuration=planar,
        photometric_interpretation=photometric or ("RGB" if samples == 3 else "MONOCHROME2"),
    )
    return Frame((array.transpose(2, 0, 1) if planar else array).tobytes(), image)


def as_rgb(frame: Frame) -> NDArray[Any]:
    """The pixels of a frame in the colours pydicom gives them."""
    array = frame.array()
    if frame.image.photometric_interpretation in ("YBR_FULL", "YBR_FULL_422"):
        return convert_color_space(numpy.ascontiguousarray(array), "YBR_FULL", "RGB")
    return array


# Decoding, as pydicom does it


@pytest.mark.parametrize("name", SAMPLES)
def test_every_frame_is_what_pydicom_makes_of_it(name: str) -> None:
    file = (SHIPPED / name).read_bytes()
    parts = opened(file)
    ds = pydicom.dcmread(BytesIO(file))
    expected = ds.pixel_array.reshape(parts.table.count, *ds.pixel_array.shape[-3 if ds.SamplesPerPixel > 1 else -2 :])
    for number in range(1, parts.table.count + 1):
        made = as_rgb(parts.decoded(number))
        assert made.shape == expected[number - 1].shape
        difference = numpy.abs(made.astype(numpy.int64) - expected[number - 1])
        # Lossy JPEG: libjpeg-turbo's own sums for YCbCr round a few samples in ten thousand the other way.
        jpeg = parts.source == JPEG_BASELINE and ds.SamplesPerPixel == 3
        assert difference.max() <= jpeg and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("target", COMPRESSED)
@pytest.mark.parametrize(("samples", "bits", "signed"), [(1, 8, False), (1, 12, True), (1, 16, False), (3, 8, False)])
def test_pydicom_decodes_what_is_encoded(target: str, samples: int, bits: int, signed: bool) -> None:
    frame = frame_of(picture(23, 31, samples, bits, signed), bits)
    image = encoded_image(frame.image, target)
    file = builders.encapsulated(
        [[encode_frame(frame, target, ENOUGH)]],
        transfer_syntax=target,
        rows=23,
        columns=31,
        SamplesPerPixel=samples,
        PhotometricInterpretation=image.photometric_interpretation,
        BitsAllocated=image.bits_allocated,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(signed),
        PlanarConfiguration=image.planar_configuration,
    )
    assert numpy.array_equal(pydicom.dcmread(BytesIO(file)).pixel_array, frame.array())


# Encoding without loss

SHAPES = [(1, 1), (1, 9), (8, 1), (7, 5), (64, 65)]
KINDS = [(1, 8, False), (1, 8, True), (1, 5, False), (1, 12, False), (1, 12, True), (1, 16, False), (1, 16, True)]
COLOURS = [(3, 8, False), (3, 16, False)]


@pytest.mark.parametrize("target", sorted(ENCODABLE))
@pytest.mark.parametrize(("samples", "bits", "signed"), KINDS + COLOURS)
def test_what_is_encoded_comes_back(target: str, samples: int, bits: int, signed: bool) -> None:
    for (rows, columns), planar in product(SHAPES, (0, 1) if samples > 1 else (0,)):
        frame = frame_of(picture(rows, columns, samples, bits, signed), bits, planar=planar)
        back = decode_frame(encode_frame(frame, target, ENOUGH), target, encoded_image(frame.image, target), ENOUGH)
        assert numpy.array_equal(back.array(), frame.array())
        assert back.image.photometric_interpretation == frame.image.photometric_interpretation


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("target", COMPRESSED)
def test_every_depth_comes_back_exactly_or_is_refused(target: str, samples: int, signed: bool) -> None:
    """With noise, whose colours differ as much as they can."""
    noise = numpy.random.default_rng(samples)
    refused = []
    for bits in range(1, 25):
        cell = 8 if bits <= 8 else 16 if bits <= 16 else 32
        for _ in range(4):
            values = noise.integers(0, 1 << bits, (17, 23, samples)) - (1 << bits - 1 if signed else 0)
            frame = frame_of(values.astype(f"{'i' if signed else 'u'}{cell // 8}"), bits)
            try:
                coded = encode_frame(frame, target, ENOUGH)
            except CannotTranscode:
                refused.append(bits)
                break
            back = decode_frame(coded, target, encoded_image(frame.image, target), ENOUGH)
            assert numpy.array_equal(back.array(), frame.array()), bits
    most = {JPEG_2000_LOSSLESS: (24, 23), JPEG_LS_LOSSLESS: (16, 16)}.get(target, (24, 24))[samples > 1]
    assert refused == list(range(most + 1, 25))


@pytest.mark.parametrize("target", COMPRESSED)
def test_full_range_colours_are_compressed_as_they_are(target: str) -> None:
    frame = frame_of(picture(16, 16, 3, 8, signed=False), 8, "YBR_FULL")
    image = encoded_image(frame.image, target)
    assert image.photometric_interpretation == "YBR_FULL"
    assert decode_frame(encode_frame(frame, target, ENOUGH), target, image, ENOUGH) == frame


@pytest.mark.parametrize("target", COMPRESSED)
def test_shared_chrominance_is_repeated_before_it_is_compressed(target: str) -> None:
    image = Image(2, 4, 3, 8, 8, 0, 0, "YBR_FULL_422")
    frame = Frame(bytes(range(16)), image)
    back = decode_frame(encode_frame(frame, target, ENOUGH), target, encoded_image(image, target), ENOUGH)
    assert back.image.photometric_interpretation == "YBR_FULL"
    assert back.array()[0].tolist() == [[0, 2, 3], [1, 2, 3], [4, 6, 7], [5, 6, 7]]


@pytest.mark.parametrize("target", [JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, JPEG_LS_LOSSLESS])
def test_what_lies_above_bits_stored_is_no_part_of_the_pixels(target: str) -> None:
    frame = frame_of(picture(9, 9, 1, 12, signed=False) | 0xA000, 12)
    back = decode_frame(encode_frame(frame, target, ENOUGH), target, frame.image, ENOUGH)
    assert numpy.array_equal(back.samples(), frame.samples() & 0xFFF)


def test_rle_keeps_every_bit_and_rows_apart() -> None:
    frame = frame_of(picture(9, 130, 1, 12, signed=False) | 0xA000, 12)
    coded = encode_frame(frame, RLE_LOSSLESS, ENOUGH)
    assert decode_frame(coded, RLE_LOSSLESS, frame.image, ENOUGH) == frame
    level = encode_frame(frame_of(numpy.zeros((2, 4, 1), numpy.uint8), 8), RLE_LOSSLESS, ENOUGH)
    assert level == struct.pack("<16I", 1, 64, *[0] * 14) + b"\xfd\0\xfd\0"


def test_single_bits_are_one_segment_of_their_bytes() -> None:
    image = Image(3, 5, 1, 1, 1, 0, 0, "MONOCHROME2")
    frame = Frame(b"\xb5\x52", image)
    coded = encode_frame(frame, RLE_LOSSLESS, ENOUGH)
    assert coded[64:67] == b"\1\xb5\x52"
    assert decode_frame(coded, RLE_LOSSLESS, image, ENOUGH) == frame
    assert frame.array().tolist() == [[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [0, 0, 1, 0, 1]]


@pytest.mark.parametrize(
    ("image", "target"),
    [
        (Image(2, 2, 1, 1, 1, 0, 0, "MONOCHROME2"), JPEG_2000_LOSSLESS),
        (Image(2, 2, 1, 32, 32, 0, 0, "MONOCHROME2"), JPEG_2000_LOSSLESS),
        (Image(2, 2, 1, 32, 32, 0, 0, "MONOCHROME2"), HTJ2K_LOSSLESS),
        (Image(2, 2, 1, 32, 17, 0, 0, "MONOCHROME2"), JPEG_LS_LOSSLESS),
        (Image(2, 2, 3, 64, 64, 0, 0, "RGB"), RLE_LOSSLESS),
        (Image(2, 2, 1, 32, 32, 0, 0, "MONOCHROME2", floating=True), RLE_LOSSLESS),
        (Image(2, 2, 4, 8, 8, 0, 0, "CMYK"), JPEG_LS_LOSSLESS),
        (Image(2, 2, 1, 8, 8, 0, 0, "MONOCHROME2"), JPEG_BASELINE),
    ],
)
def test_pixels_that_a_codec_cannot_hold_are_refused(image: Image, target: str) -> None:
    with pytest.raises(CannotTranscode):
        encode_frame(Frame(bytes(image.frame_bytes), image), target, ENOUGH)


# JPEG


def jpeg(array: NDArray[Any], **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(array, **options))


@pytest.mark.parametrize(("samples", "bits", "signed"), [(1, 8, False), (1, 12, True), (1, 16, False), (3, 8, False)])
def test_lossless_jpeg_comes_back(samples: int, bits: int, signed: bool) -> None:
    array = picture(31, 17, samples, bits, signed)
    frame = frame_of(array, bits)
    patterns = array.view(f"u{array.dtype.itemsize}") & ((1 << bits) - 1)
    coded = jpeg(patterns.squeeze(), lossless=True, bitspersample=bits)
    assert decode_frame(coded, JPEG_LOSSLESS, frame.image, ENOUGH) == frame


def test_lossless_jpeg_is_what_another_decoder_makes_of_it() -> None:
    parts = opened((SHIPPED / "SC_rgb_jpeg_gdcm.dcm").read_bytes())
    assert numpy.array_equal(parts.decoded(1).array(), imagecodecs.jpegsof3_decode(parts.stored(1)))


def test_jpeg_of_12_bits_is_near_what_went_in() -> None:
    slope = numpy.add.outer(numpy.arange(48) * 40, numpy.arange(64) * 30).astype(numpy.uint16)
    image = replace(frame_of(slope[..., None], 12).image)
    made = decode_frame(jpeg(slope, level=100, bitspersample=12), JPEG_EXTENDED, image, ENOUGH)
    assert numpy.abs(made.array().astype(int) - slope).max() <= 4


def test_shipped_jpeg_of_12_bits_is_decoded() -> None:
    made = opened((SHIPPED / "JPEG-lossy.dcm").read_bytes()).decoded(1)
    assert made.array().shape == (1024, 256) and 255 < made.array().max() < 4096


def test_progressive_jpeg_is_what_pillow_makes_of_it() -> None:
    coded = BytesIO()
    Pillow.fromarray(picture(40, 40, 1, 8, signed=False)[..., 0]).save(coded, "JPEG", progressive=True)
    image = Image(40, 40, 1, 8, 8, 0, 0, "MONOCHROME2")
    made = decode_frame(coded.getvalue(), JPEG_PROGRESSIVE, image, ENOUGH)
    assert numpy.array_equal(made.array(), numpy.asarray(Pillow.open(coded)))


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
@pytest.mark.parametrize("planar", [0, 1])
def test_lossy_jpeg_comes_out_as_rgb_whatever_it_was_said_to_be(photometric: str, planar: int) -> None:
    coded = BytesIO()  # with a JFIF marker, so that its samples are YCbCr
    Pillow.fromarray(picture(32, 32, 3, 8, signed=False) // 64 * 64).save(coded, "JPEG", quality=90, subsampling=1)
    image = Image(32, 32, 3, 8, 8, 0, planar, photometric)
    made = decode_frame(coded.getvalue(), JPEG_BASELINE, image, ENOUGH)
    assert made.image == replace(image, photometric_interpretation="RGB")
    assert numpy.array_equal(made.array(), numpy.asarray(Pillow.open(coded)))


@pytest.mark.parametrize(("photometric", "converted"), [("YBR_FULL", True), ("RGB", False)])
def test_the_data_set_says_what_jpeg_without_markers_holds(photometric: str, converted: bool) -> None:
    array = picture(16, 16, 3, 8, signed=False) // 4 + 96
    coded = BytesIO()
    Pillow.fromarray(array, "YCbCr").save(coded, "JPEG", quality=100, subsampling=0)
    data = coded.getvalue()
    (size,) = struct.unpack_from(">H", data, 4)
    data = data[:2] + data[4 + size :]  # without the JFIF marker
    made = decode_frame(data, JPEG_BASELINE, Image(16, 16, 3, 8, 8, 0, 0, photometric), ENOUGH).array()
    near = convert_color_space(array, "YBR_FULL", "RGB") if converted else array
    assert numpy.abs(made.astype(int) - near).max() <= 12


# Native frames


@pytest.mark.parametrize(
    ("vr", "bits", "stored", "pixels"),
    [
        ("OW", 16, b"\1\2\3\4", b"\2\1\4\3"),
        ("OW", 8, b"\1\2\3\4", b"\2\1\4\3"),
        ("OB", 8, b"\1\2\3\4", b"\1\2\3\4"),
        ("OW", 32, b"\1\2\3\4\5\6\7\x08", b"\4\3\2\1\x08\7\6\5"),
        ("OL", 32, b"\1\2\3\4\5\6\7\x08", b"\4\3\2\1\x08\7\6\5"),
        ("OW", 1, b"\1\2", b"\2\1"),
    ],
)
def test_big_endian_words_are_turned_round(vr: str, bits: int, stored: bytes, pixels: bytes) -> None:
    image = Image(len(pixels) * 8 // bits, 1, 1, bits, bits, 0, 0, "MONOCHROME2")
    assert decode_frame(stored, EXPLICIT_BIG, image, ENOUGH, vr=vr).pixels == pixels


def test_floats_are_floats() -> None:
    values = numpy.array([[0.5, -1e30]], ">f4")
    image = Image(1, 2, 1, 32, 32, 0, 0, "MONOCHROME2", floating=True)
    made = decode_frame(values.tobytes(), EXPLICIT_BIG, image, ENOUGH, vr="OF")
    assert made.array().dtype == numpy.float32 and numpy.array_equal(made.array(), values)


def test_deflated_frames_are_inflated() -> None:
    deflater = zlib.compressobj(wbits=-15)
    coded = deflater.compress(bytes(range(6))) + deflater.flush()
    image = Image(2, 3, 1, 8, 8, 0, 0, "MONOCHROME2")
    assert decode_frame(coded + b"\0", DEFLATED_FRAMES, image, ENOUGH).pixels == bytes(range(6))
    with pytest.raises(CannotTranscode):
        decode_frame(coded, DEFLATED_FRAMES, replace(image, rows=3), ENOUGH)


def test_negative_values_are_extended_and_arrays_read_only() -> None:
    frame = Frame(struct.pack("<2H", 0x0FFF, 0xF001), Image(1, 2, 1, 16, 12, 1, 0, "MONOCHROME2"))
    assert frame.array().tolist() == [[-1, 1]]
    assert frame.samples().tolist() == [[0x0FFF, 0xF001 - 0x10000]]
    with pytest.raises(ValueError):
        frame.array()[0, 0] = 0


# What is refused, and when

MONO = Image(24, 24, 1, 16, 12, 0, 0, "MONOCHROME2")


def coded_examples() -> dict[str, tuple[bytes, Image]]:
    """A frame of each family, and what the data set says of it."""
    frame = frame_of(picture(24, 24, 1, 12, signed=False), 12)
    byte = frame_of(picture(24, 24, 1, 8, signed=False), 8)
    examples = {target: (encode_frame(frame, target, ENOUGH), frame.image) for target in COMPRESSED}
    examples[JPEG_BASELINE] = jpeg(byte.array(), level=80), byte.image
    examples[JPEG_LOSSLESS] = jpeg(frame.array(), lossless=True, bitspersample=12), frame.image
    return examples


EXAMPLES = coded_examples()


@pytest.mark.parametrize("syntax", EXAMPLES)
def test_a_frame_that_is_cut_short_is_refused(syntax: str) -> None:
    coded, image = EXAMPLES[syntax]
    decode_frame(coded, syntax, image, ENOUGH)
    for length in range(0, len(coded) - 4, 7):
        with pytest.raises(CannotTranscode):
            decode_frame(coded[:length], syntax, image, ENOUGH)


@pytest.mark.parametrize("syntax", EXAMPLES)
@pytest.mark.parametrize(
    "lie", [{"rows": 23}, {"columns": 25}, {"rows": 65535, "columns": 65535}, {"bits_allocated": 64}]
)
def test_a_codestream_of_another_image_is_refused(syntax: str, lie: dict[str, Any]) -> None:
    coded, image = EXAMPLES[syntax]
    if lie == {"bits_allocated": 64} and syntax != RLE_LOSSLESS:
        lie = {"samples_per_pixel": 3}
    with pytest.raises(CannotTranscode):
        decode_frame(coded, syntax, replace(image, **lie), 1 << 40)


@pytest.mark.parametrize("syntax", sorted(DECODABLE))
def test_what_is_too_large_is_refused_before_it_is_looked_at(syntax: str) -> None:
    with pytest.raises(CannotTranscode, match="larger than 1000 bytes"):
        decode_frame(b"not looked at", syntax, replace(MONO, rows=65535, columns=65535), 1000)


@pytest.mark.parametrize("syntax", [*EXAMPLES, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_rubbish_is_refused(syntax: str) -> None:
    for size in (0, 1, 63, 64, 900):
        with pytest.raises(CannotTranscode):
            decode_frame(random.Random(size).randbytes(size), syntax, MONO, ENOUGH)


@pytest.mark.parametrize("syntax", EXAMPLES)
def test_a_frame_with_wrong_bytes_is_decoded_or_refused(syntax: str) -> None:
    coded, image = EXAMPLES[syntax]
    for seed in range(150):
        wrong = bytearray(coded)
        choice = random.Random(seed)
        for _ in range(choice.choice([1, 3, 20])):
            wrong[choice.randrange(min(len(wrong), choice.choice([80, len(wrong)])))] = choice.randrange(256)
        try:
            made = decode_frame(bytes(wrong), syntax, image, ENOUGH)
        except CannotTranscode:
            continue
        assert len(made.pixels) == image.frame_bytes


def j2k_of(side: int, *, tile: int = 0, precinct: int = 15, layers: int = 1) -> bytes:
    """A JPEG 2000 codestream of a hundred bytes that says it is an image of that side."""
    small = numpy.zeros((64, 64), numpy.uint8)
    coded = bytearray(imagecodecs.jpeg2k_encode(small, level=0, codecformat="J2K", reversible=True))
    struct.pack_into(">6I", coded, 8, side, side, 0, 0, tile or side, tile or side)
    at = coded.index(b"\xff\x52")
    length, levels = struct.unpack_from(">H", coded, at + 2)[0], coded[at + 9]
    struct.pack_into(">H", coded, at + 6, layers)
    coded[at + 4] |= 1
    coded[at + 2 : at + 4] = struct.pack(">H", length + levels + 1)
    coded[at + 2 + length : at + 2 + length] = bytes([precinct * 17]) * (levels + 1)
    return bytes(coded)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tile": 8}, f"more than {MAX_TILES} tiles"),
        ({"precinct": 2}, "too many precincts"),
        ({"precinct": 7, "layers": 65535}, "too many packets"),
        ({"tile": 64, "layers": 65535}, "too many packets"),
    ],
)
def test_work_out_of_proportion_is_refused(options: dict[str, int], reason: str) -> None:
    image = Image(2048, 2048, 1, 8, 8, 0, 0, "MONOCHROME2")
    with pytest.raises(CannotTranscode, match=reason):
        decode_frame(j2k_of(2048, **options), JPEG_2000_LOSSLESS, image, ENOUGH)
    assert decode_frame(j2k_of(64, precinct=7), JPEG_2000_LOSSLESS, replace(image, rows=64, columns=64), ENOUGH)


def test_jpeg_of_too_many_scans_is_refused() -> None:
    coded, image = EXAMPLES[JPEG_BASELINE]
    scan = coded.index(b"\xff\xda")
    with pytest.raises(CannotTranscode, match="scans"):
        decode_frame(coded[:-2] + coded[scan : scan + 10] * MAX_SCANS + b"\xff\xd9", JPEG_BASELINE, image, ENOUGH)


def test_a_codestream_in_a_jp2_file_is_found() -> None:
    array = picture(20, 20, 1, 8, signed=False)
    coded = bytes(imagecodecs.jpeg2k_encode(array[..., 0], level=0, codecformat="JP2", reversible=True))
    assert coded.startswith(b"\0\0\0\x0cjP")
    frame = frame_of(array, 8)
    assert decode_frame(coded, JPEG_2000_LOSSLESS, frame.image, ENOUGH) == frame


def test_a_sign_that_the_codestream_does_not_know_is_the_data_sets() -> None:
    array = picture(20, 20, 1, 12, signed=True)
    patterns = array.view(numpy.uint16) & 0xFFF
    coded = bytes(
        imagecodecs.jpeg2k_encode(patterns[..., 0], level=0, codecformat="J2K", reversible=True, bitspersample=12)
    )
    frame = frame_of(array, 12)
    assert decode_frame(coded, JPEG_2000_LOSSLESS, frame.image, ENOUGH) == frame


def test_unknown_transfer_syntaxes_are_refused() -> None:
    with pytest.raises(CannotTranscode, match="no decoder"):
        decode_frame(b"", "1.2.840.10008.1.2.4.100", MONO, ENOUGH)


@pytest.mark.parametrize(
    "change",
    [
        {"00280010": None},
        {"00280010": 0},
        {"00280100": 12},
        {"00280101": 17},
        {"00280002": 2},
        {"00280103": 2},
        {"00280004": "YBR_FULL_422"},
    ],
)
def test_attributes_that_describe_no_image_are_refused(change: dict[str, Any]) -> None:
    values = {"00280010": 4, "00280011": 4, "00280100": 16, "00280101": 12, "00280103": 0, "00280004": "MONOCHROME2"}
    values |= {"00280002": 1}
    metadata = {tag: {"vr": "US", "Value": [value]} for tag, value in values.items()}
    assert image_of(metadata).frame_bytes == 32
    metadata |= {tag: {"vr": "US", "Value": [value] if value is not None else []} for tag, value in change.items()}
    with pytest.raises(CannotTranscode):
        image_of(metadata)


def test_codecs_are_not_imported_before_they_are_needed() -> None:
    code = "import sys, shared.dicom.transcode; sys.exit('imagecodecs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pydicom_decodes_with_other_libraries() -> None:
    """What these tests compare with is not what they test."""
    for syntax in (JPEGLSLossless, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, JPEG_BASELINE):
        assert get_decoder(syntax).available_plugins
    assert "imagecodecs" not in str(get_decoder(JPEGLSLossless).available_plugins)


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEG_BASELINE, b"\xff\xd8" + b"\xff\xe1\0\2" * (MAX_MARKERS + 1) + b"\xff\xd9"),
        (JPEG_BASELINE, b"\xff\xd8" + b"\xff\xff" * (MAX_MARKERS + 1) + b"\xff\xd9"),
        (JPEG_2000_LOSSLESS, j2k_of(64)[:-2] + b"\xff\x90\0\x0a\0\0\0\0\0\x0e\0\1\xff\x93" * MAX_MARKERS),
    ],
)
def test_what_has_markers_without_end_is_refused(syntax: str, frame: bytes) -> None:
    image = replace(MONO, rows=64, columns=64, bits_allocated=8, bits_stored=8)
    with pytest.raises(CannotTranscode, match=f"more than {MAX_MARKERS} markers"):
        decode_frame(frame, syntax, image, ENOUGH)


def test_what_has_boxes_without_end_is_refused() -> None:
    with pytest.raises(CannotTranscode, match="no readable header"):
        j2k_codestream(b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08free" * (MAX_MARKERS + 9))
