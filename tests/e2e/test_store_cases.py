"""What a client can observe of a store of files, case by case, in versions 1 and 2; and of PUT."""

import struct
from collections.abc import Iterator
from typing import Any

import httpx
import pydicom
import pytest
from pydicom import Dataset, Sequence
from pydicom.uid import ImplicitVRLittleEndian

from tests.builders import instance
from tests.e2e.service import (
    DICOM_JSON,
    Api,
    assert_consistent,
    multipart_body,
    new_uid,
    reasons_of,
    stored_uids,
    value_of,
)
from tests.e2e.storing import BOTH, RELATED, assert_clean, comments, items, odd, post, uids_of
from tests.local.hosting import RunningHost


@pytest.fixture(scope="module")
def versions(host: RunningHost) -> Iterator[dict[str, Api]]:
    """A client of each version."""
    with Api(host.url, "v1") as one, Api(host.url, "v2") as two:
        yield {"v1": one, "v2": two}


# Requests


@BOTH
def test_an_empty_body_of_one_instance_is_a_conflict(versions: dict[str, Api], version: str) -> None:
    for answer in (
        post(versions[version], b"", "application/dicom"),
        post(versions[version], multipart_body(b""), RELATED),
    ):
        assert answer.status_code == 409
        assert items(answer, "00081198") == [{"00081197": {"vr": "US", "Value": [43264]}}]


@BOTH
@pytest.mark.parametrize("accept", ["application/dicom", "application/data", "text/plain"])
def test_an_answer_nobody_accepts_is_refused(versions: dict[str, Api], version: str, accept: str) -> None:
    assert post(versions[version], b"", "application/dicom", accept).status_code == 406


@BOTH
@pytest.mark.parametrize(
    ("accept", "content_type", "path", "body", "status"),
    [
        ("application/dicom", "text/plain", "/not-a-uid", b"", 406),
        (DICOM_JSON, "text/plain", "/not-a-uid", b"", 415),
        (DICOM_JSON, "application/dicom; transfer-syntax=1.2", "/not-a-uid", b"", 415),
        (DICOM_JSON, "application/dicom", "/not-a-uid", b"", 400),
        (DICOM_JSON, "multipart/related", "/not-a-uid", b"no delimiter", 415),
        (DICOM_JSON, RELATED, "/not-a-uid", b"no delimiter", 400),
        (DICOM_JSON, "multipart/related", "", b"no delimiter", 415),
        (DICOM_JSON, "multipart/related", "", b"", 415),
        (DICOM_JSON, f"{RELATED}; start=x", "", b"", 400),
        (DICOM_JSON, "application/dicom", "?x=%3Cscript", b"", 400),
        ("application/dicom", "text/plain", "?x=<", b"", 400),
    ],
)
def test_checks_fire_in_the_order_of_the_original(
    versions: dict[str, Api], version: str, accept: str, content_type: str, path: str, body: bytes, status: int
) -> None:
    assert post(versions[version], body, content_type, accept, path).status_code == status


def test_an_unknown_version_comes_before_everything_else(host: RunningHost) -> None:
    with httpx.Client(base_url=host.url, trust_env=False) as http:
        answer = http.post("/v3/studies/not-a-uid", headers={"Accept": "text/plain", "Content-Type": "text/plain"})
    assert answer.status_code == 400
    assert "version" in answer.text


@BOTH
@pytest.mark.parametrize("uid", ["abc.123", "11|"])
def test_a_study_uid_that_is_none_is_a_conflict(versions: dict[str, Api], version: str, uid: str) -> None:
    study = new_uid()
    answer = versions[version].store(odd(study, StudyInstanceUID=uid))
    assert answer.status_code == 409
    assert "00081199" not in answer.json()
    (failed,) = items(answer, "00081198")
    assert value_of(failed, "00081155") == f"{study}.1.1"
    assert reasons_of(answer) == [43264]
    assert comments(failed)[0].startswith("DICOM100: (0020,000d) - Dicom element 'StudyInstanceUID' failed validation")


# Bytes


