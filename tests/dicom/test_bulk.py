"""Where bulk values lie, what they are called, and how their references become URLs."""

import json
from io import BytesIO

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, Sequence
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from shared.dicom.bulk import BulkTable, ReferenceResolver, bulk_name, bulk_table, is_bulk_name, resolved
from shared.dicom.instance import Instance, read_instance
from shared.dicom.part10 import Part10Scanner
from tests.builders import instance

URL = "https://host/v2/studies/1/series/2/instances/3"


def read(raw: bytes) -> tuple[Instance, BulkTable]:
    scanner = Part10Scanner()
    scanner.feed(raw)
    scanned = scanner.finish()
    table = bulk_table(scanned)
    assert table is not None
    return read_instance(scanned), table


def ecg_item(samples: bytes) -> Dataset:
    item = Dataset()
    item.WaveformBitsAllocated = 16
    item.WaveformSampleInterpretation = "SS"
    item[0x54001010] = DataElement(0x54001010, "OW", samples)
    return item


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_every_bulk_value_has_a_place_and_a_reference(syntax: str) -> None:
    icc, wave = bytes(range(200)), bytes(range(100)) * 100
    raw = instance(transfer_syntax=syntax, ICCProfile=icc, WaveformSequence=Sequence([ecg_item(b"ab"), ecg_item(wave)]))
    found, table = read(raw)
    assert {name: raw[value.offset :][: value.length] for name, value in table.values.items()} == {
        "00282000": icc,
        "54000100.1.54001010": b"ab",
        "54000100.2.54001010": wave,
    }
    assert found.metadata["00282000"] == {"vr": "OB", "BulkDataURI": "bulkdata/00282000"}
    second = found.metadata["54000100"]["Value"][1]
    assert second["54001010"] == {"vr": "OW", "BulkDataURI": "bulkdata/54000100.2.54001010"}
    assert table.pixels is not None
    assert found.metadata["7FE00010"] == {"vr": table.pixels.vr, "BulkDataURI": "bulkdata/7FE00010"}
    assert list(found.metadata) == sorted(found.metadata)


def test_a_vr_that_does_not_exist_is_unknown_unless_a_dictionary_knows_better() -> None:
    private = b"\x09\x00\x05\x10XX\x02\x00ab" + b"\x10\x00\x30\x00ZZ\x08\x0020240101"
    raw = instance()
    at = raw.index(b"\x10\x00\x10\x00PN")
    raw = raw[:at] + private[:10] + raw[at:]
    at = raw.index(b"\x10\x00\x20\x00LO") + 8 + raw[raw.index(b"\x10\x00\x20\x00LO") + 6]
    found, table = read(raw[:at] + private[10:] + raw[at:])
    assert found.metadata["00091005"] == {"vr": "UN", "BulkDataURI": "bulkdata/00091005"}
    assert found.metadata["00100030"] == {"vr": "DA", "Value": ["20240101"]}
    place = table.values["00091005"]
    assert (place.vr, raw[place.offset :][: place.length]) == ("UN", b"ab")


@pytest.mark.parametrize(("vr", "shown"), [(b"OB", "OB"), (b"OW", "OW"), (b"SQ", "OW"), (b"XX", "OW")])
def test_pixel_data_of_no_length_has_no_reference(vr: bytes, shown: str) -> None:
    raw = instance()
    at = raw.index(b"\xe0\x7f\x10\x00")
    head = vr + (b"\0\0" if vr == b"XX" else b"\0\0\0\0\0\0")
    found, _ = read(raw[:at] + b"\xe0\x7f\x10\x00" + head)
    assert found.metadata["7FE00010"] == {"vr": shown}


def test_an_empty_bulk_value_has_no_reference() -> None:
    found, table = read(instance(ICCProfile=b""))
    assert found.metadata["00282000"] == {"vr": "OB"}
    assert "00282000" not in table.values


def test_an_implicit_value_that_no_dictionary_knows_is_not_in_the_metadata() -> None:
    ds = Dataset()
    ds.add_new(0x00070008, "LO", "secret")
    raw = instance(transfer_syntax=ImplicitVRLittleEndian)
    at = raw.index(b"\x08\x00\x05\x00")  # the first element of the data set
    found, table = read(raw[:at] + b"\x07\x00\x08\x00\x06\x00\x00\x00secret" + raw[at:])
    assert "00070008" not in found.metadata
    assert "00070008" not in table.values


def test_an_explicit_unknown_value_has_a_reference() -> None:
    raw = instance()
    at = raw.index(b"\x08\x00\x05\x00")
    found, _ = read(raw[:at] + b"\x07\x00\x08\x00UN\0\0\x06\x00\x00\x00secret" + raw[at:])
    assert found.metadata["00070008"] == {"vr": "UN", "BulkDataURI": "bulkdata/00070008"}


