"""The streaming scan of a PS3.10 file, fed whole, byte by byte and in odd pieces."""

import contextlib
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from shared.dicom.part10 import Part10Scanner
from shared.dicom.scanned import BulkValue, EncapsulatedPixels, NativePixels, ScannedFile
from shared.errors import MalformedDicom
from tests.builders import encapsulated, file_of, instance, item

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
BUNDLED_FILES = sorted(path for path in BUNDLED.rglob("*") if path.suffix == ".dcm" or path.name.startswith("DICOMDIR"))
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
LYING = ("DICOMDIR-nooffset",)  # its last item is longer than its sequence, and than the file
END_ITEM = bytes.fromhex("feff0de0 00000000")
END_SEQUENCE = bytes.fromhex("feffdde0 00000000")
ANY_LENGTH = b"\xff\xff\xff\xff"


def scan(raw: bytes, step: int = 0, **limits: int) -> ScannedFile:
    scanner = Part10Scanner(**limits)
    step = step or max(1, len(raw))
    for at in range(0, len(raw), step):
        scanner.feed(raw[at : at + step])
    return scanner.finish()


def scan_every_way(raw: bytes, **limits: int) -> ScannedFile:
    whole = scan(raw, **limits)
    for step in (1, 3, 257):
        assert scan(raw, step, **limits) == whole
    return whole


def read(header: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(BytesIO(header))


def file_meta(uid: str = ExplicitVRLittleEndian) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(value)) + value


def explicit(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    size = len(value) if length is None else length
    long = vr in ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]
    return head + (struct.pack("<HI", 0, size) if long else struct.pack("<H", size)) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, size) + value


PATIENT = explicit(0x00100020, "LO", b"P1")


# Literal bytes: the data set after a file meta of Explicit VR Little Endian, and the data set in the header.

LITERAL = [
    pytest.param(
        "1000 2000 4c4f 0200 5031",  # (0010,0020) LO 2 "P1"
        "1000 2000 4c4f 0200 5031",
        id="a short value is copied",
    ),
    pytest.param(
        "1100 0110 4f42 0000 06000000 010203040506  1000 2000 4c4f 0200 5031",  # (0011,1001) OB 6
        "1100 0110 4f42 0000 00000000               1000 2000 4c4f 0200 5031",
        id="a bulk value is left empty",
    ),
    pytest.param(
        "1100 0110 5554 0000 06000000 414243444546",  # (0011,1001) UT 6
        "1100 0110 5554 0000 06000000 414243444546",
        id="text is no bulk value",
    ),
    pytest.param(
        "0800 1511 5351 0000 12000000  feff 00e0 0a000000  1000 2000 4c4f 0200 5031",  # (0008,1115) SQ, one item
        "0800 1511 5351 0000 ffffffff  feff 00e0 ffffffff  1000 2000 4c4f 0200 5031"
        "feff 0de0 00000000  feff dde0 00000000",
        id="a sequence is written with delimiters",
    ),
    pytest.param(
        "0800 1511 5351 0000 1a000000  feff 00e0 12000000  1100 0110 4f42 0000 06000000 010203040506",
        "0800 1511 5351 0000 ffffffff  feff 00e0 ffffffff  1100 0110 4f42 0000 00000000"
        "feff 0de0 00000000  feff dde0 00000000",
        id="a bulk value in an item is left empty",
    ),
    pytest.param("0800 1511 5351 0000 00000000", "0800 1511 5351 0000 00000000", id="an empty sequence stays as it is"),
    pytest.param(
        "0800 1511 554e 0000 ffffffff  feff 00e0 ffffffff  1000 2000 0200 0000 5031"  # UN, implicit VR inside
        "feff 0de0 00000000  feff dde0 00000000",
        "0800 1511 554e 0000 ffffffff  feff 00e0 ffffffff  1000 2000 0200 0000 5031"
        "feff 0de0 00000000  feff dde0 00000000",
        id="a UN of undefined length is an implicit VR sequence",
    ),
    pytest.param(
        "1000 2000 5a5a 0200 5031",  # (0010,0020) ZZ 2
        "1000 2000 5a5a 0200 5031",
        id="a VR nobody knows has a 16-bit length",
    ),
    pytest.param(
        "1000 1000 4c4f 0200 5031  1000 2000 0200 0000 5031",
        "1000 1000 4c4f 0200 5031  1000 2000 0200 0000 5031",
        id="an element that switches to implicit VR is followed",
    ),
    pytest.param(
        "e07f 1000 4f57 0000 04000000 01020304  fcff fcff 4f42 0000 02000000 0000",  # pixels, then padding
        "fcff fcff 4f42 0000 02000000 0000",
        id="elements behind the pixel data are kept",
    ),
]


