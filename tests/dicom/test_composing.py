"""Files made of DICOM JSON and bulk data: what pydicom reads of them is what was sent."""

import base64
import io
import json
import struct
from collections.abc import Sequence
from typing import Any

import pydicom
import pytest
from pydicom.encaps import generate_frames

from shared.dicom import composing, encapsulation, explicit
from shared.dicom.composing import compose, data_sets_in, read_data_set, uids_of
from shared.dicom.encapsulation import NO_SYNTAX, BulkPart, CannotCompose, Piece, jpeg_syntax
from tests.builders import INSTANCE, SECONDARY_CAPTURE, SERIES, STUDY

EXPLICIT, JPEG_BASELINE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"

BASIC: dict[str, Any] = {
    "00080016": {"vr": "UI", "Value": [SECONDARY_CAPTURE]},
    "00080018": {"vr": "UI", "Value": [INSTANCE]},
    "0020000D": {"vr": "UI", "Value": [STUDY]},
    "0020000E": {"vr": "UI", "Value": [SERIES]},
    "00100020": {"vr": "LO", "Value": ["ID"]},
}
IMAGE: dict[str, Any] = {
    **BASIC,
    "00280002": {"vr": "US", "Value": [1]},
    "00280010": {"vr": "US", "Value": [2]},
    "00280011": {"vr": "US", "Value": [3]},
    "00280100": {"vr": "US", "Value": [8]},
}


class Bulk:
    """Bulk parts by name, as a spool would hold them."""

    def __init__(self, **named: Sequence[tuple[bytes, str | None]]) -> None:
        self.data = b"".join(data for parts in named.values() for data, _ in parts)
        self.parts: dict[str, list[Piece]] = {}
        at = 0
        for name, parts in named.items():
            self.parts[name] = []
            for data, syntax in parts:
                self.parts[name].append(BulkPart(at, len(data), syntax))
                at += len(data)

    def find(self, uri: str) -> Sequence[Piece]:
        return self.parts.get(uri, ())

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        return b"".join(
            piece if isinstance(piece, bytes) else self.data[piece.offset : piece.offset + piece.length]
            for piece in pieces
        )


def file_of(data_set: dict[str, Any], bulk: Bulk | None = None) -> bytes:
    bulk = bulk or Bulk()
    return bulk.whole(compose(read_data_set(json.dumps(data_set)), bulk.find))


def read(data_set: dict[str, Any], bulk: Bulk | None = None) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(file_of(data_set, bulk)))


# JSON


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("{}", 1),
        (' \n{"a": 1} ', 1),
        ("[]", 0),
        (" [ ] ", 0),
        ("[{}]", 1),
        ('[{"a": [1, {"b": "]"}]}, {} ,{}]\n', 3),
    ],
)
def test_data_sets_are_found_in_an_array_or_alone(text: str, number: int) -> None:
    found = data_sets_in(text)
    assert len(found) == number
    assert all(isinstance(json.loads(text[begin:end]), dict) for begin, end in found)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "[", "]", "[{}", "[{},]", "[{} {}]", "[{}]]", "{}{}", "{", "[1]", "[[]]", "1", '"{}"', "null"),
        *('{"a": NaN}', '[{"a": Infinity}]', "[{}],", "{" * 5, '{"a":' * 100_000, '{"a": secret}'),
    ],
)
def test_what_is_no_data_set_and_no_array_of_them_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        data_sets_in(text)
    assert "secret" not in str(raised.value)


def test_the_number_of_data_sets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "MAX_DATA_SETS", 3)
    assert len(data_sets_in("[{},{},{}]")) == 3
    with pytest.raises(ValueError, match="more than 3"):
        data_sets_in("[{},{},{},{}]")


def test_the_number_of_values_is_bounded_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"a": [1, {"b": 2}, []]}'
    monkeypatch.setattr(composing, "MAX_JSON_VALUES", 6)
    assert data_sets_in(text) == [(0, len(text))]
    monkeypatch.setattr(composing, "MAX_JSON_VALUES", 5)
    with pytest.raises(ValueError, match="more than 5 values"):
        data_sets_in(text)


@pytest.mark.parametrize("element", [None, 1, {}, {"Value": 1}, {"Value": []}, {"Value": [1]}, {"Value": [None]}])
def test_uids_are_read_where_there_are_any(element: Any) -> None:
    assert uids_of({"00080016": element, **{"00080018": BASIC["00080018"]}}) == (None, INSTANCE)