@pytest.mark.filterwarnings("ignore:The value for the data element")  # what pydicom says when it writes one as UN
def test_long_values_of_unknown_vr_are_what_the_dictionary_knows() -> None:
    numbers = "\\".join(f"{number}.5" for number in range(16_000))
    described = [Dataset() for _ in range(4000)]
    for number, item in enumerate(described):
        item.ScheduledProcedureStepID = f"STEP{number:08}"
    raw = instance(
        ContourData=numbers.split("\\"), RequestAttributesSequence=Sequence(described), TextValue="t" * 70_000
    )
    assert len(raw) > 200_000
    found, table = read(in_unknown_vr(raw, 0x00400275, 0x0040A160, 0x30060050))
    assert found.metadata["30060050"]["Value"] == [number + 0.5 for number in range(16_000)]
    assert found.metadata["0040A160"] == {"vr": "UT", "Value": ["t" * 70_000]}
    steps = [item["00400009"]["Value"] for item in found.metadata["00400275"]["Value"]]
    assert steps == [[item.ScheduledProcedureStepID] for item in described]
    assert not table.values


def in_unknown_vr(raw: bytes, *tags: int) -> bytes:
    """The same file with some top-level elements as UN, their values in Implicit VR (PS3.5 §6.2.2)."""
    implicit = pydicom.dcmread(BytesIO(raw))
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    for tag in tags:
        one = Dataset()
        one[tag] = implicit[tag]
        out = DicomBytesIO()
        out.is_little_endian, out.is_implicit_VR = True, True
        write_dataset(out, one)
        value = out.getvalue()[8:]
        implicit[tag] = DataElement(tag, "UN", value)
    made = BytesIO()
    implicit.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    implicit.save_as(made, implicit_vr=False, little_endian=True)
    return made.getvalue()


def test_pixel_data_is_an_element_from_here_to_there() -> None:
    native = instance()
    _, table = read(native)
    assert table.pixels is not None
    assert native[table.pixels.begin :][:4] == b"\xe0\x7f\x10\x00"
    assert (table.pixels.end, table.pixels.length, table.pixels.encapsulated) == (len(native), 24, False)

    frames = [b"\xff\xd8one\xff\xd9", b"\xff\xd8two!\xff\xd9"]
    raw = instance(frames=2, transfer_syntax=JPEGBaseline8Bit, PixelData=encapsulate(frames))
    _, table = read(raw)
    assert table.pixels is not None
    assert table.pixels.encapsulated
    items = raw[table.pixels.offset :][: table.pixels.length]
    assert items.startswith(b"\xfe\xff\x00\xe0") and b"two!" in items
    assert raw[table.pixels.offset + table.pixels.length : table.pixels.end] == b"\xfe\xff\xdd\xe0\0\0\0\0"


def test_a_table_survives_packing() -> None:
    for raw in (instance(ICCProfile=b"abcd"), instance(PixelData=None, ICCProfile=b"abcd"), instance()):
        _, table = read(raw)
        assert BulkTable.unpack(table.pack()) == table
    assert len(read(instance())[1].pack()) < 100


def test_names_count_items_from_one() -> None:
    assert bulk_name("00420011") == "00420011"
    assert bulk_name("54000100/0/54001010") == "54000100.1.54001010"


@pytest.mark.parametrize("text", ["00420011", "54000100.1.54001010", "52009229.1.00409096.12.00409212"])
def test_names_are_known(text: str) -> None:
    assert is_bulk_name(text)


@pytest.mark.parametrize("text", ["", "0042001", "54000100.0.54001010", "54000100.1", "../etc", "00420011." * 1000])
def test_other_texts_are_no_names(text: str) -> None:
    assert not is_bulk_name(text)


VALUES = st.recursive(
    st.none() | st.text() | st.sampled_from(['"BulkDataURI":"', '\\"BulkDataURI":"', "BulkDataURI", '":"', "\\"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["BulkDataURI", "vr", 'a"b', "\\"]), inner),
)


def with_absolute_references(value: object) -> object:
    """The same document with the references found by a parser."""
    if isinstance(value, list):
        return [with_absolute_references(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: f"{URL}/{each}" if key == "BulkDataURI" and isinstance(each, str) else with_absolute_references(each)
        for key, each in value.items()
    }


@given(VALUES, st.lists(st.integers(1, 40)))
def test_references_and_nothing_else_become_absolute(value: object, sizes: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    expected = json.dumps(with_absolute_references(value), ensure_ascii=False, separators=(",", ":"))
    assert resolved(text, URL) == expected.encode("utf-8", "surrogatepass")
    resolver = ReferenceResolver(URL)
    pieces, at = [], 0
    for size in [*sizes, len(text)]:
        pieces.append(resolver.feed(text[at : at + size]))
        at += size
    assert b"".join(pieces) + resolver.finish() == resolved(text, URL)