@BOTH
def test_what_was_stored_as_one_part_comes_back_byte_for_byte(versions: dict[str, Api], version: str) -> None:
    api, study = versions[version], new_uid()
    row = struct.pack("<7240B", *(number % 251 for number in range(7240)))
    file = instance(**uids_of(study), rows=7240, columns=7240, PixelData=row * 7240)
    assert_clean(post(api, file, "application/dicom", path=f"/{study}"))
    path = f"studies/{study}/series/{study}.1/instances/{study}.1.1"
    answer = api.get(path, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
    assert answer.headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert answer.content == file
    assert api.delete(f"studies/{study}") == 204


@BOTH
def test_what_was_stored_as_several_parts_comes_back_byte_for_byte(versions: dict[str, Api], version: str) -> None:
    api, study = versions[version], new_uid()
    files = [instance(**uids_of(study, number), rows=4000, columns=4000 - 2 * number) for number in (1, 2, 3)]
    answer = api.store(*files)
    assert_clean(answer)
    assert stored_uids(answer) == [f"{study}.1.{number}" for number in (1, 2, 3)]
    for number, file in enumerate(files, start=1):
        assert api.files(f"studies/{study}/series/{study}.1/instances/{study}.1.{number}") == [file]
    assert api.delete(f"studies/{study}") == 204


# Values


@BOTH
def test_several_values_of_an_indexed_attribute_draw_a_header_and_nothing_more(
    host: RunningHost, versions: dict[str, Api], version: str
) -> None:
    api, study = versions[version], new_uid()
    answer = api.store(instance(**uids_of(study), StudyDescription=["first", "second"]))
    assert_clean(answer)
    at = host.url.removeprefix("http://")
    text = "One or more indexed Dicom tag(s) have multiple values, only first value is indexed."
    assert answer.headers["warning"] == f'299 {at}: "{text}"'
    assert len(api.search("studies", StudyInstanceUID=study, StudyDescription="first")) == 1
    assert "warning" not in api.store(instance(**uids_of(study, 2))).headers
    refused = api.store(instance(**uids_of(study), StudyDescription=["first", "second"]))
    assert (refused.status_code, "warning" in refused.headers) == (409, False)


@BOTH
def test_a_study_uid_padded_with_spaces_is_the_same_study(versions: dict[str, Api], version: str) -> None:
    api, study = versions[version], new_uid()
    file = odd(study, StudyInstanceUID=study + " ")
    assert_clean(api.store(file, study=study))
    (found,) = api.files(f"studies/{study}")
    assert found == file
    assert value_of(api.metadata(f"studies/{study}%20")[0], "0020000D").rstrip() == study
    again = api.store(odd(study, StudyInstanceUID=study + " " * 6))
    assert (again.status_code, reasons_of(again)) == (409, [45070])


@BOTH
def test_a_private_attribute_of_implicit_vr_stays_in_the_file_alone(versions: dict[str, Api], version: str) -> None:
    api, study = versions[version], new_uid()
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.1"}
    plain = pydicom.dcmread(pydicom.filebase.DicomBytesIO(instance()))
    for keyword, value in uids.items():
        setattr(plain, keyword, value)
    plain.add_new(0x00070008, "LO", "private")
    plain.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made = pydicom.filebase.DicomBytesIO()
    plain.save_as(made, implicit_vr=True, little_endian=True)
    answer = api.store(made.getvalue())
    assert answer.status_code == (200 if version == "v1" else 202)
    (item,) = items(answer)
    assert value_of(item, "00081196") == 45063
    assert comments(item) == []
    (file,) = api.files(f"studies/{study}")
    assert b"private" in file
    (metadata,) = api.metadata(f"studies/{study}")
    assert "00070008" not in metadata
    assert value_of(metadata, "0020000D") == study


def test_version_1_refuses_an_indexed_attribute_that_breaks_a_rule(versions: dict[str, Api]) -> None:
    study = new_uid()
    answer = versions["v1"].store(odd(study, StudyDate="NotAValidStudyDate"))
    assert (answer.status_code, reasons_of(answer)) == (409, [43264])
    assert versions["v1"].metadata(f"studies/{study}") == []


def test_version_1_says_what_is_wrong_with_a_patient_id(versions: dict[str, Api]) -> None:
    answer = versions["v1"].store(odd(new_uid(), PatientID="Before Null Character, \0"))
    assert answer.status_code == 409
    (failed,) = items(answer, "00081198")
    assert comments(failed) == [
        "DICOM100: (0010,0020) - Dicom element 'PatientID' failed validation for VR 'LO': "
        "Value contains invalid character."
    ]


def test_version_2_drops_an_indexed_attribute_that_breaks_a_rule(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    file = odd(study, StudyDate="NotAValidStudyDate", PatientBirthDate="20220315")
    answer = api.store(file)
    assert answer.status_code == 202
    (item,) = items(answer)
    assert value_of(item, "00081196") == 1
    assert comments(item) == [
        'DICOM100: (0008,0020) - Content "NotAValidStudyDate" does not validate VR DA: '
        "one of the date values does not match the pattern YYYYMMDD"
    ]
    assert api.files(f"studies/{study}") == [file]
    (metadata,) = api.metadata(f"studies/{study}")
    assert "00080020" not in metadata
    assert value_of(metadata, "00100030") == "20220315"
    found = api.search("studies", PatientBirthDate="20220315", StudyInstanceUID=study)
    assert [value_of(each, "0020000D") for each in found] == [study]
    refused = api.get("studies", StudyDate="NotAValidStudyDate")
    assert refused.status_code == 400
    assert refused.text == (
        "Invalid query: specified Date value 'NotAValidStudyDate' is invalid for attribute 'StudyDate'. "
        "Date should be valid and formatted as yyyyMMdd."
    )


def test_version_2_looks_at_every_element_and_drops_those_that_are_invalid(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    nested = Dataset()
    with pydicom.config.disable_value_validation():
        nested.StudyTime, nested.Modality = "noon", "CT"
    file = odd(study, PatientAge="old", StudyTime="101500", ReferencedStudySequence=Sequence([nested]))
    answer = api.store(file)
    assert answer.status_code == 202
    (item,) = items(answer)
    assert [comment[:21] for comment in comments(item)] == ["DICOM100: (0008,0030)", "DICOM100: (0010,1010)"]
    (metadata,) = api.metadata(f"studies/{study}")
    assert "00101010" not in metadata
    # Only the one in the sequence is invalid.
    assert value_of(metadata, "00080030") == "101500"
    assert metadata["00081110"]["Value"] == [{"00080060": {"vr": "CS", "Value": ["CT"]}}]
    assert_clean(versions["v1"].store(odd(new_uid(), PatientAge="old")))


def test_a_nul_within_a_value_is_invalid_in_version_2(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    answer = api.store(odd(study, Modality="X\0X"))
    assert answer.status_code == 202
    (comment,) = comments(items(answer)[0])
    assert comment.endswith("does not validate VR CS: value contains invalid character")
    assert "\0" not in comment
    assert "00080060" not in api.metadata(f"studies/{study}")[0]


def test_a_nul_behind_a_value_is_padding_in_version_2(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    file = odd(study, Modality="X\0")
    assert_clean(api.store(file))
    assert api.files(f"studies/{study}") == [file]
    assert value_of(api.metadata(f"studies/{study}")[0], "00080060") == "X\0"
    for asked in ("X", "X\0"):
        found = api.search(f"studies/{study}/series", Modality=asked)
        assert [value_of(each, "0020000E") for each in found] == [f"{study}.1"]


def test_a_study_uid_padded_with_a_nul_is_the_same_study_in_version_2(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    assert_clean(api.store(odd(study, StudyInstanceUID=study + "\0"), study=study))
    assert len(api.files(f"studies/{study}")) == 1
    assert api.delete(f"studies/{study}") == 204
    assert api.files(f"studies/{study}") == []


@pytest.mark.parametrize(
    ("patient", "stored"), [("123\0", True), ("\x00123\0", False), ("1\x0023", False), ("P" * 65, False)]
)
def test_a_patient_id_with_nuls_in_version_2(versions: dict[str, Api], patient: str, stored: bool) -> None:
    answer = versions["v2"].store(odd(new_uid(), PatientID=patient))
    if stored:
        assert_clean(answer)
    else:
        assert (answer.status_code, reasons_of(answer)) == (409, [43264])


def test_the_patient_id_of_a_study_is_the_last_one_that_was_told(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()

    def patient() -> Any:
        (found,) = api.search("studies", StudyInstanceUID=study)
        return found.get("00100020", {}).get("Value", [None])[0]

    for number, (told, status, expected) in enumerate([("", 202, None), ("123", 200, "123"), ("", 202, "123")]):
        answer = api.store(odd(study, number, PatientID=told))
        assert answer.status_code == status
        (item,) = items(answer)
        missing = ["DICOM100: (0010,0020) - The required tag '(0010,0020)' is missing."]
        assert comments(item) == ([] if told else missing)
        assert item.get("00081196", {}).get("Value") == (None if told else [1])
        assert patient() == expected
    assert api.store(odd(study, 9, PatientID=None)).status_code == 409


def test_version_1_needs_a_patient_id(versions: dict[str, Api]) -> None:
    for patient in ("", None):
        answer = versions["v1"].store(odd(new_uid(), PatientID=patient))
        assert (answer.status_code, reasons_of(answer)) == (409, [43264])
        assert comments(items(answer, "00081198")[0]) == [
            "DICOM100: (0010,0020) - The required tag '(0010,0020)' is missing."
        ]


@BOTH
@pytest.mark.parametrize("change", ["pixels", "value", "behind"])
def test_a_file_that_is_cut_short_is_kept_with_a_warning(versions: dict[str, Api], version: str, change: str) -> None:
    study = new_uid()
    whole = odd(study, ImageComments="to be cut" * 9)
    at = {"pixels": whole[:-4], "value": whole[: whole.index(b"to be cut") + 20], "behind": whole + b"rubbish!"}
    answer = versions[version].store(at[change])
    assert answer.status_code == (200 if version == "v1" else 202)
    (item,) = items(answer)
    assert value_of(item, "00081196") == 45063
    (file,) = versions[version].files(f"studies/{study}")
    assert file == at[change]


def test_of_two_warnings_the_one_about_the_encoding_is_given_with_the_comments_of_the_other(
    versions: dict[str, Api],
) -> None:
    answer = versions["v2"].store(odd(new_uid(), transfer_syntax=ImplicitVRLittleEndian, StudyDate="never"))
    assert answer.status_code == 202
    (item,) = items(answer)
    assert value_of(item, "00081196") == 45063
    assert len(comments(item)) == 1


@BOTH
def test_one_uid_for_everything_is_fine(versions: dict[str, Api], version: str) -> None:
    api, uid = versions[version], new_uid()
    assert_clean(api.store(instance(study=uid, series=uid, sop=uid)))
    assert len(api.files(f"studies/{uid}/series/{uid}/instances/{uid}")) == 1


# PUT


@BOTH
def test_put_replaces_an_instance_and_everything_that_is_known_of_it(versions: dict[str, Api], version: str) -> None:
    api, study = versions[version], new_uid()
    path = f"studies/{study}"
    old = [instance(**uids_of(study, number), PatientID="OLD", Modality="CT") for number in (1, 2)]
    assert_clean(api.store(*old))
    before = {where: api.get(f"{where}/metadata").headers["etag"] for where in (path, f"{path}/series/{study}.1")}
    new = instance(**uids_of(study, 1), PatientID="NEW", Modality="MR", rows=8)
    assert_clean(api.store(new, method="PUT", study=study))
    assert assert_consistent(api, study) == {f"{study}.1.1", f"{study}.1.2"}
    assert sorted(api.files(path)) == sorted([new, old[1]])
    assert len(api.search("studies", StudyInstanceUID=study, PatientID="NEW")) == 1
    assert api.search("studies", StudyInstanceUID=study, PatientID="OLD") == []
    for where, tag in before.items():
        answer = api.http.get(f"/{where}/metadata", headers={"Accept": DICOM_JSON, "If-None-Match": tag})
        assert answer.status_code == 200
        assert answer.headers["etag"] != tag


@BOTH
def test_put_of_the_same_instance_twice_in_a_request_leaves_the_last(versions: dict[str, Api], version: str) -> None:
    api, study = versions[version], new_uid()
    first, second = (instance(**uids_of(study), rows=rows) for rows in (4, 8))
    answer = api.store(first, second, method="PUT")
    assert answer.status_code in (200, 202)
    assert api.files(f"studies/{study}") == [second]
    assert assert_consistent(api, study) == {f"{study}.1.1"}


@BOTH
def test_put_that_fails_leaves_what_was_stored(versions: dict[str, Api], version: str) -> None:
    api, study = versions[version], new_uid()
    file = instance(**uids_of(study))
    assert_clean(api.store(file))
    for bad in (odd(study, PatientID="P" * 65), b"junk"):
        assert api.store(bad, method="PUT").status_code == 409
    assert api.store(instance(**uids_of(study), rows=8), method="PUT", study=f"{study}.9").status_code == 409
    assert api.files(f"studies/{study}") == [file]