@pytest.mark.parametrize(("data_set", "header"), LITERAL)
def test_copies_heads_and_small_values(data_set: str, header: str) -> None:
    found = scan_every_way(file_meta() + bytes.fromhex(data_set), elide_over=4)
    assert found.header == file_meta() + bytes.fromhex(header)
    assert not found.truncated


def test_names_bulk_values_by_path_and_place() -> None:
    inner = explicit(0x54001010, "OW", bytes(8)) + explicit(0x00420011, "OB", bytes(6))
    raw = file_meta() + explicit(0x54000100, "SQ", item(PATIENT) + item(inner)) + explicit(0x00420011, "OB", b"abcdef")
    found = scan_every_way(raw, elide_over=4)
    assert [bulk.path for bulk in found.bulk] == ["54000100/1/54001010", "54000100/1/00420011", "00420011"]
    assert found.bulk[2] == BulkValue("00420011", "OB", len(raw) - 6, 6)
    assert [raw[bulk.offset :][: bulk.length] for bulk in found.bulk] == [bytes(8), bytes(6), b"abcdef"]


def test_takes_the_dictionary_for_implicit_vr() -> None:
    sequence = implicit(0x00081115, item(implicit(0x00420011, b"abcdef")))
    raw = (
        file_meta(ImplicitVRLittleEndian) + sequence + implicit(0x00283006, b"abcdef") + implicit(0x00111001, b"abcde")
    )
    found = scan_every_way(raw, elide_over=4)
    assert [(bulk.path, bulk.vr) for bulk in found.bulk] == [
        ("00081115/0/00420011", "OB"),
        ("00283006", "OW"),
    ]
    assert [raw[bulk.offset :][: bulk.length] for bulk in found.bulk] == [b"abcdef", b"abcdef"]
    assert 0x00111001 in read(found.header)
    assert read(found.header)[0x00111001].is_empty


def test_lists_short_bulk_values_and_keeps_them() -> None:
    raw = file_meta() + explicit(0x00111001, "OB", b"abcdef") + explicit(0x7FE00001, "OV", bytes(8))
    found = scan_every_way(raw)
    assert [(bulk.path, bulk.length) for bulk in found.bulk] == [("00111001", 6), ("7FE00001", 8)]
    assert read(found.header)[0x00111001].value == b"abcdef"


def test_lists_no_more_short_bulk_values_than_it_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.dicom.walk.MAX_BULK_VALUES", 3)
    found = scan(file_meta() + b"".join(explicit(0x00111001 + n, "OB", bytes(4)) for n in range(5)))
    assert [bulk.path for bulk in found.bulk] == ["00111001", "00111002", "00111003"]
    assert len(read(found.header)) == 5


def test_says_where_the_pixel_data_element_is() -> None:
    for raw, begin in (
        (file_meta() + PATIENT + explicit(0x7FE00010, "OW", bytes(8)) + PATIENT, len(file_meta() + PATIENT)),
        (encapsulated([[b"abcd"], [b"ef"]]) + PATIENT, encapsulated([[b"abcd"], [b"ef"]]).index(b"\xe0\x7f\x10\0")),
    ):
        found = scan_every_way(raw).pixels
        assert found is not None
        assert (found.begin, found.end) == (begin, len(raw) - len(PATIENT))


