"""Requests that cannot be answered with what they ask for: status, text, and what the log may say of them."""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from azure.data.tables import UpdateMode

from local.azurite import running
from tests.builders import instance
from tests.e2e.service import (
    AS_STORED,
    BOUNDARY,
    DICOM_JSON,
    Api,
    Place,
    multipart_body,
    new_uid,
    reasons_of,
    stored_uids,
    value_of,
)
from tests.local.hosting import RunningHost

NAME, PATIENT = "Zyzzyva^Quirin", "SECRET-PATIENT-4711"


def uids_of(study: str, number: int = 1) -> dict[str, str]:
    return {"study": study, "series": f"{study}.1", "sop": f"{study}.1.{number}"}


@pytest.fixture
def http(host: RunningHost) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def study(api: Api) -> str:
    """A study of one instance with two frames that the tests only read."""
    uid = new_uid()
    assert api.store(instance(**uids_of(uid), frames=2)).status_code == 200
    return uid


def refused(answer: httpx.Response, status: int) -> str:
    """The text of an answer with that status; errors are plain text."""
    assert answer.status_code == status, answer.text
    if answer.content:
        assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


# Paths


@pytest.mark.parametrize("version", ["v3", "v0", "v22", "version2", "2"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "studies"), ("GET", "studies/1.2/metadata"), ("POST", "studies"), ("DELETE", "studies/1")],
)
def test_an_unknown_version_is_a_bad_request(http: httpx.Client, version: str, method: str, path: str) -> None:
    assert "v2" in refused(http.request(method, f"/{version}/{path}"), 400)


@pytest.mark.parametrize("version", ["v1.0-prerelease", "v1", "v2", "V2"])
def test_known_versions_are_answered(http: httpx.Client, version: str, study: str) -> None:
    answer = http.get(f"/{version}/studies", params={"StudyInstanceUID": study})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/studies",
        "/studies/1.2",
        "/series",
        "/viewer",
        "/v2/patients",
        "/v2/studies/1.2/series/1.3/instances/1.4/nothing",
        "/v2/studies/1.2/nothing",
        "/v2/elsewhere1.2/series/1.3/metadata",
        "/health",
    ],
)
def test_an_unknown_path_is_not_found(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("DELETE", "/v2/studies"), ("POST", "/v2/series"), ("PATCH", "/v2/studies/1")),
        *(("POST", f"/{version}/studies/$bulkUpdate") for version in ("v1", "v2")),
    ],
)
def test_a_method_that_a_resource_lacks_is_not_found(http: httpx.Client, method: str, path: str) -> None:
    assert http.request(method, path).status_code == 404


BAD_UIDS = ["notAStudyInstanceUid", "1.2.", "1.2.a", "b" * 65, "1." * 32 + "1", "1%202", "%20"]


@pytest.mark.parametrize("uid", BAD_UIDS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "studies/{}"),
        ("GET", "studies/{}/metadata"),
        ("GET", "studies/1.2/series/{}"),
        ("GET", "studies/1.2/series/1.3/instances/{}"),
        ("GET", "studies/1.2/series/1.3/instances/{}/frames/1"),
        ("GET", "studies/{}/series"),
        ("GET", "studies/1.2/series/{}/instances"),
        ("DELETE", "studies/{}"),
        ("DELETE", "studies/1.2/series/{}"),
        ("DELETE", "studies/{}/series/1.3"),
        ("DELETE", "studies/1.2/series/1.3/instances/{}"),
        ("POST", "studies/{}"),
        ("PUT", "studies/{}"),
    ],
)
def test_what_is_not_a_uid_is_a_bad_request(http: httpx.Client, method: str, path: str, uid: str) -> None:
    headers = {"Content-Type": "application/dicom"} if method in ("POST", "PUT") else {}
    text = refused(http.request(method, "/v2/" + path.format(uid), headers=headers), 400)
    assert "UID" in text
    assert uid not in text


@pytest.mark.parametrize("frames", ["0", "-1", "1,-1", "0,1", "1,", "a", "1.5", "0%2C1", "%20"])
def test_a_frame_list_without_only_positive_numbers_is_a_bad_request(api: Api, frames: str) -> None:
    unknown = "studies/1.2/series/1.3/instances/1.4"
    refused(api.get(f"{unknown}/frames/{frames}", "*/*"), 400)


