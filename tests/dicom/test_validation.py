"""The strict validators, as a table of values and the messages clients see."""

import pytest

from shared.dicom.validation import INDEXED, REQUIRED, Finding, findings, has_several_values, is_uid, missing

UIDS = {
    "0020000D": {"vr": "UI", "Value": ["1.2"]},
    "0020000E": {"vr": "UI", "Value": ["1.2.3"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
    "00100020": {"vr": "LO", "Value": ["ID"]},
}


@pytest.mark.parametrize("tag", REQUIRED)
def test_each_required_attribute_is_missed_when_it_is_absent_or_empty(tag: str) -> None:
    assert missing(UIDS) == []
    assert missing({each: element for each, element in UIDS.items() if each != tag}) == [tag]
    assert missing({**UIDS, tag: {"vr": UIDS[tag]["vr"]}}) == [tag]
    assert missing({**UIDS, tag: {"vr": UIDS[tag]["vr"], "Value": [None]}}) == [tag]


def test_a_required_uid_must_have_one_value() -> None:
    assert missing({**UIDS, "00080018": {"vr": "UI", "Value": ["1.2", "1.3"]}}) == ["00080018"]


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("1.2.3", True),
        ("1.02.3", True),
        ("1..3", True),
        (".1", True),
        ("1.2.3  ", True),
        ("1" * 64, True),
        ("1" * 65, False),
        ("1.2.", False),
        ("", False),
        (" ", False),
        ("abc.123", False),
        ("11|", False),
        ("1.2\n", False),
        ("１.２", False),
    ],
)
def test_uids(value: str, passes: bool) -> None:
    assert is_uid(value) is passes


def failed(keyword: str, vr: str, reason: str) -> str:
    return f"Dicom element '{keyword}' failed validation for VR '{vr}': {reason}"


LENGTH_16, LENGTH_64 = "Value length exceeds maximum length of 16.", "Value length exceeds maximum length of 64."
CHARACTER, DATE = "Value contains invalid character.", "Value cannot be parsed as a valid date."


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("00080050", "A" * 16, None),
        ("00080050", "A" * 17, failed("AccessionNumber", "SH", LENGTH_16)),
        ("00080060", "C" * 17, failed("Modality", "CS", LENGTH_16)),
        ("00080020", "20200229", None),
        ("00080020", "20190229", failed("StudyDate", "DA", DATE)),
        ("00080020", "2020.01.01", failed("StudyDate", "DA", DATE)),
        ("00080020", "NotAValidStudyDate", failed("StudyDate", "DA", DATE)),
        ("00081030", "D" * 65, failed("StudyDescription", "LO", LENGTH_64)),
        ("00081030", "tab\there", failed("StudyDescription", "LO", CHARACTER)),
        ("00081030", "esc\x1b(B", None),
        ("00100010", "a=b=c=d", failed("PatientName", "PN", "Value contains more than 3 groups.")),
        ("00100010", "a^b^c^d^e^f", failed("PatientName", "PN", "Value contains more than 5 components.")),
        ("00100010", "a" * 64 + "=" + "b" * 64, None),
        (
            "00100010",
            "a" * 65,
            failed("PatientName", "PN", "One or more group of person name exceeds maxium length of 64."),
        ),
        ("00100010", "a\0b", failed("PatientName", "PN", CHARACTER)),
        ("00080061", "X" * 100, None),  # computed: what a file says of it is not looked at
        ("00081080", "not indexed " * 10, None),
    ],
)
def test_indexed_values(tag: str, value: str, message: str | None) -> None:
    found = findings({**UIDS, tag: {"vr": INDEXED.get(tag, "LO"), "Value": [value]}}, trailing_nuls_count=True)
    assert found == ([] if message is None else [Finding(tag, message)])


def test_trailing_nuls_count_only_in_v1_and_inner_ones_always() -> None:
    padded = {**UIDS, "00100020": {"vr": "LO", "Value": ["123\0"]}}
    assert [each.tag for each in findings(padded, trailing_nuls_count=True)] == ["00100020"]
    assert findings(padded, trailing_nuls_count=False) == []
    inner = {**UIDS, "00100020": {"vr": "LO", "Value": ["\000123\0"]}}
    assert [each.tag for each in findings(inner, trailing_nuls_count=False)] == ["00100020"]


def test_only_the_first_value_is_looked_at_and_no_message_holds_it() -> None:
    secret = "Secret" * 20
    found = findings({**UIDS, "00081030": {"vr": "LO", "Value": [secret, secret]}}, trailing_nuls_count=False)
    assert len(found) == 1 and "Secret" not in found[0].message


def test_an_indexed_attribute_of_another_vr_is_found() -> None:
    assert findings({**UIDS, "00080020": {"vr": "LO", "Value": ["20200101"]}}, trailing_nuls_count=True) == [
        Finding("00080020", failed("StudyDate", "DA", "The element is expected to have VR 'DA' but has VR 'LO'."))
    ]


def test_only_the_attributes_asked_about_are_looked_at() -> None:
    broken = {**UIDS, "00080020": {"vr": "DA", "Value": ["never"]}, "00100020": {"vr": "LO", "Value": ["x" * 65]}}
    assert [each.tag for each in findings(broken, REQUIRED, trailing_nuls_count=False)] == ["00100020"]


@pytest.mark.parametrize(
    ("tag", "values", "several"),
    [
        ("00081030", ["one", "two"], True),
        ("00081030", ["one", None], True),
        ("00081030", ["one"], False),
        ("00080061", ["CT", "MR"], False),  # computed by the index
        ("00080008", ["ORIGINAL", "PRIMARY"], False),  # not indexed
    ],
)
def test_several_values_of_an_indexed_attribute_are_noticed(tag: str, values: list[str], several: bool) -> None:
    assert has_several_values({**UIDS, tag: {"vr": "LO", "Value": values}}) is several
