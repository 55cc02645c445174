"""Every element of a data set, at any depth: what is found, and what is left without it."""

from typing import Any

import pytest
from pydicom import Dataset, Sequence

from shared.dicom.full_validation import MAX_COMMENTS, invalid_elements, without
from shared.dicom.instance import Instance
from tests.services.conftest import odd_instance, read


def found(instance: Instance) -> dict[str, str]:
    return {each.tag: each.message for each in invalid_elements(instance.data_set, instance.metadata).findings}


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def odd(**elements: Any) -> Instance:
    return read(odd_instance(**elements))


def test_a_clean_instance_has_nothing_to_find() -> None:
    instance = odd()
    invalid = invalid_elements(instance.data_set, instance.metadata)
    assert (invalid.paths, invalid.findings) == ((), ())
    assert without(instance.metadata, invalid.paths) is instance.metadata


def test_findings_come_in_the_order_of_tags_and_quote_the_value() -> None:
    instance = odd(StudyDate="NotAValidStudyDate", PatientAge="old", StudyTime="noon")
    assert found(instance) == {
        "00080020": 'Content "NotAValidStudyDate" does not validate VR DA: one of the date values does not match the '
        "pattern YYYYMMDD",
        "00080030": 'Content "noon" does not validate VR TM: value does not match the pattern HH[MM[SS[.FFFFFF]]]',
        "00101010": 'Content "old" does not validate VR AS: value does not match the pattern nnnD, nnnW, nnnM or nnnY',
    }


def test_a_decimal_string_is_judged_by_its_characters_not_its_number() -> None:
    assert list(found(odd(SliceThickness="1.2345678901234567"))) == ["00180050"]
    assert found(odd(SliceThickness="1.23456789012345")) == {}


def test_only_the_element_that_is_invalid_is_left_out_wherever_it_is() -> None:
    with_bad = odd(
        Modality="CT",
        ReferencedStudySequence=Sequence([item(Modality="OT"), item(Modality="bad", PatientAge="001Y")]),
    )
    invalid = invalid_elements(with_bad.data_set, with_bad.metadata)
    assert invalid.paths == (("00081110", 1, "00080060"),)
    assert [each.tag for each in invalid.findings] == ["00080060"]
    kept = without(with_bad.metadata, invalid.paths)
    assert kept["00080060"]["Value"] == ["CT"]
    assert kept["00081110"]["Value"] == [
        {"00080060": {"vr": "CS", "Value": ["OT"]}},
        {"00101010": {"vr": "AS", "Value": ["001Y"]}},
    ]
    assert with_bad.metadata["00081110"]["Value"][1]["00080060"]["Value"] == ["bad"]


def test_sequences_within_sequences_are_gone_through() -> None:
    deep = item(StudyTime="noon")
    for _ in range(20):
        deep = item(ReferencedStudySequence=Sequence([item(), deep]))
    instance = odd(ReferencedStudySequence=Sequence([deep]))
    invalid = invalid_elements(instance.data_set, instance.metadata)
    (path,) = invalid.paths
    assert (len(path), path[-1]) == (2 * 21 + 1, "00080030")
    kept: Any = without(instance.metadata, invalid.paths)
    for name in path[:-1]:
        kept = kept["Value"][name] if isinstance(name, int) else kept[name]
    assert kept == {}


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "PatientID"]
)
def test_what_names_the_instance_is_spoken_of_but_never_left_out(keyword: str) -> None:
    instance = odd(**{keyword: "1.02" if keyword != "PatientID" else "P" * 65})
    invalid = invalid_elements(instance.data_set, instance.metadata)
    assert invalid.paths == ()
    assert len(invalid.findings) == 1


def test_binary_numbers_that_are_not_whole_are_found() -> None:
    file = odd_instance(Rows=4).replace(
        b"\x28\x00\x10\x00US\x02\x00\x04\x00", b"\x28\x00\x10\x00US\x03\x00\x04\x00\x00"
    )
    assert found(read(file)) == {
        "00280010": "Content of 3 bytes does not validate VR US: length is not a multiple of 2"
    }


def test_the_character_set_is_judged_as_any_code() -> None:
    with pytest.warns(UserWarning, match="Specific Character Set"):
        misspelt = odd(SpecificCharacterSet="ISO-IR 100")
    assert list(found(misspelt)) == ["00080005"]
    assert found(odd(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")) == {}


def test_a_file_of_odd_elements_draws_a_bounded_number_of_comments() -> None:
    data_set = item(**{})
    for number in range(2 * MAX_COMMENTS):
        data_set.add_new((0x0009, 0x1001 + number), "CS", "bad")
    data_set.add_new((0x0009, 0x0010), "LO", "MADE UP")
    instance = odd(ReferencedStudySequence=Sequence([data_set]))
    invalid = invalid_elements(instance.data_set, instance.metadata)
    assert (len(invalid.paths), len(invalid.findings)) == (2 * MAX_COMMENTS, MAX_COMMENTS)
    assert list(without(instance.metadata, invalid.paths)["00081110"]["Value"][0]) == ["00090010"]