@pytest.mark.parametrize(
    "path",
    [
        "studies/{0}.9",
        "studies/{0}/series/{0}.9",
        "studies/{0}/series/{0}.1/instances/{0}.1.9",
        "studies/{0}/series/{0}.9/instances/{0}.1.1",
        "studies/{0}/series/{0}.1/instances/{0}.1.1/frames/3",
        "studies/{0}/series/{0}.1/instances/{0}.1.1/frames/1,3",
    ],
)
def test_what_is_not_stored_is_not_found(api: Api, study: str, path: str) -> None:
    assert "cannot be found" in refused(api.get(path.format(study), "*/*"), 404)
    if "frames" not in path:
        refused(api.get(path.format(study) + "/metadata"), 404)
        assert api.http.delete("/" + path.format(study)).status_code == 404


def test_searches_below_what_is_not_stored_find_nothing(api: Api, study: str) -> None:
    for path in (
        f"studies/{study}.9/series",
        f"studies/{study}.9/instances",
        f"studies/{study}/series/{study}.9/instances",
    ):
        assert api.search(path) == []


def test_frames_of_an_instance_without_pixel_data_are_not_found(api: Api) -> None:
    uid = new_uid()
    assert api.store(instance(**uids_of(uid), PixelData=None)).status_code == 200
    refused(api.get(f"studies/{uid}/series/{uid}.1/instances/{uid}.1.1/frames/1", "*/*"), 404)


# Accept and Content-Type


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("studies", "application/dicom"),
        ("studies", "application/data"),
        ("series", "text/html"),
        ("instances", "image/jpeg"),
        ("studies/not-a-uid/metadata", "application/data"),
        ("studies/{0}/metadata", "application/dicom"),
        ("studies/{0}/metadata", "application/dicom+xml"),
        ("studies/{0}", "application/dicom"),
        ("studies/{0}", "application/dicom; transfer-syntax=*"),
        ("studies/{0}", 'multipart/related; type="application/octet-stream"; transfer-syntax=*'),
        ("studies/{0}", 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.100'),
        ("studies/{0}/series/{0}.1", "application/dicom; transfer-syntax=*"),
        ("studies/{0}/series/{0}.1/instances/{0}.1.1", "application/octet-stream; transfer-syntax=*"),
        ("studies/{0}/series/{0}.1/instances/{0}.1.1", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.100"),
        ("studies/{0}/series/{0}.1/instances/{0}.1.1/frames/1", "application/dicom"),
        ("studies/{0}/series/{0}.1/instances/{0}.1.1/frames/1", "image/jpeg"),
    ],
)
def test_an_accept_header_that_nothing_satisfies_is_not_acceptable(
    api: Api, study: str, path: str, accept: str
) -> None:
    assert re.search("on offer|ask for transfer-syntax", refused(api.get(path.format(study), accept), 406))


def test_a_store_whose_answer_is_not_acceptable_stores_nothing(api: Api) -> None:
    uid = new_uid()
    headers = {"Accept": "application/dicom", "Content-Type": "application/dicom"}
    refused(api.http.post("/studies", content=instance(**uids_of(uid)), headers=headers), 406)
    assert api.metadata(f"studies/{uid}") == []


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*", "application/json", "text/html, application/dicom+json;q=0.1"]
)
def test_json_is_answered_to_everything_that_admits_it(api: Api, study: str, accept: str) -> None:
    for path in (f"studies/{study}/metadata", f"studies?StudyInstanceUID={study}"):
        answer = api.get(path, accept)
        assert (answer.status_code, answer.headers["content-type"]) == (200, DICOM_JSON)


def test_a_request_without_accept_gets_what_is_stored(http: httpx.Client, study: str) -> None:
    del http.headers["accept"]
    for path in (f"/v2/studies/{study}", f"/v2/studies/{study}/metadata", f"/v2/studies/{study}/series"):
        assert http.get(path).status_code == 200


