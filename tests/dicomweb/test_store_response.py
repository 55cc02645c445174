"""The answer to a store: exact shapes for both versions, and the status."""

import json

import pytest

from shared.dicom.validation import Finding
from shared.dicomweb.store_response import (
    Failed,
    FailureReason,
    Stored,
    StoreResponse,
    WarningReason,
    several_values_warning,
    store_response,
)
from shared.dicomweb.versions import V1, V2, ApiVersion

STUDY_URL = "https://h/v2/studies/1"
CT = "1.2.840.10008.5.1.4.1.1.2"
CLEAN = Stored(CT, "1.2.3", "https://h/v2/studies/1/series/2/instances/1.2.3")
AGE = Finding("00101010", "Dicom element 'PatientAge' failed validation for VR 'AS': Value length is not 4.")
DATE = Finding("0008002a", "Value cannot be parsed as a valid date.")
WARNED = Stored(CT, "1.2.4", "u", WarningReason.INDEXED_WITHOUT_INVALID_ATTRIBUTES, (AGE, DATE, AGE))
IMPLICIT = Stored(CT, "1.2.5", "u", WarningReason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
TWICE = Failed(CT, "1.2.3", FailureReason.ALREADY_EXISTS)
UNREADABLE = Failed(None, None, FailureReason.CANNOT_UNDERSTAND)
INVALID = Failed(CT, "1.2.x", FailureReason.CANNOT_UNDERSTAND, (AGE,))


@pytest.mark.parametrize("version", [V1, V2])
def test_nothing_to_store_is_204_without_a_body(version: ApiVersion) -> None:
    assert store_response(version, [], STUDY_URL) == StoreResponse(204, None)


@pytest.mark.parametrize(
    ("outcomes", "v1", "v2"),
    [
        ([CLEAN], 200, 200),
        ([CLEAN, WARNED], 200, 202),
        ([IMPLICIT], 200, 202),
        ([CLEAN, TWICE], 202, 202),
        ([TWICE], 409, 409),
        ([UNREADABLE, INVALID], 409, 409),
    ],
)
def test_the_status_follows_from_the_outcomes(outcomes: list[Stored | Failed], v1: int, v2: int) -> None:
    assert store_response(V1, outcomes).status == v1
    assert store_response(V2, outcomes).status == v2


def test_a_clean_success_of_v1() -> None:
    assert store_response(V1, [CLEAN]).body == {
        "00081199": {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": [CT]},
                    "00081155": {"vr": "UI", "Value": ["1.2.3"]},
                    "00081190": {"vr": "UR", "Value": ["https://h/v2/studies/1/series/2/instances/1.2.3"]},
                }
            ],
        }
    }


def test_a_clean_success_of_v2_has_an_empty_failed_attributes_sequence() -> None:
    body = store_response(V2, [CLEAN]).body
    assert body is not None
    assert body["00081199"]["Value"][0]["00741048"] == {"vr": "SQ"}


def test_a_warned_success_of_v2_lists_one_comment_for_each_attribute() -> None:
    body = store_response(V2, [WARNED]).body
    assert body is not None
    assert body["00081199"]["Value"] == [
        {
            "00081150": {"vr": "UI", "Value": [CT]},
            "00081155": {"vr": "UI", "Value": ["1.2.4"]},
            "00081190": {"vr": "UR", "Value": ["u"]},
            "00081196": {"vr": "US", "Value": [1]},
            "00741048": {
                "vr": "SQ",
                "Value": [
                    {"00000902": {"vr": "LO", "Value": [f"DICOM100: (0010,1010) - {AGE.message}"]}},
                    {"00000902": {"vr": "LO", "Value": [f"DICOM100: (0008,002a) - {DATE.message}"]}},
                ],
            },
        }
    ]


def test_a_success_of_v1_carries_its_warning_only() -> None:
    body = store_response(V1, [IMPLICIT]).body
    assert body is not None
    item = body["00081199"]["Value"][0]
    assert item["00081196"] == {"vr": "US", "Value": [45063]}
    assert "00741048" not in item


@pytest.mark.parametrize("version", [V1, V2])
def test_failures_give_what_could_be_read(version: ApiVersion) -> None:
    assert store_response(version, [UNREADABLE, INVALID, TWICE], STUDY_URL).body == {
        "00081198": {
            "vr": "SQ",
            "Value": [
                {"00081197": {"vr": "US", "Value": [43264]}},
                {
                    "00081150": {"vr": "UI", "Value": [CT]},
                    "00081155": {"vr": "UI", "Value": ["1.2.x"]},
                    "00081197": {"vr": "US", "Value": [43264]},
                    "00741048": {
                        "vr": "SQ",
                        "Value": [{"00000902": {"vr": "LO", "Value": [f"DICOM100: (0010,1010) - {AGE.message}"]}}],
                    },
                },
                {
                    "00081150": {"vr": "UI", "Value": [CT]},
                    "00081155": {"vr": "UI", "Value": ["1.2.3"]},
                    "00081197": {"vr": "US", "Value": [45070]},
                },
            ],
        }
    }


def test_the_study_url_is_given_when_the_request_named_a_study_and_something_was_stored() -> None:
    mixed = store_response(V2, [TWICE, CLEAN], STUDY_URL).body
    assert mixed is not None
    assert list(mixed) == ["00081190", "00081198", "00081199"]
    assert mixed["00081190"] == {"vr": "UR", "Value": [STUDY_URL]}
    assert "00081190" not in (store_response(V2, [CLEAN]).body or {})
    assert "00081190" not in (store_response(V2, [TWICE], STUDY_URL).body or {})


def test_attributes_come_in_the_order_of_tags_and_are_plain_json() -> None:
    body = store_response(V2, [WARNED, INVALID], STUDY_URL).body
    assert body is not None
    text = json.dumps(body)
    assert json.loads(text, object_pairs_hook=lambda pairs: [key for key, _ in pairs])  # parses
    for item in (body, body["00081198"]["Value"][0], body["00081199"]["Value"][0]):
        assert list(item) == sorted(item)
    assert "FailureReason" not in text


def test_reason_codes_are_those_of_the_original_service() -> None:
    assert {reason.name: int(reason) for reason in (*FailureReason, *WarningReason)} == {
        "PROCESSING_FAILURE": 272,
        "CANNOT_UNDERSTAND": 43264,
        "ALREADY_EXISTS": 45070,
        "INDEXED_WITHOUT_INVALID_ATTRIBUTES": 1,
        "DATA_SET_DOES_NOT_MATCH_SOP_CLASS": 45063,
    }
    for reason in (*FailureReason, *WarningReason):
        assert reason.sentence.endswith(".")


def test_the_warning_about_several_values_is_that_of_the_original_service() -> None:
    assert several_values_warning("example.org:7071") == (
        '299 example.org:7071: "One or more indexed Dicom tag(s) have multiple values, only first value is indexed."'
    )