# Values

VALUES: dict[str, tuple[list[Any], Any]] = {
    "AE": (["STORE"], "STORE"),
    "AS": (["001Y"], "001Y"),
    "AT": (["00100020", "0028000a"], [0x00100020, 0x0028000A]),
    "CS": (["A", None, "B"], ["A", "", "B"]),
    "DA": (["20200101"], "20200101"),
    "DS": ([1.5, "2", 3, None], ["1.5", "2", "3", ""]),
    "DT": (["20200101"], "20200101"),
    "FD": ([1.5, -2], [1.5, -2.0]),
    "FL": ([0.5, "Infinity"], [0.5, float("inf")]),
    "IS": ([1, "2"], [1, 2]),
    "LO": (["Müller", "漢字"], ["Müller", "漢字"]),
    "LT": (["back\\slash\r\n"], "back\\slash\r\n"),
    "PN": ([{"Alphabetic": "A^B", "Phonetic": "か"}], "A^B==か"),
    "SH": (["x"], "x"),
    "SL": ([-(2**31)], -(2**31)),
    "SS": ([-1, 1], [-1, 1]),
    "ST": (["x"], "x"),
    "SV": ([-(2**63)], -(2**63)),
    "TM": (["10"], "10"),
    "UC": (["x"], "x"),
    "UI": (["1.2.3"], "1.2.3"),
    "UL": ([2**32 - 1], 2**32 - 1),
    "UR": (["http://x"], "http://x"),
    "US": ([65535], 65535),
    "UT": (["x" * 100_000], "x" * 100_000),
    "UV": (["18446744073709551615"], 2**64 - 1),
}


@pytest.mark.parametrize("vr", VALUES)
def test_values_of_every_vr_are_written_as_pydicom_reads_them(vr: str) -> None:
    values, expected = VALUES[vr]
    private = {"00091001": {"vr": vr, "Value": values}, "00090010": {"vr": "LO", "Value": ["MADE UP"]}}
    element = read({**BASIC, **private})[0x0009, 0x1001]
    found = list(element.value) if isinstance(expected, list) else element.value
    assert (element.VR, found) == (vr, expected)
    empty = read({**BASIC, "00091001": {"vr": vr}})[0x0009, 0x1001]
    assert (empty.VR, empty.is_empty) == (vr, True)


@pytest.mark.parametrize("vr", ["OB", "OD", "OF", "OL", "OV", "OW", "UN", "LT", "FD"])
def test_values_may_be_inline_or_apart(vr: str) -> None:
    data = struct.pack("<2d", 1.5, 2.5) if vr != "LT" else b"some text"
    inline = {"vr": vr, "InlineBinary": base64.b64encode(data).decode()}
    apart = {"vr": vr, "BulkDataURI": "here"}
    one = file_of({**BASIC, "00091001": inline})
    two = file_of({**BASIC, "00091001": apart}, Bulk(here=[(data, None)]))
    assert one == two
    assert data in one


def test_what_a_decimal_string_says_is_kept_as_far_as_sixteen_characters_go() -> None:
    text = '{"00180050": {"vr": "DS", "Value": [1.50, 0.1234567890123456789, -1.5e-05, "1.2345678901234567890"]}}'
    pieces = compose(read_data_set(text), Bulk().find)
    found = pydicom.dcmread(io.BytesIO(Bulk().whole(pieces)), force=True)
    assert [each.original_string for each in found.SliceThickness] == [
        "1.50",
        "0.12345678901235",
        "-1.5e-05",
        "1.23456789012346",
    ]


def test_texts_are_in_utf_8_at_every_depth_and_the_data_set_says_so() -> None:
    nested = {"00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}, "00104000": {"vr": "LT", "Value": ["größer"]}}
    data_set = {
        **BASIC,
        "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ä"}]},
        "00081110": {"vr": "SQ", "Value": [nested, None, {}]},
    }
    found = read(data_set)
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.PatientName == "Ä"
    first, *others = found.ReferencedStudySequence
    assert first.PatientComments == "größer"
    assert "SpecificCharacterSet" not in first
    assert [len(each) for each in others] == [0, 0]