@pytest.mark.parametrize("accept", ["multipart/related; type=application/dicom; transfer-syntax=*", "*/*", AS_STORED])
def test_studies_are_answered_to_the_accept_headers_of_real_clients(api: Api, study: str, accept: str) -> None:
    answer = api.get(f"studies/{study}", accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("multipart/related;")


def test_several_frames_in_one_part_are_a_bad_request(api: Api, study: str) -> None:
    path = f"studies/{study}/series/{study}.1/instances/{study}.1.1/frames"
    refused(api.get(f"{path}/1,2", "application/octet-stream"), 400)
    answer = api.get(f"{path}/2", "application/octet-stream")
    assert answer.headers["content-type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert answer.content == bytes(range(24, 48))


def store(api: Api, body: bytes, content_type: str | None, path: str = "/studies") -> httpx.Response:
    headers = {"Accept": DICOM_JSON} | ({"Content-Type": content_type} if content_type else {})
    return api.http.post(path, content=body, headers=headers)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/octet-stream",
        "application/dicom+json",
        "application/json",
        "multipart/form; type=application/dicom; boundary=a-boundary-of-the-tests",
        "multipart/form-data; boundary=a-boundary-of-the-tests",
        "multipart/mixed; boundary=a-boundary-of-the-tests",
        "nonsense",
    ],
)
def test_a_body_of_another_type_is_unsupported_and_stores_nothing(api: Api, content_type: str | None) -> None:
    uid = new_uid()
    refused(store(api, multipart_body(instance(**uids_of(uid))), content_type), 415)
    assert api.metadata(f"studies/{uid}") == []


RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@pytest.mark.parametrize(
    "headers", ["Content-Type: application/octet-stream", "Content-Type: image/jpeg", "X-Other: 1"]
)
def test_a_later_part_of_another_type_or_of_none_fails_the_request(api: Api, headers: str) -> None:
    uid = new_uid()
    good = multipart_body(instance(**uids_of(uid))).removesuffix(f"--{BOUNDARY}--\r\n".encode())
    body = good + multipart_body(instance(**uids_of(uid, 2)), headers=headers)
    refused(store(api, body, RELATED), 415)
    assert api.metadata(f"studies/{uid}") == []


def test_a_first_part_without_a_type_has_that_of_the_request(api: Api) -> None:
    uid = new_uid()
    body = multipart_body(instance(**uids_of(uid)), headers="Content-Location: here")
    assert stored_uids(store(api, body, RELATED)) == [f"{uid}.1.1"]
    refused(store(api, body, f"multipart/related; boundary={BOUNDARY}"), 415)


def test_the_start_parameter_is_a_bad_request(api: Api) -> None:
    uid = new_uid()
    body = multipart_body(instance(**uids_of(uid)))
    assert "start" in refused(store(api, body, f'{RELATED}; start="<root>"'), 400)
    assert api.metadata(f"studies/{uid}") == []


# Bodies


BREAKS: dict[str, Callable[[bytes], bytes]] = {
    "no closing delimiter": lambda body: body.removesuffix(f"--{BOUNDARY}--\r\n".encode()),
    "cut in the last part": lambda body: body[: len(body) - 100],
    "cut in a header": lambda body: body[: len(BOUNDARY) + 20],
    "another boundary": lambda body: body.replace(BOUNDARY.encode(), b"something-else"),
    "bare line feeds": lambda body: body.replace(b"application/dicom\r\n\r\n", b"application/dicom\n\n"),
    "no multipart at all": lambda _: b"these bytes have no delimiter",
}


@pytest.mark.parametrize("damage", BREAKS.values(), ids=BREAKS)
def test_a_broken_multipart_body_is_a_bad_request_and_stores_nothing(
    api: Api, damage: Callable[[bytes], bytes]
) -> None:
    uid = new_uid()
    body = multipart_body(instance(**uids_of(uid, 1)), instance(**uids_of(uid, 2)))
    refused(store(api, damage(body), RELATED), 400)
    assert api.metadata(f"studies/{uid}") == []


@pytest.mark.parametrize("body", [b"", f"--{BOUNDARY}--\r\n".encode(), f"--{BOUNDARY}--".encode()])
def test_a_body_without_parts_is_no_content(api: Api, body: bytes) -> None:
    answer = store(api, body, RELATED)
    assert (answer.status_code, answer.content) == (204, b"")


