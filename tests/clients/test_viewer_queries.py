"""The searches of the OHIF viewer, byte for byte as version 3.13.2 sends them, without a browser.

Facts: every text filter becomes `*text*`, whatever the text; `includefield` and lists of modalities have encoded commas
between their items; a study is asked for by its UID, several by UIDs with commas or backslashes between them.
"""

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.builders import instance
from tests.e2e.service import Api, new_uid

FIELDS = "includefield=00081030%2C00080060%2C00080090%2C00100030"
PAGE = f"limit=101&offset=0&fuzzymatching=true&{FIELDS}"

KNEE, BRAIN, HEART = new_uid(), new_uid(), new_uid()
#: Study to what is stored of it: description, patient's name and id, accession number, date, modalities.
STORED = {
    KNEE: ("Left knee", "KNEEHIGH^Olaf", "P-8811", "A100", "20080517", ("MR", "CT")),
    BRAIN: ("Brain with contrast", "BRAINARD^Xenia", "P-88", "B2A1", "20100101", ("CT",)),
    HEART: ("Heart", "HARTMANN^Ida", "P-7", "C3", "20240229", ("US",)),
}

#: What the viewer shows of a study; it copes with a missing value, but not with a missing list of modalities.
STUDY_TAGS = (
    *("0020000D", "00080020", "00080030", "00080050", "00100020", "00100010", "00100030", "00201208", "00081030"),
    *("00080061", "00080090"),
)


@pytest.fixture(scope="module", autouse=True)
def stored(root: str) -> None:
    url = urlsplit(root)
    with Api(f"{url.scheme}://{url.netloc}") as api:
        for study, (description, name, patient, accession, date, modalities) in STORED.items():
            for number, modality in enumerate(modalities, start=1):
                file = instance(
                    study=study,
                    series=f"{study}.{number}",
                    sop=f"{study}.{number}.1",
                    Modality=modality,
                    StudyDescription=description,
                    PatientName=name,
                    PatientID=patient,
                    PatientBirthDate="19700101",
                    AccessionNumber=accession,
                    StudyDate=date,
                    StudyTime="101500",
                    ReferringPhysicianName="Refer^Rita",
                    SeriesNumber=number,
                    SeriesDate=date,
                    SeriesTime="101600",
                    SeriesDescription=f"Series {number}",
                )
                assert api.store(file).status_code == 200


@pytest.fixture(scope="module")
def get(root: str) -> Callable[[str], list[dict[str, Any]]]:
    """Asks for a path with its query untouched, as the viewer's Accept header has it."""
    url = urlsplit(root)

    def ask(target: str) -> list[dict[str, Any]]:
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        try:
            connection.request("GET", f"{url.path}/{target}", headers={"Accept": "application/dicom+json"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status in {200, 204}, body
        found: list[dict[str, Any]] = json.loads(body) if answer.status == 200 else []
        return found

    return ask


ALL = {KNEE, BRAIN, HEART}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (PAGE, ALL),
        (f"PatientName=*RAIN*&{PAGE}", {BRAIN}),
        (f"PatientName=*rain*&{PAGE}", {BRAIN}),
        (f"PatientName=*KNE**&{PAGE}", {KNEE}),
        (f"PatientName=*H*&{PAGE}", {KNEE, HEART}),
        (f"PatientName=*nobody*&{PAGE}", set()),
        (f"00100020=*88*&{PAGE}", {KNEE, BRAIN}),
        (f"AccessionNumber=*A1*&{PAGE}", {KNEE, BRAIN}),
        (f"StudyDescription=*kn*&{PAGE}", {KNEE}),
        (f"StudyDescription=*with%20contrast*&{PAGE}", {BRAIN}),
        (f"ModalitiesInStudy=MR%2CCT&{PAGE}", {KNEE, BRAIN}),
        (f"ModalitiesInStudy=US%5CMR&{PAGE}", {KNEE, HEART}),
        (f"ModalitiesInStudy=US&{PAGE}", {HEART}),
        (f"{PAGE}&StudyDate=20080101-20081231", {KNEE}),
        (f"{PAGE}&StudyDate=20100101-20261123", {BRAIN, HEART}),
        (f"{PAGE}&StudyDate=19700102-20100101", {KNEE, BRAIN}),
        (
            "PatientName=*KNE**&00100020=*88*&AccessionNumber=*A1*&StudyDescription=*e*&ModalitiesInStudy=MR%2CCT"
            f"&{PAGE}&StudyDate=20080101-20081231",
            {KNEE},
        ),
        (f"{PAGE}&StudyInstanceUID={BRAIN}", {BRAIN}),
        (f"{PAGE}&StudyInstanceUID={BRAIN},{HEART}", {BRAIN, HEART}),
        (f"{PAGE}&StudyInstanceUID={BRAIN}%5C{HEART}", {BRAIN, HEART}),
        (f"00100020=P-88&{PAGE}", {BRAIN}),
        (f"00100020=*P-88*&{PAGE}", {KNEE, BRAIN}),
        (f"limit=101&offset=101&fuzzymatching=true&{FIELDS}", set()),
    ],
)
def test_the_study_list_finds_what_its_filters_say(
    get: Callable[[str], list[dict[str, Any]]], query: str, wanted: set[str]
) -> None:
    found = get(f"studies?{query}")
    assert {study["0020000D"]["Value"][0] for study in found} == wanted
    for study in found:
        assert [tag for tag in STUDY_TAGS if not study.get(tag, {}).get("Value")] == []


def test_the_study_list_shows_counts_and_modalities(get: Callable[[str], list[dict[str, Any]]]) -> None:
    (study,) = get(f"studies?PatientName=*KNEE*&{PAGE}")
    assert study["00201208"]["Value"] == [2]
    assert sorted(study["00080061"]["Value"]) == ["CT", "MR"]


@pytest.mark.parametrize("fields", ["0008103E%2C00080021", "00080021%2C00080031%2C0008103E%2C00200011"])
def test_the_series_of_a_study_are_listed(get: Callable[[str], list[dict[str, Any]]], fields: str) -> None:
    found = get(f"studies/{KNEE}/series?includefield={fields}")
    assert sorted(series["0020000E"]["Value"][0] for series in found) == [f"{KNEE}.1", f"{KNEE}.2"]
    for series in found:
        for tag in ("00080060", "00201209", *fields.split("%2C")):
            assert series[tag]["Value"], tag


def test_the_first_instance_of_a_series_is_found_for_its_thumbnail(
    get: Callable[[str], list[dict[str, Any]]],
) -> None:
    (found,) = get(f"studies/{KNEE}/series/{KNEE}.1/instances?limit=1&includefield=00080018")
    assert found["00080018"]["Value"] == [f"{KNEE}.1.1"]
