"""What a running service writes of its requests: enough to operate it by, and nothing that names a patient."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.uid import UID

from shared.services.store import COMMIT_AFTER
from tests.builders import instance
from tests.e2e.service import DICOM_JSON, EVERY_SECOND, Api, Place, multipart_body, new_uid, wait_until

#: Everything that is told the service of patients; none of it may be found in what it writes.
NAME, PATIENT_ID, ACCESSION, DESCRIPTION = "Fernwood^Quinella", "PAT-73519", "ACC-86420", "Kneecap of Quinella"
FILE_NAME = "quinella-fernwood.dcm"


@dataclass
class Walk:
    """What was done, and what it left in the log."""

    log: str
    study: str
    other: str
    uids: list[str] = field(default_factory=list)

    def records(self, kind: str) -> list[dict[str, Any]]:
        lines = (json.loads(found) for found in re.findall(r"\{\"record\":.*\}", self.log))
        return [each for each in lines if each["record"] == kind]


def walk(place: Place, log: Path, **settings: str) -> Walk:
    """Everything a client can do, right and wrong, against a host of its own."""
    study, series, one, other = (new_uid() for _ in range(4))
    made = Walk("", study, other, [study, series, one, other])
    said = {"PatientName": NAME, "PatientID": PATIENT_ID, "AccessionNumber": ACCESSION, "StudyDescription": DESCRIPTION}
    file = instance(study=study, series=series, sop=one, **said)
    path = f"studies/{study}/series/{series}/instances/{one}"
    with (
        place.host(log, SWEEP_SCHEDULE=EVERY_SECOND, GARBAGE_GRACE_SECONDS=0, **settings) as host,
        Api(host.url) as api,
    ):
        assert api.store(file).status_code == 200
        assert api.store(file).status_code == 409
        assert api.store(file, method="PUT").status_code == 200
        assert api.store(file, study=other).status_code == 409
        assert api.store(file[:500]).status_code == 409
        assert api.store(b"not a file of " + NAME.encode(), b"").status_code == 409
        for level in (f"studies/{study}", f"studies/{study}/series/{series}", path):
            assert api.get(level, "*/*").status_code == 200
            assert api.get(f"{level}/metadata").status_code == 200
            assert api.get(f"{level}/rendered", "image/png").status_code == 200
        for frames in ("1", "7", "x" + PATIENT_ID):
            api.get(f"{path}/frames/{frames}", "*/*")
        for query in (
            {"PatientName": NAME},
            {"PatientName": "*nella*", "fuzzymatching": "true"},
            {"PatientID": PATIENT_ID, "includefield": "all"},
            {"AccessionNumber": ACCESSION, "StudyInstanceUID": study},
            {"StudyDescription": DESCRIPTION, "limit": "0"},
            {NAME: NAME},
            {"PatientName": f"<{NAME}>"},
        ):
            api.get("studies", **query)
        api.get(f"studies/{NAME}/metadata")
        api.get(path, f"application/{PATIENT_ID}")
        headers = {"Authorization": f"Bearer {PATIENT_ID}", "X-MS-AZUREDICOM-AUDIT-patient": NAME, "Referer": NAME}
        api.http.get(f"/{path}", headers={**headers, "Accept": "*/*", "Range": f"bytes={PATIENT_ID}"})
        body = multipart_body(file, headers=f"Content-Type: application/dicom\r\nContent-Location: {FILE_NAME}")
        api.http.post("/studies", content=body, headers={"Content-Type": f"multipart/related; boundary={NAME}"})
        httpx.put(f"{host.url}/v2/nothing/{PATIENT_ID}", trust_env=False)
        assert api.delete(path) == 204
        assert api.delete(f"studies/{study}") == 404
        # The replaced instance and the deleted one, in one run of the sweep or in two.
        wait_until(lambda: sum(map(int, re.findall('"blobs":(\\d+)', log.read_text()))) == 2)
    made.log = log.read_text()
    return made


@pytest.fixture(scope="module")
def done(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    yield walk(Place.new(session_place.connection), tmp_path_factory.mktemp("log") / "host.log")


def test_nothing_that_names_a_patient_is_written(done: Walk) -> None:
    told = [*done.uids, NAME, PATIENT_ID, ACCESSION, DESCRIPTION, FILE_NAME, *NAME.split("^"), "nella"]
    assert len(done.records("request")) > 25  # it was listening
    assert [each for each in told if each.lower() in done.log.lower()] == []
    # Nor any other UID, but for those that are versions of something.
    assert [found for found in re.findall(r"\b[0-2](?:\.\d+){4,}\b", done.log) if UID(found).is_valid] == []


def test_every_request_has_a_line_with_what_it_cost(done: Walk) -> None:
    for each in done.records("request"):
        assert re.fullmatch("[0-9a-f]{32}", each["correlation"])
        assert each["method"] in {"GET", "POST", "PUT", "DELETE"}
        assert 200 <= each["status"] < 500
        assert each["ms"] >= 0
    stored = next(each for each in done.records("request") if each["operation"] == "store_instances")
    assert stored["storageCalls"] >= 3
    assert stored["storageSent"] > 500
    metadata = next(each for each in done.records("request") if each["operation"] == "retrieve_study_metadata")
    assert metadata["storageReceived"] > 500


def test_the_bytes_of_an_answer_are_told_when_they_have_left(done: Walk) -> None:
    sent = {each["correlation"]: each for each in done.records("sent")}
    for each in done.records("request"):
        assert "bytes" in each or sent[each["correlation"]]["complete"]
    file = next(each for each in done.records("sent") if each["operation"] == "retrieve_instance")
    assert file["bytes"] > 500
    assert file["storageReceived"] > 500  # what the body took is counted with it


def test_the_audit_log_names_a_study_the_same_each_time_and_not_by_its_uid(done: Walk) -> None:
    audit = done.records("audit")
    assert {each["operation"] for each in audit} >= {
        *("Store", "Retrieve", "RetrieveMetadata", "RetrieveRendered", "Query", "Delete")
    }
    named = {each["studies"][0] for each in audit if each["operation"] == "RetrieveMetadata" and each["studies"]}
    stored = {each["studies"][0] for each in audit if each["operation"] == "Store" and each["status"] == 200}
    assert len(named) == 1
    assert named == stored
    assert len({each["correlation"] for each in audit}) == len(audit) == len(done.records("request"))


def test_jobs_tell_what_they_did(done: Walk) -> None:
    jobs = [each for each in done.records("job") if each["job"] == "sweep"]
    assert sum(each["did"]["blobs"] for each in jobs) == 2
    assert not any("error" in each for each in jobs)


def test_a_site_may_have_plain_uids_in_its_audit_log_and_nowhere_else(place: Place, tmp_path: Path) -> None:
    done = walk(place, tmp_path / "host.log", AUDIT_IDENTIFIERS="plain")
    assert {each["studies"][0] for each in done.records("audit") if each["studies"]} == {done.study, done.other}
    others = "\n".join(line for line in done.log.splitlines() if '"record":"audit"' not in line)
    assert [each for each in done.uids if each in others] == []
    assert [each for each in (NAME, PATIENT_ID) if each in done.log] == []


def test_an_audit_record_names_what_a_failed_store_was_about(place: Place, tmp_path: Path) -> None:
    one, two = new_uid(), new_uid()
    small = [instance(study=one, series=f"{one}.1", sop=f"{one}.1.{number}") for number in range(COMMIT_AFTER + 8)]
    large = instance(study=two, series=f"{two}.1", sop=f"{two}.1.1", rows=1024, columns=1024)
    settings = {"AUDIT_IDENTIFIERS": "plain", "MAX_INSTANCE_BYTES": 100_000}
    with place.host(tmp_path / "host.log", **settings) as host, Api(host.url) as api:
        assert api.store(*small, large).status_code == 413
        assert len(api.metadata(f"studies/{one}")) >= COMMIT_AFTER
        assert api.store(small[0]).status_code == 409
        assert api.http.get(f"/studies{one}/series/{one}.1/metadata").status_code == 200
    log = (tmp_path / "host.log").read_text(encoding="utf-8")
    audit = [json.loads(found) for found in re.findall(r"\{\"record\":\"audit\".*\}", log)]
    assert [(each["status"], each["studies"]) for each in audit] == [
        (413, [one]),
        (200, [one]),
        (409, [one]),
        (200, [one]),
    ]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"AUTHENTICATION": ""}, "AUTHENTICATION"),
        ({"INDEX_BUCKETS": "many"}, "INDEX_BUCKETS"),
        ({"DICOM_STORAGE_CONNECTION": "AccountName=a;AccountKey=a2V5"}, "DICOM_STORAGE_CONNECTION"),
        ({"AUTHENTICATION": "required"}, "AUTH_"),
        (
            {
                "DICOM_STORAGE_CONNECTION": "",
                "DICOM_BLOB_ENDPOINT": "https://account.blob.core.windows.net",
                "DICOM_TABLE_ENDPOINT": "https://account.table.core.windows.net",
                "AZURE_TOKEN_CREDENTIALS": "a2V5",
            },
            "AZURE_",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_named_by_every_answer_and_in_the_log(
    place: Place, tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    log = tmp_path / "host.log"
    with place.host(log, **settings) as host, httpx.Client(base_url=host.url, trust_env=False) as client:
        for path in ("/v2/studies", "/v2", "/health/check", "/v2/api.yaml"):
            answer = client.get(path, headers={"Accept": DICOM_JSON})
            assert answer.status_code == 503
            assert answer.text.startswith("The service is not configured: ")
            assert named in answer.text
            assert "a2V5" not in answer.text
        assert client.post("/v2/studies", content=b"DICM" * 100_000).status_code == 503
    assert "the service is not configured: " in log.read_text()
    assert named in log.read_text()