def failures(answer: httpx.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(answer.content)["00081198"]["Value"]
    return found


@pytest.mark.parametrize("junk", [b"", b"not DICOM", b"\0" * 128 + b"DICM", bytes(range(256)) * 40], ids=range(4))
def test_a_part_that_is_no_instance_fails_alone(api: Api, junk: bytes) -> None:
    uid = new_uid()
    for answer in (store(api, multipart_body(junk), RELATED), store(api, junk, "application/dicom")):
        assert answer.status_code == 409
        assert answer.headers["content-type"] == DICOM_JSON
        assert failures(answer) == [{"00081197": {"vr": "US", "Value": [43264]}}]
    good = instance(**uids_of(uid))
    mixed = store(api, multipart_body(junk, good, junk), RELATED)
    assert mixed.status_code == 202
    assert stored_uids(mixed) == [f"{uid}.1.1"]
    assert reasons_of(mixed) == [43264, 43264]
    assert api.files(f"studies/{uid}") == [good]


def test_an_instance_of_another_study_than_the_url_fails_with_its_reason(api: Api) -> None:
    one, two = new_uid(), new_uid()
    body = multipart_body(instance(**uids_of(one)), instance(**uids_of(two)))
    answer = store(api, body, RELATED, f"/studies/{one}")
    assert answer.status_code == 202
    document = answer.json()
    assert set(document) == {"00081190", "00081198", "00081199"}
    assert value_of(document, "00081190").endswith(f"/v2/studies/{one}")
    assert stored_uids(answer) == [f"{one}.1.1"]
    (failed,) = failures(answer)
    assert (value_of(failed, "00081155"), value_of(failed, "00081197")) == (f"{two}.1.1", 43264)
    assert api.metadata(f"studies/{two}") == []

    none_fits = store(api, body, RELATED, f"/studies/{new_uid()}")
    assert none_fits.status_code == 409
    assert set(none_fits.json()) == {"00081198"}
    assert reasons_of(none_fits) == [43264, 43264]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_duplicate_is_refused_in_the_same_request_and_in_the_next(host: RunningHost, version: str) -> None:
    uid = new_uid()
    file = instance(**uids_of(uid))
    with Api(host.url, version) as api:
        answer = api.store(file, file)
        assert answer.status_code == 202
        assert (stored_uids(answer), reasons_of(answer)) == ([f"{uid}.1.1"], [45070])
        again = api.store(file)
        assert again.status_code == 409
        (failed,) = failures(again)
        assert value_of(failed, "00081155") == f"{uid}.1.1"
        assert reasons_of(again) == [45070]
        assert api.files(f"studies/{uid}") == [file]


def test_an_instance_over_the_limit_is_too_large_and_its_neighbours_are_not_stored(
    place: Place, tmp_path: Path
) -> None:
    uid = new_uid()
    small = instance(**uids_of(uid, 1), rows=16, columns=16)
    large = instance(**uids_of(uid, 2), rows=1024, columns=1024)
    longest = instance(**uids_of(uid, 3), rows=400, columns=500)
    limit = len(longest)
    with place.host(tmp_path / "log", MAX_INSTANCE_BYTES=limit) as host, Api(host.url) as api:
        assert str(limit) in refused(api.store(large), 413)
        assert str(limit) in refused(api.store(small, large), 413)
        # A body of many megabytes is read to its end, so that a client that only sends hears the answer.
        many = multipart_body(large, *[small] * 1000)
        refused(store(api, many, RELATED), 413)
        assert api.metadata(f"studies/{uid}") == []
        assert place.blobs() == set()
        assert api.store(small, longest).status_code == 200
        refused(api.store(longest + b"\0"), 413)


# Queries


@pytest.mark.parametrize("query", ["PatientName=<script>", "PatientName=%3Cscript%3E", "%3c=1", "limit=1&x=a%3Cb"])
@pytest.mark.parametrize("path", ["studies", "series", "instances", "studies/1.2/series"])
def test_markup_in_the_query_is_a_bad_request(http: httpx.Client, path: str, query: str) -> None:
    refused(http.get(f"/v2/{path}?{query}"), 400)


@pytest.mark.parametrize("limit", [0, -1, 201, 500])
@pytest.mark.parametrize("path", ["studies", "series", "instances", "studies/1.2/series", "studies/1.2/instances"])
def test_a_limit_out_of_range_is_refused_with_the_text_of_the_original(api: Api, path: str, limit: int) -> None:
    expected = "The query parameter 'Limit' is invalid. The field Limit must be between 1 and 200."
    assert refused(api.get(path, limit=limit), 400) == expected


@pytest.mark.parametrize(
    "query",
    [
        "limit=",
        "limit=ten",
        "limit=1.5",
        "limit=99999999999999999999",
        "limit=1&limit=2",
        "offset=-1",
        "offset=x",
        "fuzzymatching=maybe",
        "includefield=NoSuchKeyword",
        "NoSuchKeyword=1",
        "patientname=Doe",
        "PatientSex=M",
        "StudyDate=2020",
        "StudyDate=20200230",
        "StudyDate=-",
        "StudyDate=20210101-20200101",
        "PatientID=1&PatientID=2",
        "PatientID=1&00100020=2",
        "RequestAttributesSequence.CodeValue=1",
    ],
)
def test_a_query_that_cannot_be_understood_is_a_bad_request(http: httpx.Client, query: str) -> None:
    assert refused(http.get(f"/v2/studies?{query}"), 400)


@pytest.mark.parametrize(
    ("path", "keyword"),
    [
        ("studies", "Modality"),
        ("studies", "SOPInstanceUID"),
        ("series", "SOPInstanceUID"),
        ("studies/1.2/series", "PatientID"),
        ("studies/1.2/series", "StudyInstanceUID"),
        ("studies/1.2/series/1.3/instances", "Modality"),
    ],
)
def test_an_attribute_of_another_level_is_refused_with_the_text_of_the_original(
    api: Api, path: str, keyword: str
) -> None:
    assert refused(api.get(path, **{keyword: "1"}), 400) == (
        f"Invalid query: AttributeId {keyword} is not queryable.  If the parameter is an attribute keyword, check the "
        "casing as they are case-sensitive. The conformance statement has a list of supported query parameters, "
        "attributes and the levels."
    )


def test_a_date_that_is_none_is_refused_with_the_text_of_the_original(api: Api) -> None:
    assert refused(api.get("studies", StudyDate="NotAValidStudyDate"), 400) == (
        "Invalid query: specified Date value 'NotAValidStudyDate' is invalid for attribute 'StudyDate'. "
        "Date should be valid and formatted as yyyyMMdd."
    )


# Failures of the service itself


#: Seconds within which a client hears that storage is down; the SDKs' own retries would take several times as long.
SOON = 50


@dataclass
class Outage:
    """What a host answered, to everything at once, when its storage had been stopped."""

    health: httpx.Response
    requests: list[httpx.Response]
    seconds: float
    log: str


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Outage:
    folder = tmp_path_factory.mktemp("down")
    with running(folder / "azurite") as azurite:
        place = Place.new(azurite.connection_string)
        with (
            place.host(folder / "log") as host,
            Api(host.url) as api,
            httpx.Client(base_url=host.url, trust_env=False, timeout=180) as http,
        ):
            assert http.get("/health/check").status_code == 200
            assert api.store(instance(PatientID=PATIENT)).status_code == 200
            azurite.stop()
            calls: list[Callable[[], httpx.Response]] = [
                lambda: http.get("/health/check"),
                lambda: api.get("studies"),
                lambda: api.get("studies", PatientName="*doe*"),
                lambda: api.get("studies/1.2/metadata"),
                lambda: api.get("studies/1.2/series/1.3/instances/1.4", "*/*"),
                lambda: api.http.delete("/studies/1.2"),
                lambda: api.store(instance(PatientID=PATIENT)),
            ]
            begun = time.monotonic()
            with ThreadPoolExecutor(len(calls)) as clients:
                health, *answers = [each.result() for each in [clients.submit(call) for call in calls]]
            return Outage(health, answers, time.monotonic() - begun, (folder / "log").read_text())


def test_with_storage_down_health_is_unhealthy(outage: Outage) -> None:
    assert outage.health.status_code == 503
    document = outage.health.json()
    assert document["overallStatus"] == "Unhealthy"
    assert [(each["name"], each["status"]) for each in document["details"]] == [
        ("blobs", "Unhealthy"),
        ("index", "Unhealthy"),
    ]


def test_with_storage_down_requests_are_unavailable_in_plain_text(outage: Outage) -> None:
    for answer in outage.requests:
        assert refused(answer, 503) == "The service is not available. Please try again later."
        assert int(answer.headers["retry-after"]) > 0
    assert_no_identity_in(outage.log)


def test_that_storage_is_down_is_told_soon(outage: Outage) -> None:
    assert outage.seconds < SOON


def test_health_tells_what_answers(http: httpx.Client) -> None:
    answer = http.get("/health/check")
    assert answer.status_code == 200
    document = answer.json()
    assert document["overallStatus"] == "Healthy"
    assert [(each["name"], each["status"]) for each in document["details"]] == [
        ("blobs", "Healthy"),
        ("index", "Healthy"),
    ]


def assert_no_identity_in(text: str, *more: str) -> None:
    """Neither names nor ids of patients nor UIDs; what looks like an address of four numbers is none."""
    for secret in ("Zyzzyva", "Quirin", PATIENT, *more):
        assert secret not in text
    assert not re.search(r"\d+(\.\d+){5,}", text)


@pytest.mark.parametrize(
    ("kind", "damage", "path"),
    [
        ("s", {"newest": "nothing"}, "studies?StudyInstanceUID={0}"),
        ("s", {"newest": "nothing"}, "studies/{0}/metadata"),
        ("s", {"attributes": '{"00100010":' + NAME}, "studies/{0}/metadata"),
        ("e", {"attributes": '{"00100010":' + NAME}, "studies/{0}/series/{0}.1/metadata"),
        ("i", {"frames": NAME.encode()}, "studies/{0}/series/{0}.1/instances/{0}.1.1/frames/1"),
        ("i", {"metadata": NAME.encode()}, "instances?SOPInstanceUID={0}.1.1"),
    ],
)
def test_an_unforeseen_error_is_an_opaque_500_and_a_log_entry_without_values(
    place: Place, tmp_path: Path, kind: str, damage: dict[str, Any], path: str
) -> None:
    uid = new_uid()
    with place.host(tmp_path / "log") as host, Api(host.url) as api:
        assert api.store(instance(**uids_of(uid), PatientName=NAME, PatientID=PATIENT)).status_code == 200
        (row,) = place.rows(kind)
        with place.table() as table:
            table.update_entity({**row, **damage}, mode=UpdateMode.REPLACE)
        answer = api.http.get("/" + path.format(uid))
        text = refused(answer, 500)
        assert text == "The service failed to process the request. Please try again later."
        # It is this request's failure and no more.
        assert api.search("studies", StudyInstanceUID=f"{uid}.9") == []
    log = (tmp_path / "log").read_text()
    assert log.count(" ERROR dicomweb.request: ") == 1
    assert_no_identity_in(log, uid)


def test_the_log_of_a_whole_run_identifies_nobody(place: Place, tmp_path: Path) -> None:
    uid = new_uid()
    secret = {"PatientName": NAME, "PatientID": PATIENT, "AccessionNumber": "ACC-9087", "StudyDescription": "Oddly"}
    good, other = (instance(**uids_of(uid, number), **secret) for number in (1, 2))
    with pydicom.config.disable_value_validation():
        odd = instance(**uids_of(uid, 3), **secret, StudyDate=f"bad {PATIENT}")
    path = f"studies/{uid}/series/{uid}.1/instances/{uid}.1.1"
    schedules = {"SWEEP_SCHEDULE": "* * * * * *", "ORPHAN_SCHEDULE": "* * * * * *", "GARBAGE_GRACE_SECONDS": 0}
    with place.host(tmp_path / "log", MAX_INSTANCE_BYTES=1_000_000, **schedules) as host, Api(host.url) as api:
        statuses = [
            api.store(good).status_code,
            api.store(good).status_code,
            api.store(other, b"junk").status_code,
            api.store(good, method="PUT").status_code,
            api.store(good, study=f"{uid}.9").status_code,
            api.store(odd).status_code,
            api.store(instance(**uids_of(uid, 4), **secret, rows=2000, columns=2000)).status_code,
            store(api, multipart_body(good)[:-80], RELATED).status_code,
            api.get("studies", PatientName=NAME).status_code,
            api.get("studies", PatientID=f"*{PATIENT[3:9]}*").status_code,
            api.get("studies", StudyDate=PATIENT).status_code,
            api.get("studies", **{PATIENT: NAME}).status_code,
            api.get(f"studies/{uid}/metadata").status_code,
            api.get(f"studies/{PATIENT}/metadata").status_code,
            api.get(path, AS_STORED).status_code,
            api.get(f"{path}/frames/1", "*/*").status_code,
            api.get(f"{path}/frames/7", "*/*").status_code,
            api.get(path, f"application/dicom; transfer-syntax={uid}").status_code,
            api.delete(path),
            api.delete(f"studies/{uid}"),
            api.delete(f"studies/{uid}"),
        ]
    assert statuses == [
        *(200, 409, 202, 200, 409, 202, 413, 400),
        *(200, 200, 400, 400, 200, 400, 200, 200, 404, 406),
        *(204, 204, 404),
    ]
    assert_no_identity_in((tmp_path / "log").read_text(), uid, "ACC-9087", "Oddly")
