"""Which instances are stored, under the rules of version 1 (strict) and version 2 (lenient)."""

from typing import Any

import pytest
from pydicom import Dataset, config
from pydicom.uid import ImplicitVRLittleEndian

from shared.dicomweb.store_response import FailureReason, WarningReason
from shared.services.judging import Outcome, StoreRequest, judge
from tests.builders import INSTANCE, SECONDARY_CAPTURE, SERIES, STUDY
from tests.services.conftest import odd_instance, read

V1, V2 = False, True
CANNOT_UNDERSTAND = FailureReason.CANNOT_UNDERSTAND
INCOMPLETE = WarningReason.INDEXED_WITHOUT_INVALID_ATTRIBUTES
IMPLICIT = WarningReason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS


def odd_item(**elements: Any) -> Dataset:
    """An item of a sequence."""
    with config.disable_value_validation():
        made = Dataset()
        for keyword, value in elements.items():
            setattr(made, keyword, value)
        return made


def judged(*, lenient: bool, study: str | None = None, **elements: Any) -> tuple[Outcome, set[str]]:
    """The outcome for an instance, and the tags of what goes into the index."""
    instance = read(odd_instance(**elements))
    outcome, kept = judge(instance, StoreRequest(study, replaces=False, lenient=lenient))
    return outcome, set(kept.metadata)


@pytest.mark.parametrize("lenient", [V1, V2], ids=["v1", "v2"])
def test_a_clean_instance_is_stored_without_comments(lenient: bool) -> None:
    outcome, kept = judged(lenient=lenient)
    assert (outcome.failure, outcome.warning, outcome.comments) == (None, None, ())
    assert outcome.key is not None
    assert (outcome.key.study, outcome.key.series, outcome.key.instance) == (STUDY, SERIES, INSTANCE)
    assert (outcome.sop_class, outcome.sop_instance) == (SECONDARY_CAPTURE, INSTANCE)
    assert {"00100010", "00080020", "00280010", "7FE00010"} <= kept