def test_keeps_un_values_that_the_dictionary_knows() -> None:
    raw = file_meta() + explicit(0x00081030, "UN", b"Study of nobody ") + explicit(0x00111001, "UN", bytes(8))
    found = scan_every_way(raw, elide_over=4)
    assert read(found.header).StudyDescription == "Study of nobody"
    assert [bulk.path for bulk in found.bulk] == ["00111001"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_finds_native_pixels(syntax: str) -> None:
    raw = instance(transfer_syntax=syntax)
    found = scan_every_way(raw)
    assert found.transfer_syntax == syntax
    assert isinstance(found.pixels, NativePixels)
    assert raw[found.pixels.offset :] == bytes(range(24))
    assert found.pixels.length == 24
    assert found.length == len(raw)
    assert "PixelData" not in read(found.header)


@pytest.mark.parametrize(("tag", "vr"), [(0x7FE00008, "OF"), (0x7FE00009, "OD")])
def test_finds_float_pixels(tag: int, vr: str) -> None:
    raw = file_meta() + PATIENT + explicit(tag, vr, bytes(16))
    found = scan_every_way(raw).pixels
    assert found == NativePixels(tag, vr, len(raw) - 28, len(raw) - 16, 16)
    assert found.end == len(raw)


def test_finds_fragments_and_their_end_marks() -> None:
    raw = encapsulated([[b"ab", b"c\xff\xd9"], [b"defg\xff\xd9\0\0"]])
    found = scan_every_way(raw)
    assert isinstance(found.pixels, EncapsulatedPixels)
    assert raw[found.pixels.first_item :].startswith(b"ab")
    assert list(found.pixels.offset_table) == [0, 22]
    assert list(found.pixels.lengths) == [2, 4, 8]
    assert found.pixels.ends_frame == b"\0\1\1"
    assert found.pixels.complete


def test_keeps_the_extended_offset_table() -> None:
    found = scan_every_way(encapsulated([[b"ab"], [b"cd"]], bot=False, eot=True), elide_over=4)
    assert read(found.header).ExtendedOffsetTable == struct.pack("<2Q", 0, 10)


@pytest.mark.parametrize("length", [6, 0xFFFFFFFF])
def test_leaves_out_the_pixels_of_an_icon_whatever_their_size(length: int) -> None:
    value = item(b"") + item(b"ab") + END_SEQUENCE if length == 0xFFFFFFFF else b"abcdef"
    icon = explicit(0x00280010, "US", b"\1\0") + explicit(0x7FE00010, "OB", value, length) + PATIENT
    raw = file_meta() + explicit(0x00880200, "SQ", item(icon)) + PATIENT
    found = scan_every_way(raw)
    (bulk,) = found.bulk
    assert bulk.path == "00880200/0/7FE00010"
    assert raw[bulk.offset :][: bulk.length] == value.removesuffix(END_SEQUENCE)
    read_item = read(found.header).IconImageSequence[0]
    assert not read_item.PixelData
    assert read_item.PatientID == "P1"
    assert found.pixels is None


def test_counts_the_offsets_of_a_deflated_file_in_the_inflated_data_set() -> None:
    plain, raw = instance(), instance(transfer_syntax=DeflatedExplicitVRLittleEndian)
    found = scan_every_way(raw)
    inflated = zlib.decompress(raw[len(raw) - len(raw.partition(b"PYDICOM 3.0.2 ")[2]) :], -15)
    assert found.deflated
    assert not found.truncated
    assert found.transfer_syntax == DeflatedExplicitVRLittleEndian
    assert isinstance(found.pixels, NativePixels)
    assert inflated[found.pixels.offset :] == bytes(range(24))
    header = read(found.header)
    assert header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.header == scan(plain).header  # its group length too


def test_accepts_a_wrong_or_missing_group_length() -> None:
    raw = instance()
    lying = raw[:140] + b"\xff\0\0\0" + raw[144:]
    assert read(scan_every_way(lying).header).PatientID == "TEST-1"
    assert read(scan_every_way(raw[:132] + raw[144:]).header).PatientID == "TEST-1"


def test_takes_implicit_vr_when_the_meta_names_no_transfer_syntax() -> None:
    meta = bytes(128) + b"DICM" + explicit(0x00020012, "UI", b"1.2.3\0")
    found = scan_every_way(meta + implicit(0x00100020, b"P1"))
    assert found.transfer_syntax == ImplicitVRLittleEndian
    assert read(found.header).PatientID == "P1"
    assert scan_every_way(meta + PATIENT).transfer_syntax == ExplicitVRLittleEndian


def test_accepts_a_file_with_nothing_behind_its_meta() -> None:
    found = scan_every_way(file_meta())
    assert (found.header, found.pixels, found.truncated) == (file_meta(), None, False)


def test_reads_an_unknown_transfer_syntax_as_explicit_vr() -> None:
    found = scan_every_way(file_meta("1.2.3.4.5.1") + PATIENT)
    assert found.transfer_syntax == "1.2.3.4.5.1"
    assert read(found.header).PatientID == "P1"


@pytest.mark.parametrize(
    ("rest", "truncated"),
    [(bytes(1), False), (bytes(512), False), (b"\xff" * 3, True), (b"\xff" * 512, True), (b"\0\0\1\1rubbish", True)],
)
def test_ignores_what_is_no_element_behind_the_data_set(rest: bytes, truncated: bool) -> None:
    found = scan_every_way(instance() + rest)
    assert found.header == scan(instance()).header
    assert found.pixels == scan(instance()).pixels
    assert found.truncated == truncated


# Hostile and broken files.

MALFORMED = [
    pytest.param(b"", id="nothing"),
    pytest.param(bytes(132), id="no prefix"),
    pytest.param(bytes(128) + b"DICM", id="nothing behind the prefix"),
    pytest.param(bytes(128) + b"DICM" + PATIENT, id="no file meta"),
    pytest.param(file_meta("1.2.3;<x>") + PATIENT, id="a transfer syntax that is no UID"),
    pytest.param(file_meta("1" * 65) + PATIENT, id="a transfer syntax of 65 characters"),
    pytest.param(bytes(128) + b"DICM" + explicit(0x00020000, "US", b"\0"), id="a number of one byte in the meta"),
    pytest.param(file_meta() + explicit(0x00081115, "SQ", item(PATIENT), 14), id="an item longer than its sequence"),
    pytest.param(
        file_meta() + explicit(0x00081115, "SQ", item(PATIENT[:-1]) + b"1"), id="a value longer than its item"
    ),
    pytest.param(file_meta() + explicit(0x00081115, "SQ", item(b"1234")), id="an item too short for an element"),
    pytest.param(file_meta() + explicit(0x00081115, "SQ", PATIENT), id="an element where an item should be"),
    pytest.param(
        file_meta() + explicit(0x00081115, "SQ", item(explicit(0x00081115, "SQ", b"", 0xFFFFFFFF))),
        id="a sequence without end inside an item with one",
    ),
    pytest.param(file_meta() + explicit(0x00080005, "US", b"\0"), id="a number for character set"),
    pytest.param(
        file_meta() + explicit(0x7FE00010, "OB", item(b"123") + item(b"ab") + END_SEQUENCE, 0xFFFFFFFF),
        id="a Basic Offset Table of three bytes",
    ),
    pytest.param(
        file_meta() + explicit(0x7FE00010, "OB", implicit(0xFFFEE000, b"", 0x7FFFFFFC), 0xFFFFFFFF),
        id="a Basic Offset Table of two gigabytes",
    ),
    pytest.param(
        file_meta() + explicit(0x7FE00010, "OB", item(b"") + implicit(0xFFFEE000, b"", 0xFFFFFFFF), 0xFFFFFFFF),
        id="a fragment of undefined length",
    ),
    pytest.param(
        file_meta() + explicit(0x7FE00010, "OB", item(b"") + PATIENT, 0xFFFFFFFF), id="an element among the fragments"
    ),
    pytest.param(file_meta() + 2 * explicit(0x7FE00010, "OB", b"ab"), id="pixel data twice"),
    pytest.param(file_meta(DeflatedExplicitVRLittleEndian) + b"\xff" * 16, id="deflated data that is none"),
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_refuses(raw: bytes) -> None:
    for step in (0, 1, 3):
        with pytest.raises(MalformedDicom):
            scan(raw, step)


def test_goes_on_refusing_a_file_it_refused() -> None:
    scanner = Part10Scanner()
    with pytest.raises(MalformedDicom):
        scanner.feed(bytes(132))
    with pytest.raises(MalformedDicom):
        scanner.feed(PATIENT)
    with pytest.raises(MalformedDicom):
        scanner.finish()


def test_says_no_value_of_the_data_set_in_an_error() -> None:
    raw = file_meta() + explicit(0x00100020, "LO", b"SECRET") + explicit(0x00081115, "SQ", b"SECRET12")
    with pytest.raises(MalformedDicom) as refused:
        scan(raw)
    assert "SECRET" not in str(refused.value)


def nested(levels: int, defined: bool) -> bytes:
    data = PATIENT
    if not defined:
        opening = explicit(0x00081115, "SQ", b"", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0" + ANY_LENGTH
        return opening * levels + data + (END_ITEM + END_SEQUENCE) * levels
    for _ in range(levels):
        data = explicit(0x00081115, "SQ", item(data))
    return data


@pytest.mark.parametrize("defined", [False, True])
@pytest.mark.parametrize("levels", [60, 100])
def test_follows_sequences_a_hundred_deep(levels: int, defined: bool) -> None:
    found = scan_every_way(file_meta() + nested(levels, defined))
    ds = read(found.header)
    for _ in range(levels):
        ds = ds[0x00081115][0]
    assert ds.PatientID == "P1"
    assert found.header == file_meta() + nested(levels, defined=False)


@pytest.mark.parametrize("levels", [101, 200, 100_000])
def test_refuses_deeper_sequences(levels: int) -> None:
    with pytest.raises(MalformedDicom, match="nested deeper"):
        scan(file_meta() + nested(levels, defined=False))


@contextlib.contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def test_holds_little_of_a_gigabyte_of_deflated_zeros() -> None:
    deflater = zlib.compressobj(9, wbits=-15)
    size, block = 1 << 30, bytes(1 << 24)
    packed = deflater.compress(explicit(0x00111001, "OW", b"", size))
    packed += b"".join(deflater.compress(block) for _ in range(size // len(block))) + deflater.flush()
    with memory_below(4 << 20):
        found = scan(file_meta(DeflatedExplicitVRLittleEndian) + packed)
    assert found.bulk == (BulkValue("00111001", "OW", 12, size),)
    assert not found.truncated


def test_stops_inflating_behind_the_data_set() -> None:
    packed = zlib.compress(PATIENT + b"\xff" * 16 + bytes(1 << 24), wbits=-15)
    with memory_below(4 << 20):
        found = scan(file_meta(DeflatedExplicitVRLittleEndian) + packed)
    assert found.truncated


def test_holds_no_more_of_a_value_than_came() -> None:
    with memory_below(1 << 20):
        found = scan(file_meta() + PATIENT + explicit(0x00111001, "UT", bytes(100), 60 << 20))
    assert found.truncated
    assert found.header == file_meta() + PATIENT


def test_refuses_a_header_larger_than_the_limit_before_it_comes() -> None:
    with pytest.raises(MalformedDicom, match="larger than"):
        scan(file_meta() + explicit(0x00111001, "UT", b"", 0xFFFFFFFE))
    with pytest.raises(MalformedDicom, match="larger than"):
        scan(file_meta() + 100 * PATIENT, max_header_bytes=1000)


def test_refuses_more_fragments_and_bulk_values_than_it_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.dicom.walk.MAX_FRAGMENTS", 3)
    monkeypatch.setattr("shared.dicom.walk.MAX_BULK_VALUES", 3)
    assert scan(encapsulated([[b"ab"]] * 3)).pixels
    with pytest.raises(MalformedDicom, match="fragments"):
        scan(encapsulated([[b"ab"]] * 4, bot=False))
    with pytest.raises(MalformedDicom, match="bulk values"):
        scan(file_meta() + 4 * explicit(0x00111001, "OB", bytes(6)), elide_over=4)


def rich_data_set() -> Dataset:
    """Something of everything: nested sequences of both kinds, a private element, an icon and trailing padding."""
    icon = Dataset()
    icon.Rows = icon.Columns = 2
    icon.PixelData = b"abcd"
    icon["PixelData"].VR = "OW"
    inner = Dataset()
    inner.CodeValue = "T-1"
    inner.IconImageSequence = [icon]
    outer = Dataset()
    outer.ReferencedSOPInstanceUID = "1.2.3"
    outer.PurposeOfReferenceCodeSequence = [inner, Dataset()]
    outer.is_undefined_length_sequence_item = True
    ds = Dataset()
    ds.SOPInstanceUID = "1.2.3.4"
    ds.ReferencedImageSequence = [outer]
    ds["ReferencedImageSequence"].is_undefined_length = True
    ds.PatientID = "P1"
    ds.add_new(0x00110010, "LO", "MADE UP")
    ds.add_new(0x00111001, "OB", bytes(6))
    ds.Rows = ds.Columns = 2
    ds.PixelData = bytes(4)
    ds.DataSetTrailingPadding = bytes(2)
    return ds


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_gives_a_readable_header_wherever_the_file_is_cut(syntax: str) -> None:
    raw = file_of(rich_data_set(), syntax)
    whole = read(scan_every_way(raw, elide_over=4).header)
    readable = 0
    for end in range(len(raw)):
        with contextlib.suppress(MalformedDicom):
            found = scan(raw[:end], elide_over=4)
            assert found.length == end
            for element in read(found.header):
                assert element == whole[element.tag]
            readable += 1
    assert readable > 100


def test_keeps_what_came_of_native_pixels_cut_short() -> None:
    raw = instance()
    found = scan_every_way(raw[:-5])
    assert found.truncated
    assert isinstance(found.pixels, NativePixels)
    assert found.pixels.length == 19


def test_leaves_out_a_fragment_cut_short() -> None:
    raw = encapsulated([[b"abcd"], [b"efgh"]])
    found = scan_every_way(raw[:-10])
    assert found.truncated
    assert isinstance(found.pixels, EncapsulatedPixels)
    assert list(found.pixels.lengths) == [4]
    assert not found.pixels.complete


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_lets_nothing_but_its_own_error_escape(data: st.DataObject) -> None:
    raw = bytearray(
        file_of(rich_data_set(), data.draw(st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian])))
    )
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(128, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedDicom):
        assert scan(bytes(raw)) == scan(bytes(raw), 5)


# pydicom's own test files: the header must read as the file does.


def differences(expected: Dataset, got: Dataset, elided: set[str], path: str = "") -> list[Any]:
    found: list[Any] = [(path, "tags")] if set(expected.keys()) != set(got.keys()) else []
    for tag in sorted(set(expected.keys()) & set(got.keys())):
        name = f"{path}{int(tag):08X}"
        if name in elided and not got[tag].value:
            continue
        try:
            one = expected[tag]
        except Exception:  # a value pydicom cannot convert, which the header keeps as it is
            raw: Any = expected.get_item(tag)
            kept: Any = got.get_item(tag)
            assert (raw.VR, raw.value) == (kept.VR, kept.value)
            continue
        other = got[tag]
        if one.VR == "SQ" and other.VR == "SQ" and len(one.value) == len(other.value):
            for index, (left, right) in enumerate(zip(one.value, other.value, strict=True)):
                found += differences(left, right, elided, f"{name}/{index}/")
        elif one != other and repr(one) != repr(other):
            found.append((name, one.VR, other.VR))
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", BUNDLED_FILES, ids=lambda path: path.relative_to(BUNDLED).as_posix())
def test_agrees_with_pydicom_about(path: Path) -> None:
    raw = path.read_bytes()
    if raw[128:132] != b"DICM":
        with pytest.raises(MalformedDicom):
            scan(raw)
        return
    if path.name in LYING:
        with pytest.raises(MalformedDicom, match="reaches beyond"):
            scan(raw)
        return
    found = scan(raw)
    assert scan(raw, 61) == found
    ds: Dataset = pydicom.dcmread(path)
    for tag in PIXELS:
        ds.pop(tag, None)
    if found.truncated:  # the element that was cut is left out
        whole = {element.tag for element in pydicom.dcmread(BytesIO(found.header))}
        ds = Dataset({tag: ds.get_item(tag) for tag in ds.keys() if tag in whole})  # noqa: SIM118
    assert differences(ds, pydicom.dcmread(BytesIO(found.header)), {bulk.path for bulk in found.bulk}) == []


def test_finds_pydicoms_own_files() -> None:
    assert len(BUNDLED_FILES) > 80
