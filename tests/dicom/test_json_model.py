"""Data sets as DICOM JSON: literal values of every VR, character sets, and pydicom's conversion as a cross-check."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import pydicom
import pytest

from shared.dicom.instance import read_header
from shared.dicom.json_model import BULK_VRS, data_set_json
from shared.errors import MalformedDicom

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
PREFIX = bytes(128) + b"DICM"


def file_of(*elements: bytes, syntax: bytes = b"1.2.840.10008.1.2.1\0") -> bytes:
    """A PS3.10 file whose data set has these elements."""
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    return PREFIX + meta + b"".join(elements)


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """One element in Explicit VR Little Endian (PS3.5 §7.1.2)."""
    value += b" " * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"SV", b"UV", b"OD", b"OF", b"OL", b"OV"):
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def json_of(*elements: bytes, **options: Any) -> dict[str, Any]:
    return data_set_json(read_header(file_of(*elements, **options)))


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        (b"AE", b"STORE ", ["STORE"]),
        (b"AS", b"024Y", ["024Y"]),
        (b"AT", b"\x10\x00\x20\x00\x28\x00\x10\x00", ["00100020", "00280010"]),
        (b"CS", b"A\\\\B ", ["A", None, "B"]),
        (b"DA", b"20200922", ["20200922"]),
        (b"DS", b"1.50\\-2e3\\x ", [1.5, -2000.0, "x"]),
        (b"DS", b"NaN ", ["NaN"]),
        (b"DT", b"20200922120000.5", ["20200922120000.5"]),
        (b"FL", struct.pack("<2f", 1.5, float("inf")), [1.5, "Infinity"]),
        (b"FD", struct.pack("<3d", 0.1, float("nan"), float("-inf")), [0.1, "NaN", "-Infinity"]),
        (b"IS", b" 7\\+8\\1A", [7, 8, "1A"]),
        (b"IS", b"1_0\\0x1\\ ", ["1_0", "0x1", None]),
        (b"DS", b"1_0\\infinity\\.5\\5.", ["1_0", "infinity", 0.5, 5.0]),
        (b"LO", b"a\\b ", ["a", "b"]),
        (b"LT", b"a\\b  ", ["a\\b"]),
        (b"PN", b"Doe^J=X=Y ", [{"Alphabetic": "Doe^J", "Ideographic": "X", "Phonetic": "Y"}]),
        (b"PN", b"=X", [{"Ideographic": "X"}]),
        (b"SH", b"X\0", ["X\0"]),
        (b"SL", struct.pack("<i", -5), [-5]),
        (b"SS", struct.pack("<2h", -5, 5), [-5, 5]),
        (b"ST", b"a\\b", ["a\\b"]),
        (b"SV", struct.pack("<q", -(2**62)), [-(2**62)]),
        (b"TM", b"120000", ["120000"]),
        (b"UC", b"long\\text ", ["long", "text"]),
        (b"UI", b"1.2.3\0", ["1.2.3"]),
        (b"UI", b"1.2.3 ", ["1.2.3 "]),
        (b"UL", struct.pack("<I", 2**32 - 1), [2**32 - 1]),
        (b"UR", b"http://x/\\y", ["http://x/\\y"]),
        (b"US", struct.pack("<3H", 1, 2, 65535), [1, 2, 65535]),
        (b"US", b"\1\0\2", [1, 0x2002]),
        (b"UT", b"text", ["text"]),
        (b"UV", struct.pack("<Q", 2**64 - 1), [2**64 - 1]),
        (b"LO", b"", None),
        (b"LO", b"  ", None),
        (b"US", b"", None),
    ],
)
def test_values_of_every_vr(vr: bytes, value: bytes, expected: list[Any] | None) -> None:
    found = json_of(element(0x00110001, b"LO", b""), element(0x00111001, vr, value))["00111001"]
    assert found == ({"vr": vr.decode()} if expected is None else {"vr": vr.decode(), "Value": expected})
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("vr", sorted(BULK_VRS))
def test_bulk_values_stay_out_at_every_level(vr: str) -> None:
    bulk = element(0x00111001, vr.encode(), b"12345678")
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(bulk)) + bulk
    found = json_of(element(0x00081140, b"SQ", item), bulk)
    assert found == {"00081140": {"vr": "SQ", "Value": [{}]}}


def test_an_unknown_vr_of_a_known_attribute_is_read_by_the_dictionary() -> None:
    found = json_of(element(0x00100020, b"UN", b"ID1 "), element(0x00280010, b"UN", b"\1\0"))
    assert found == {"00100020": {"vr": "LO", "Value": ["ID1"]}, "00280010": {"vr": "US", "Value": [1]}}


@pytest.mark.parametrize(
    ("charset", "raw", "expected"),
    [
        (b"ISO_IR 100", "Äneas^Rüdiger".encode("latin-1"), {"Alphabetic": "Äneas^Rüdiger"}),
        (b"ISO_IR 192", "Wang^XiaoDong=王^小東".encode(), {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小東"}),
        (b"ISO_IR 144", "Люкceмбypг".encode("iso8859_5"), {"Alphabetic": "Люкceмбypг"}),
        (b"GB18030", "王^小东".encode("gb18030"), {"Alphabetic": "王^小东"}),
        # PS3.5 §H.3.2, Katakana; §I.2, Korean; §K.2, simplified Chinese; Latin-9, alone and after Latin-1
        (
            b"ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
            {"Alphabetic": "ﾔﾏﾀﾞ^ﾀﾛｳ", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"},
        ),
        (
            b"\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            {"Alphabetic": "Hong^Gildong", "Ideographic": "洪^吉洞", "Phonetic": "홍^길동"},
        ),
        (
            b"\\ISO 2022 IR 58",
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            {"Alphabetic": "Zhang^XiaoDong", "Ideographic": "张^小东"},
        ),
        (b"ISO_IR 203", b"\xbcuvre^\xa4", {"Alphabetic": "Œuvre^€"}),
        (b"ISO 2022 IR 100\\ISO 2022 IR 203", b"\xc4^\x1b-b\xbcuvre", {"Alphabetic": "Ä^Œuvre"}),
        (
            b"\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
            {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"},
        ),
    ],
)
def test_text_is_decoded_by_its_character_set(charset: bytes, raw: bytes, expected: dict[str, str]) -> None:
    found = json_of(element(0x00080005, b"CS", charset), element(0x00100010, b"PN", raw))
    assert found["00100010"]["Value"] == [expected]


def test_text_in_gb_2312_has_no_escape_sequences_left() -> None:
    lines = b"1. \x1b$)A\xb5\xda\xd2\xbb\r\n2. \x1b$)A\xb5\xda\xb6\xfe"
    found = json_of(element(0x00080005, b"CS", b"\\ISO 2022 IR 58"), element(0x00104000, b"LT", lines))
    assert found["00104000"]["Value"] == ["1. 第一\r\n2. 第二"]


@pytest.mark.parametrize("length", [2, 4, 6])
def test_a_sequence_of_unknown_vr_that_is_none_is_the_instance_s_failure(length: int) -> None:
    with pytest.raises(MalformedDicom):
        json_of(element(0x00081032, b"UN", b"abcdef"[:length]))


def test_items_have_their_own_character_set_or_inherit_that_around_them() -> None:
    own = element(0x00080005, b"CS", b"ISO_IR 192") + element(0x00080104, b"LO", "ä".encode())
    inherited = element(0x00080104, b"LO", b"\xe4")
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(each)) + each for each in (own, inherited))
    found = json_of(element(0x00080005, b"CS", b"ISO_IR 100"), element(0x00081140, b"SQ", items))
    assert [item["00080104"]["Value"] for item in found["00081140"]["Value"]] == [["ä"], ["ä"]]


@pytest.mark.parametrize("representation", [0, 1])
def test_the_sign_of_pixels_decides_vrs_that_the_dictionary_leaves_open(representation: int) -> None:
    implicit = struct.pack("<HHIH", 0x0028, 0x0103, 2, representation) + struct.pack("<HHIH", 0x0028, 0x0106, 2, 0xFFFF)
    found = json_of(implicit, syntax=b"1.2.840.10008.1.2\0")
    expected = {"vr": "SS", "Value": [-1]} if representation else {"vr": "US", "Value": [65535]}
    assert found["00280106"] == expected


def test_big_endian_numbers() -> None:
    found = json_of(
        b"\x00\x28\x00\x10US\x00\x02\x02\x00",
        b"\x00\x28\x00\x09AT\x00\x04\x00\x54\x00\x10",
        syntax=b"1.2.840.10008.1.2.2\0",
    )
    assert (found["00280010"]["Value"], found["00280009"]["Value"]) == ([512], ["00540010"])


def test_sequences_nested_too_deeply_are_the_instance_s_failure() -> None:
    nested = element(0x00100020, b"LO", b"ID")
    for _ in range(1000):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(nested)) + nested
        nested = element(0x00081140, b"SQ", item)
    with pytest.raises(MalformedDicom):
        json_of(nested)


#: Files whose text pydicom refuses to convert, or which have no data set of their own.
ODD = {"badVR.dcm", "bad_sequence.dcm", "no_meta.dcm"}
FILES = sorted(path for path in BUNDLED.glob("*.dcm") if path.name not in ODD)


def unpadded(value: Any) -> Any:
    """A value as both would say it: pydicom keeps spaces between values, and empty values as such."""
    return value.rstrip(" \0") or None if isinstance(value, str) else value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_says_what_pydicom_says_of(path: Path) -> None:
    def read() -> pydicom.Dataset:
        return pydicom.dcmread(io.BytesIO(path.read_bytes()), stop_before_pixels=True, force=True)

    found = data_set_json(read())
    for tag, expected in read().to_json_dict().items():
        private, group_length = int(tag[3], 16) % 2, tag.endswith("0000")
        if expected["vr"] in (*BULK_VRS, "SQ") or private or group_length:
            continue
        assert found[tag]["vr"] == expected["vr"], tag
        assert list(map(unpadded, found[tag].get("Value", []))) == list(map(unpadded, expected.get("Value", []))), tag
