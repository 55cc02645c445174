"""Where the frames of an instance lie, compared with what pydicom cuts out of the same files."""

import struct
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import get_expected_length, unpack_bits
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)

from shared.dicom.frames import FragmentJoiner, FrameSpan, FrameTable, build_frame_table, extract_bits, join_fragments
from shared.dicom.part10 import Part10Scanner
from shared.dicom.scanned import EncapsulatedPixels, NativePixels, ScannedFile
from tests.builders import drawing, encapsulated, instance, item

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
# badVR.dcm says it has "1A" frames, which its reader has to refuse before there is anything to cut. Deflated files have
# frames in what they inflate to; tests/dicom/test_deflated.py cuts those.
IMAGES = sorted(
    path
    for path in BUNDLED.rglob("*.dcm")
    if path.name not in ("badVR.dcm", "image_dfl.dcm") and path.read_bytes()[128:132] == b"DICM"
)
END = b"\xff\xd9"


def scan(raw: bytes) -> ScannedFile:
    scanner = Part10Scanner()
    scanner.feed(raw)
    return scanner.finish()


def table_of(raw: bytes, **changes: Any) -> FrameTable | None:
    """The table of a file, its elements read from the scanned header as the store service does."""
    scanned = scan(raw)
    ds = pydicom.dcmread(pydicom.filebase.DicomBytesIO(scanned.header))
    elements: dict[str, Any] = {
        "number_of_frames": ds.get("NumberOfFrames"),
        "rows": ds.get("Rows"),
        "columns": ds.get("Columns"),
        "samples_per_pixel": ds.get("SamplesPerPixel"),
        "bits_allocated": ds.get("BitsAllocated"),
        "photometric_interpretation": ds.get("PhotometricInterpretation"),
        "extended_offset_table": ds.get("ExtendedOffsetTable"),
        "extended_offset_table_lengths": ds.get("ExtendedOffsetTableLengths"),
    }
    return build_frame_table(scanned, **(elements | changes))


def frames_of(raw: bytes, **changes: Any) -> list[bytes]:
    """Every frame, cut by a table that was packed and unpacked again; none when there is no table."""
    table = table_of(raw, **changes)
    if table is None:
        return []
    packed = FrameTable.unpack(table.pack())
    assert packed == table
    frames = []
    for number in range(1, packed.count + 1):
        span = packed.locate(number)
        data = raw[span.offset : span.offset + span.length]
        frames.append(extract_bits(span, data) if span.bit_length else join_fragments(span, data))
    return frames


def test_cuts_native_frames() -> None:
    raw = instance(rows=4, columns=6, frames=3)
    assert frames_of(raw) == [bytes(range(24)), bytes(range(24, 48)), bytes(range(48, 72))]
    table = table_of(raw)
    assert table is not None
    assert len(table.pack()) == 22


def test_cuts_the_drawing_in_one() -> None:
    raw = drawing("red-triangle")
    (frame,) = frames_of(raw)
    assert len(frame) == 979 * 985 * 3
    assert frame[:3] == b"\xff\xff\xff"
    assert frame[(489 * 985 + 492) * 3 :][:3] == b"\xed\x1c\x24"


def test_has_no_frame_outside_the_table() -> None:
    for raw in (instance(frames=3), encapsulated([[b"ab"], [b"cd"], [b"ef"]])):
        table = table_of(raw)
        assert table is not None
        for number in (-1, 0, 4):
            with pytest.raises(IndexError):
                table.locate(number)


def test_counts_only_whole_native_frames() -> None:
    raw = instance(rows=4, columns=6, frames=3)
    assert len(frames_of(raw[:-1])) == 2
    assert len(frames_of(raw[:-24])) == 2
    assert table_of(raw[:-50]) is None
    assert len(frames_of(raw, number_of_frames=2_000_000_000)) == 3


@pytest.mark.parametrize("element", ["rows", "columns", "samples_per_pixel", "bits_allocated"])
@pytest.mark.parametrize("value", [None, 0, -1, 65_536])
def test_has_no_table_without_sensible_rows_and_such(element: str, value: int | None) -> None:
    assert table_of(instance(), **{element: value}) is None


def test_has_no_table_without_pixels() -> None:
    assert table_of(instance(PixelData=None)) is None


def test_shares_the_chrominance_of_two_pixels() -> None:
    raw = instance(rows=2, columns=4, PixelData=bytes(32), NumberOfFrames=2, SamplesPerPixel=3, PlanarConfiguration=0)
    assert [len(frame) for frame in frames_of(raw, photometric_interpretation="YBR_FULL_422")] == [16, 16]


@pytest.mark.parametrize(("keyword", "size"), [("FloatPixelData", 4), ("DoubleFloatPixelData", 8)])
def test_cuts_float_frames(keyword: str, size: int) -> None:
    data = bytes(range(2 * 6 * size))
    values: dict[str, Any] = {keyword: data}
    raw = instance(
        rows=2,
        columns=3,
        frames=2,
        PixelData=None,
        BitsAllocated=None,
        SamplesPerPixel=None,
        **values,
    )
    assert frames_of(raw) == [data[: 6 * size], data[6 * size :]]