@pytest.mark.parametrize("lenient", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
@pytest.mark.parametrize(
    "value", [None, "abc.123", "11|", "1.2.", "1" * 65, ["1.2", "1.3"]], ids=lambda value: repr(value)[:12]
)
def test_no_instance_is_stored_without_one_valid_uid_each(lenient: bool, keyword: str, value: Any) -> None:
    outcome, _ = judged(lenient=lenient, **{keyword: value})
    assert (outcome.failure, outcome.key) == (CANNOT_UNDERSTAND, None)
    assert outcome.comments


@pytest.mark.parametrize("lenient", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_uid_is_none(lenient: bool, keyword: str, value: str) -> None:
    outcome, _ = judged(lenient=lenient, **{keyword: value})
    assert outcome.failure is CANNOT_UNDERSTAND


@pytest.mark.parametrize(
    ("lenient", "value", "failure", "warning"),
    [
        (V1, None, CANNOT_UNDERSTAND, None),
        (V1, "", CANNOT_UNDERSTAND, None),
        (V1, "P" * 65, CANNOT_UNDERSTAND, None),
        (V1, "Before Null, \0", CANNOT_UNDERSTAND, None),
        (V1, "123\0", CANNOT_UNDERSTAND, None),
        (V2, None, CANNOT_UNDERSTAND, None),
        (V2, "", None, INCOMPLETE),
        (V2, "P" * 65, CANNOT_UNDERSTAND, None),
        (V2, "123\0", None, None),
        (V2, "\x00123\0", CANNOT_UNDERSTAND, None),
        (V2, "1\x0023", CANNOT_UNDERSTAND, None),
    ],
)
def test_patient_id_must_be_there_and_from_version_2_may_be_empty(
    lenient: bool, value: str | None, failure: FailureReason | None, warning: WarningReason | None
) -> None:
    outcome, _ = judged(lenient=lenient, PatientID=value)
    assert (outcome.failure, outcome.warning) == (failure, warning)
    if not value:
        assert [(each.tag, each.message) for each in outcome.comments] == [
            ("00100020", "The required tag '(0010,0020)' is missing.")
        ]


def test_the_comment_on_a_patient_id_with_a_nul_is_that_of_the_original_service() -> None:
    outcome, _ = judged(lenient=V1, PatientID="Before Null Character, \0")
    assert [each.message for each in outcome.comments] == [
        "Dicom element 'PatientID' failed validation for VR 'LO': Value contains invalid character."
    ]


#: Values that break a rule of an attribute that is indexed, and the end of the comment on it.
BROKEN = {
    "00080020": ("StudyDate", "NotAValidStudyDate", "valid date."),
    "00100030": ("PatientBirthDate", "20230229", "valid date."),
    "00080050": ("AccessionNumber", "A" * 17, "maximum length of 16."),
    "00080060": ("Modality", "C" * 17, "maximum length of 16."),
    "00081030": ("StudyDescription", "D" * 65, "maximum length of 64."),
    "00081090": ("ManufacturerModelName", "tab\there", "invalid character."),
    "00100010": ("PatientName", "a=b=c=d", "more than 3 groups."),
    "00080090": ("ReferringPhysicianName", "a^b^c^d^e^f", "more than 5 components."),
    "00400244": ("PerformedProcedureStepStartDate", "2024-02-29", "valid date."),
}


@pytest.mark.parametrize("tag", BROKEN)
def test_an_indexed_attribute_that_breaks_a_rule_fails_version_1(tag: str) -> None:
    keyword, value, end = BROKEN[tag]
    outcome, _ = judged(lenient=V1, **{keyword: value})
    assert outcome.failure is CANNOT_UNDERSTAND
    (comment,) = outcome.comments
    assert comment.tag == tag
    assert comment.message.startswith(f"Dicom element '{keyword}' failed validation for VR")
    assert comment.message.endswith(end)
    assert value not in comment.message


#: What version 2, which asks whether a value is one of its VR, makes of them.
BROKEN_IN_2 = [tag for tag in BROKEN if tag != "00100030"]  # eight digits that no calendar has pass


@pytest.mark.parametrize("tag", BROKEN_IN_2)
def test_an_indexed_attribute_that_breaks_a_rule_is_left_out_from_version_2_on(tag: str) -> None:
    keyword, value, _ = BROKEN[tag]
    outcome, kept = judged(lenient=V2, **{keyword: value})
    assert (outcome.failure, outcome.warning) == (None, INCOMPLETE)
    (comment,) = outcome.comments
    assert comment.tag == tag
    assert comment.message.startswith('Content "')
    assert tag not in kept
    assert "00100020" in kept


@pytest.mark.parametrize(
    ("elements", "tags"),
    [
        ({"PatientAge": "old"}, ["00101010"]),
        ({"StudyTime": "noon"}, ["00080030"]),
        ({"StationName": "S" * 40, "PatientAge": "1"}, ["00081010", "00101010"]),
        ({"ReferencedStudySequence": [odd_item(StudyTime="noon")]}, ["00080030"]),
    ],
)
def test_what_is_not_indexed_is_looked_at_by_version_2_alone(elements: dict[str, Any], tags: list[str]) -> None:
    outcome, kept = judged(lenient=V2, **elements)
    assert (outcome.failure, outcome.warning) == (None, INCOMPLETE)
    assert [comment.tag for comment in outcome.comments] == tags
    assert not set(tags) & kept
    strict, kept = judged(lenient=V1, **elements)
    assert (strict.failure, strict.warning, strict.comments) == (None, None, ())
    assert "ReferencedStudySequence" not in elements or "00081110" in kept


def test_a_failure_of_version_2_tells_everything_that_is_wrong() -> None:
    outcome, _ = judged(lenient=V2, StudyInstanceUID="abc", StudyTime="noon", PatientID=None)
    assert outcome.failure is CANNOT_UNDERSTAND
    assert [comment.tag for comment in outcome.comments] == ["00100020", "0020000D", "00080030", "0020000D"]


@pytest.mark.parametrize("lenient", [V1, V2], ids=["v1", "v2"])
def test_a_uid_with_leading_zeros_names_its_instance_all_the_same(lenient: bool) -> None:
    outcome, kept = judged(lenient=lenient, StudyInstanceUID="1.02", FrameOfReferenceUID="1.03")
    assert outcome.failure is None
    assert outcome.key is not None and outcome.key.study == "1.02"
    assert "0020000D" in kept
    assert [comment.tag for comment in outcome.comments] == (["0020000D", "00200052"] if lenient else [])
    assert ("00200052" in kept) is not lenient


@pytest.mark.parametrize("lenient", [V1, V2], ids=["v1", "v2"])
def test_several_values_of_an_indexed_attribute_are_noticed_and_nothing_more(lenient: bool) -> None:
    outcome, kept = judged(lenient=lenient, StudyDescription=["one", "two"])
    assert (outcome.failure, outcome.warning, outcome.several_values) == (None, None, True)
    assert "00081030" in kept
    assert judged(lenient=lenient)[0].several_values is False


@pytest.mark.parametrize("lenient", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    "elements",
    [
        {"PatientName": "x" * 64},
        {"StudyDate": ""},
        {"StudyDescription": ["one", "two"]},
        {"SeriesInstanceUID": STUDY, "SOPInstanceUID": STUDY},
    ],
    ids=lambda elements: next(iter(elements)),
)
def test_what_no_rule_forbids_is_stored_without_comments(lenient: bool, elements: dict[str, Any]) -> None:
    outcome, _ = judged(lenient=lenient, **elements)
    assert (outcome.failure, outcome.warning, outcome.comments) == (None, None, ())


@pytest.mark.parametrize("lenient", [V1, V2], ids=["v1", "v2"])
def test_implicit_vr_draws_a_warning_that_goes_before_the_other(lenient: bool) -> None:
    outcome, _ = judged(lenient=lenient, transfer_syntax=ImplicitVRLittleEndian)
    assert (outcome.failure, outcome.warning, outcome.comments) == (None, IMPLICIT, ())
    if lenient:
        both, _ = judged(lenient=V2, transfer_syntax=ImplicitVRLittleEndian, StudyDate="never")
        assert both.warning is IMPLICIT
        assert [comment.tag for comment in both.comments] == ["00080020"]


@pytest.mark.parametrize("lenient", [V1, V2], ids=["v1", "v2"])
def test_an_instance_of_another_study_fails_without_comments(lenient: bool) -> None:
    outcome, _ = judged(lenient=lenient, study="1.2.3")
    assert (outcome.failure, outcome.comments, outcome.sop_instance) == (CANNOT_UNDERSTAND, (), INSTANCE)


@pytest.mark.parametrize("padding", ["\0", " ", "   "])
def test_padding_of_uids_does_not_count(padding: str) -> None:
    outcome, _ = judged(lenient=V2, study=STUDY, StudyInstanceUID=STUDY + padding, SOPInstanceUID=INSTANCE + padding)
    assert outcome.failure is None
    assert outcome.key is not None
    assert (outcome.key.study, outcome.key.instance) == (STUDY, INSTANCE)


def test_a_patient_id_of_nothing_but_nuls_is_missing() -> None:
    outcome, _ = judged(lenient=True, PatientID="\0\0")
    assert outcome.failure is None
    assert [each.message for each in outcome.comments] == ["The required tag '(0010,0020)' is missing."]