def test_the_file_has_its_own_meta_information() -> None:
    stated = {"00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2"]}, "00083002": {"vr": "UI", "Value": ["1.2"]}}
    found = read({**stated, **BASIC, "00080000": {"vr": "UL", "Value": [1]}})
    assert found.file_meta.TransferSyntaxUID == EXPLICIT
    assert found.file_meta.MediaStorageSOPClassUID == SECONDARY_CAPTURE
    assert found.file_meta.MediaStorageSOPInstanceUID == INSTANCE
    assert found.file_meta.ImplementationClassUID == explicit.IMPLEMENTATION_CLASS
    assert found.file_meta.ImplementationVersionName == explicit.IMPLEMENTATION_VERSION
    assert "AvailableTransferSyntaxUID" not in found
    assert (0x0008, 0x0000) not in found
    length = found.file_meta.FileMetaInformationGroupLength
    assert file_of(BASIC)[144 + length :][:4] == b"\x08\x00\x05\x00"
    assert "MediaStorageSOPInstanceUID" not in read({}).file_meta


def test_a_value_too_long_for_its_length_field_is_unknown() -> None:
    # Contours may have more characters than a 16-bit length can say.
    values = [f"{number}.25" for number in range(20_000)]
    raw = file_of({**BASIC, "30060050": {"vr": "DS", "Value": values}})
    assert b"\x06\x30\x50\x00UN\0\0" in raw
    assert pydicom.dcmread(io.BytesIO(raw))[0x30060050].value.rstrip().decode().split("\\") == values


def test_tags_are_written_in_order_whatever_their_case() -> None:
    data_set = {"7fe00010": {"vr": "OB", "InlineBinary": "AAEC"}, **BASIC, "0008103e": {"vr": "LO", "Value": ["x"]}}
    tags = [element.tag for element in read(data_set)]
    assert tags == sorted(tags)
    assert {0x0008103E, 0x7FE00010} <= set(tags)


REFUSED: dict[str, tuple[dict[str, Any], str | None]] = {
    "no tag": ({"PatientID": {"vr": "LO"}}, None),
    "no object": ({"00100010": "Doe"}, "00100010"),
    "no vr": ({"00100010": {"Value": ["Doe"]}}, "00100010"),
    "unknown vr": ({"00100010": {"vr": "XX"}}, "00100010"),
    "vr of another type": ({"00100010": {"vr": ["PN"]}}, "00100010"),
    "two values": ({"00091001": {"vr": "OB", "InlineBinary": "", "BulkDataURI": "here"}}, "00091001"),
    "value no array": ({"00100020": {"vr": "LO", "Value": "ID"}}, "00100020"),
    "value of a bulk VR": ({"00091001": {"vr": "OB", "Value": [1]}}, "00091001"),
    "object as text": ({"00100020": {"vr": "LO", "Value": [{}]}}, "00100020"),
    "boolean as text": ({"00100020": {"vr": "LO", "Value": [True]}}, "00100020"),
    "list as name": ({"00100010": {"vr": "PN", "Value": [[]]}}, "00100010"),
    "text as number": ({"00280010": {"vr": "US", "Value": ["many"]}}, "00280010"),
    "null as number": ({"00280010": {"vr": "US", "Value": [None]}}, "00280010"),
    "fraction": ({"00280010": {"vr": "US", "Value": [1.5]}}, "00280010"),
    "out of range": ({"00280010": {"vr": "US", "Value": [65536]}}, "00280010"),
    "out of range of floats": ({"00091001": {"vr": "FL", "Value": [1e39]}}, "00091001"),
    "many digits": ({"00091001": {"vr": "SV", "Value": ["9" * 5000]}}, "00091001"),
    "no tag as AT": ({"00091001": {"vr": "AT", "Value": ["x"]}}, "00091001"),
    "no base64": ({"00091001": {"vr": "OB", "InlineBinary": "?"}}, "00091001"),
    "binary no text": ({"00091001": {"vr": "OB", "InlineBinary": 5.5}}, "00091001"),
    "no such part": ({"00091001": {"vr": "OB", "BulkDataURI": "nowhere"}}, "00091001"),
    "name no text": ({"00091001": {"vr": "OB", "BulkDataURI": ["here"]}}, "00091001"),
    "sequence of texts": ({"00081110": {"vr": "SQ", "Value": ["x"]}}, "00081110"),
    "sequence apart": ({"00081110": {"vr": "SQ", "BulkDataURI": "here"}}, "00081110"),
    "nested": ({"00081110": {"vr": "SQ", "Value": [{"00100020": {"vr": "LO", "Value": [{}]}}]}}, "00100020"),
}