def test_counts_the_offsets_of_a_deflated_file_in_the_inflated_data_set() -> None:
    plain, deflated = table_of(instance()), table_of(instance(transfer_syntax=DeflatedExplicitVRLittleEndian))
    assert plain is not None
    assert deflated is not None
    begin = instance().index(b"\x08\0\x05\0CS")
    assert deflated.locate(1).offset == plain.locate(1).offset - begin


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9), st.randoms(use_true_random=False))
def test_moves_frames_of_single_bits_to_a_byte(rows: int, columns: int, frames: int, random: Any) -> None:
    size = rows * columns
    data = random.randbytes((size * frames + 7) // 8 + 1)
    data = data[: len(data) // 2 * 2] or b"\0\0"
    raw = instance(rows=rows, columns=columns, frames=frames, BitsAllocated=1, PixelData=data)
    bits = unpack_bits(data, as_array=False)
    assert isinstance(bits, bytes)
    got = frames_of(raw)
    assert len(got) == min(frames, len(data) * 8 // size)
    for index, frame in enumerate(got):
        assert unpack_bits(frame, as_array=False)[:size] == bits[index * size : (index + 1) * size]
        assert not any(unpack_bits(frame, as_array=False)[size:])


def test_moves_bits_from_the_least_significant() -> None:
    span = FrameSpan(offset=0, length=2, bit_offset=3, bit_length=6)
    assert extract_bits(span, bytes([0b10101000, 0b1])) == bytes([0b110101])


def test_does_not_cut_the_swapped_words_of_big_endian() -> None:
    raw = instance(
        transfer_syntax=ExplicitVRBigEndian, rows=3, columns=3, frames=2, BitsAllocated=1, PixelData=bytes(4)
    )
    scanned = scan(raw)
    assert isinstance(scanned.pixels, NativePixels)
    swapped = replace(scanned, pixels=replace(scanned.pixels, vr="OW"))
    arguments: dict[str, Any] = {
        "rows": 3,
        "columns": 3,
        "samples_per_pixel": 1,
        "bits_allocated": 1,
        "photometric_interpretation": "MONOCHROME2",
    }
    assert build_frame_table(swapped, number_of_frames=2, **arguments) is None
    assert build_frame_table(swapped, number_of_frames=1, **arguments) is not None


# Encapsulated pixel data.

ONE, TWO, THREE = [b"aa", b"bbbb" + END], [b"cc" + END], [b"dddd", b"ee", b"ff" + END + b"\0\0"]
JOINED = [b"aabbbb" + END, b"cc" + END, b"ddddeeff" + END + b"\0\0"]


@pytest.mark.parametrize(
    ("bot", "eot"),
    [(True, False), (False, True), (False, False), (True, True)],
    ids=["basic", "extended", "none", "both"],
)
def test_joins_the_fragments_of_each_frame(bot: bool, eot: bool) -> None:
    assert frames_of(encapsulated([ONE, TWO, THREE], bot=bot, eot=eot)) == JOINED


def test_believes_the_offset_table_rather_than_the_markers() -> None:
    assert frames_of(encapsulated([[b"a" + END + b"b", b"c" + END], [b"ddd" + END, b"ee"]])) == [
        b"a" + END + b"bc" + END + b"\0",
        b"ddd" + END + b"\0ee",
    ]


def test_gives_a_single_frame_all_fragments() -> None:
    assert frames_of(encapsulated([[b"ab", b"cd" + END, b"ef"]], bot=False)) == [b"abcd" + END + b"ef"]


def test_gives_each_frame_a_fragment_when_there_are_as_many() -> None:
    raw = encapsulated([[b"ab"], [b"c"], [b"ef"]], bot=False, transfer_syntax=RLELossless)
    assert frames_of(raw) == [b"ab", b"c\0", b"ef"]


def test_has_no_table_when_the_frames_cannot_be_told_apart() -> None:
    assert table_of(encapsulated([[b"ab", b"cd"], [b"ef"]], bot=False)) is None
    assert table_of(encapsulated([ONE, TWO, THREE], bot=False, NumberOfFrames=2)) is None
    assert table_of(encapsulated([ONE, TWO, [b"no end"]], bot=False)) is None
    assert table_of(encapsulated([[b"ab"]], NumberOfFrames=2)) is None


def test_does_not_believe_an_offset_table_that_hits_no_item() -> None:
    fragments = item(b"abcd") + item(b"ef") + item(b"gh")
    for offsets in ((0, 11), (12, 22), (0, 1 << 31)):
        raw = encapsulated([[], []], PixelData=item(struct.pack("<2I", *offsets)) + fragments)
        assert table_of(raw) is None


def test_gives_a_video_as_one_frame() -> None:
    raw = encapsulated([[b"mpeg", b"more"]], transfer_syntax=MPEG2MPML, NumberOfFrames=50)
    assert frames_of(raw) == [b"mpegmore"]
    several = encapsulated([[b"mpeg"], [b"more"]], transfer_syntax="1.2.840.10008.1.2.4.102.1", NumberOfFrames=2)
    assert frames_of(several) == [b"mpegmore"]


@pytest.mark.parametrize("bot", [True, False])
def test_keeps_the_whole_frames_of_a_file_cut_short(bot: bool) -> None:
    raw = encapsulated([ONE, TWO, THREE], bot=bot)
    for cut in range(1, len(raw)):
        try:
            frames = frames_of(raw[:-cut])
        except Exception as error:
            assert type(error).__name__ in ("MalformedDicom", "InvalidDicomError"), error
            break
        assert frames == JOINED[: len(frames)]
        if cut <= 8:  # only the Sequence Delimitation Item is missing
            assert len(frames) == 3


def test_guesses_no_markers_in_other_encodings_cut_short() -> None:
    raw = encapsulated([[b"ab" + END], [b"cd"], [b"ef"]], bot=False, transfer_syntax=RLELossless)
    assert table_of(raw[:-9]) is None


def test_packs_a_hundred_thousand_fragments_small() -> None:
    lengths = array("I", (20_000 + index * 7919 % 4096 for index in range(100_000)))
    pixels = EncapsulatedPixels(0x7FE00010, "OB", 980, 0, 1000, array("I"), lengths, bytearray(100_000), complete=True)
    scanned = ScannedFile("1.2.840.10008.1.2.4.90", b"", (), pixels, False, 0, False)
    table = build_frame_table(
        scanned,
        number_of_frames=100_000,
        rows=None,
        columns=None,
        samples_per_pixel=None,
        bits_allocated=None,
        photometric_interpretation=None,
    )
    assert table is not None
    assert FrameTable.unpack(table.pack()) == table
    assert len(table.pack()) < 200_000
    assert table.locate(100_000) == FrameSpan(1000 + sum(lengths[:-1]) + 8 * 99_999, lengths[-1], (lengths[-1],))


def test_refuses_to_join_or_move_bytes_of_another_length() -> None:
    span = FrameSpan(0, 12, (2, 2))
    for function in (join_fragments, extract_bits):
        with pytest.raises(ValueError, match="12 bytes"):
            function(span, b"short")


@pytest.mark.parametrize("frames", [[ONE, TWO, THREE], [[b"ab"], [b"cd"]]])
def test_refuses_packed_bytes_it_did_not_make(frames: list[list[bytes]]) -> None:
    table = table_of(encapsulated(frames))
    assert table is not None
    packed = table.pack()
    for wrong in (b"", packed[:21], packed[:-8], b"\x02" + packed[1:], packed[:1] + b"\x09" + packed[2:], packed[:22]):
        with pytest.raises(ValueError, match="frame table"):
            FrameTable.unpack(wrong)


@given(st.binary(max_size=60))
def test_refuses_rubbish(data: bytes) -> None:
    try:
        FrameTable.unpack(b"\x01" + data)
    except ValueError:
        return
    assert data[0] == 0  # 22 bytes of a native table cannot be told from rubbish


# pydicom's own test files.


def pydicoms_frames(ds: Dataset) -> list[bytes]:
    count = int(ds.get("NumberOfFrames") or 1)
    if ds["PixelData"].is_undefined_length:
        return list(generate_frames(ds.PixelData, number_of_frames=count))
    length = get_expected_length(ds)
    assert length % count == 0, "frames that are not whole bytes have a test of their own"
    size = length // count
    return [ds.PixelData[at : at + size] for at in range(0, length, size)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.relative_to(BUNDLED).as_posix())
def test_cuts_the_same_frames_as_pydicom_from(path: Path) -> None:
    raw = path.read_bytes()
    ds = pydicom.dcmread(path)
    if "PixelData" not in ds or ds.get("Rows") is None or ds.get("BitsAllocated") is None:
        assert table_of(raw) is None
        return
    frames = frames_of(raw)
    if scan(raw).truncated:
        assert frames == [frame for frame in pydicoms_frames(ds) if len(frame) == get_expected_length(ds)]
        return
    assert frames == pydicoms_frames(ds)


def test_explicit_little_endian_is_the_default_of_the_builders() -> None:
    assert scan(instance()).transfer_syntax == ExplicitVRLittleEndian


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6), st.integers(1, 9))
def test_joins_fragments_piece_by_piece_as_it_does_at_once(fragments: list[bytes], piece: int) -> None:
    data = item(fragments[0])[8:] + b"".join(item(each) for each in fragments[1:])
    lengths = tuple(len(each) + len(each) % 2 for each in fragments)
    joiner = FragmentJoiner(lengths)
    joined = b"".join(joiner.feed(data[at : at + piece]) for at in range(0, len(data), piece))
    assert joined == join_fragments(FrameSpan(0, len(data), lengths), data)