@pytest.mark.parametrize(("data_set", "tag"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_attribute_makes_no_file(data_set: dict[str, Any], tag: str | None) -> None:
    with pytest.raises(CannotCompose) as raised:
        file_of({**BASIC, **data_set}, Bulk(here=[(b"x", None)]))
    assert raised.value.tag == tag
    assert "nowhere" not in raised.value.message


def test_sequences_are_nested_so_deep_and_no_deeper() -> None:
    def nested(depth: int) -> dict[str, Any]:
        data_set: dict[str, Any] = {}
        for _ in range(depth):
            data_set = {"00081110": {"vr": "SQ", "Value": [data_set]}}
        return data_set

    assert file_of(nested(composing.MAX_DEPTH))
    with pytest.raises(CannotCompose):
        file_of(nested(composing.MAX_DEPTH + 1))


# Pixel data

PIXELS = {"7FE00010": {"vr": "OW", "BulkDataURI": "pixels"}}


def test_native_pixels_are_written_as_they_come() -> None:
    found = read({**IMAGE, **PIXELS}, Bulk(pixels=[(b"abcdef", None)]))
    assert (found.file_meta.TransferSyntaxUID, found.PixelData) == (EXPLICIT, b"abcdef")
    odd = read({**IMAGE, **PIXELS}, Bulk(pixels=[(b"abcde", None)]))
    assert odd.PixelData == b"abcde\0"
    frames = read({**IMAGE, **PIXELS}, Bulk(pixels=[(b"abcdef", EXPLICIT), (b"ghijkl", EXPLICIT)]))
    assert frames.PixelData == b"abcdefghijkl"


@pytest.mark.parametrize("frames", [[b"\xff\xd8one\xff\xd9"], [b"first", b"second!", b"x"]])
def test_compressed_pixels_are_encapsulated_a_fragment_for_each_part(frames: list[bytes]) -> None:
    bulk = Bulk(pixels=[(frame, JPEG_BASELINE) for frame in frames])
    found = read({**IMAGE, "00280008": {"vr": "IS", "Value": [len(frames)]}, **PIXELS}, bulk)
    assert found.file_meta.TransferSyntaxUID == JPEG_BASELINE
    assert found["PixelData"].is_undefined_length
    assert found["PixelData"].VR == "OB"
    found_frames = list(generate_frames(found.PixelData, number_of_frames=len(frames)))
    assert found_frames == [frame + b"\0" * (len(frame) % 2) for frame in frames]
    (count,) = struct.unpack_from("<I", found.PixelData, 4)
    assert count == (4 * len(frames) if len(frames) > 1 else 0)


def test_attributes_behind_the_pixel_data_stay_behind_it() -> None:
    padding = {"FFFCFFFC": {"vr": "OB", "InlineBinary": "AAAA"}}
    found = read({**IMAGE, **PIXELS, **padding}, Bulk(pixels=[(b"frame", JPEG_BASELINE)]))
    assert (0xFFFC, 0xFFFC) in found


@pytest.mark.parametrize("tag", ["00020010", "00083002"])
def test_the_data_set_may_state_the_syntax_unless_the_pixels_are_as_long_as_native_ones(tag: str) -> None:
    stated = {tag: {"vr": "UI", "Value": [JPEG_BASELINE]}}
    compressed = read({**IMAGE, **PIXELS, **stated}, Bulk(pixels=[(b"frames!", None)]))
    assert compressed.file_meta.TransferSyntaxUID == JPEG_BASELINE
    native = read({**IMAGE, **PIXELS, **stated}, Bulk(pixels=[(b"abcdef", None)]))
    assert native.file_meta.TransferSyntaxUID == EXPLICIT
    named = read({**IMAGE, **PIXELS, **stated}, Bulk(pixels=[(b"frame", "1.2.840.10008.1.2.4.80")]))
    assert named.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.80"
    inline = {"7FE00010": {"vr": "OB", "InlineBinary": base64.b64encode(b"frames").decode()}}
    assert read({**BASIC, **inline, **stated}).file_meta.TransferSyntaxUID == JPEG_BASELINE


@pytest.mark.parametrize(
    "syntaxes", [[JPEG_BASELINE, "1.2.840.10008.1.2.4.80"], ["1.2.840.10008.1.2.2"], ["1.2.840.10008.1.2.1.99"]]
)
def test_parts_in_several_syntaxes_or_in_one_that_parts_cannot_have_make_no_file(syntaxes: list[str]) -> None:
    with pytest.raises(CannotCompose):
        file_of({**IMAGE, **PIXELS}, Bulk(pixels=[(b"frame", syntax) for syntax in syntaxes]))


def test_values_too_long_for_an_element_or_a_fragment_make_no_file() -> None:
    huge = BulkPart(0, 2**32)
    for element in (PIXELS["7FE00010"], {"vr": "OB", "BulkDataURI": "x"}):
        with pytest.raises(CannotCompose, match="too long"):
            compose({"7FE00010": element}, lambda _: [huge])
    with pytest.raises(CannotCompose, match="too long"):
        compose(PIXELS, lambda _: [BulkPart(0, 2**32, JPEG_BASELINE)])


def test_a_picture_that_no_transfer_syntax_holds_makes_no_file() -> None:
    for stated in ({}, {"00083002": {"vr": "UI", "Value": [JPEG_BASELINE]}}):
        with pytest.raises(CannotCompose, match="no JPEG stream") as raised:
            compose({**PIXELS, **stated}, lambda _: [BulkPart(0, 8, NO_SYNTAX)])
        assert raised.value.tag == "7FE00010"


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("PN", {"Alphabetic": "A\\B"}),
        ("PN", {"Alphabetic": "A=B"}),
        ("PN", "A\\B"),
        *((vr, "A\\B") for vr in ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "SH", "TM", "UC", "UI")),
    ],
)
def test_one_value_does_not_become_two(vr: str, value: object) -> None:
    with pytest.raises(CannotCompose, match=f"a value is not one of VR {vr}"):
        compose({"00091010": {"vr": vr, "Value": [value]}, "00090010": {"vr": "LO", "Value": ["US"]}}, lambda _: [])


@pytest.mark.parametrize("vr", ["LT", "ST", "UR", "UT"])
def test_a_backslash_is_part_of_a_text_that_is_one_value(vr: str) -> None:
    pieces = compose({"0040A160": {"vr": vr, "Value": ["A\\B"]}}, lambda _: [])
    assert b"A\\B" in b"".join(piece for piece in pieces if isinstance(piece, bytes))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


SCAN = segment(0xDA, b"\x01\x01\x00\x01\x00\x00")


@pytest.mark.parametrize(
    ("head", "syntax"),
    [
        (segment(0xE0, b"JFIF\0") + segment(0xC0, bytes(9)), "1.2.840.10008.1.2.4.50"),
        (segment(0xE2, bytes(60_000)) * 2 + segment(0xC0, bytes(9)), "1.2.840.10008.1.2.4.50"),
        (b"\xff" + segment(0xC1, bytes(9)), "1.2.840.10008.1.2.4.51"),
        (segment(0xC3, bytes(9)) + segment(0xC4, bytes(20)) + SCAN, "1.2.840.10008.1.2.4.70"),
        (segment(0xC3, bytes(9)) + segment(0xDA, b"\x01\x01\x00\x04\x00\x00"), "1.2.840.10008.1.2.4.57"),
        (segment(0xC2, bytes(9)) + SCAN, "1.2.840.10008.1.2.4.55"),
        (segment(0xC9, bytes(9)) + SCAN, None),
        (SCAN, None),
        (segment(0xE0, b"JFIF\0"), None),
        (b"", None),
    ],
)
def test_a_jpeg_stream_tells_its_transfer_syntax(head: bytes, syntax: str | None) -> None:
    assert jpeg_syntax(b"\xff\xd8" + head) == syntax
    assert jpeg_syntax(b"\x89PNG" + head) is None


def test_no_beginning_of_a_jpeg_stream_is_too_odd_to_be_looked_at() -> None:
    whole = b"\xff\xd8" + segment(0xC3, bytes(9)) + SCAN
    for end in range(len(whole)):
        jpeg_syntax(whole[:end])
    assert jpeg_syntax(b"\xff\xd8" + b"\xff" * 2 * encapsulation.JPEG_HEAD) is None
