"""What every route has in common: versions, methods, the order of checks, statuses, HEAD, and what describes them.

The routes come from the table that the descriptions are made from, so that a new one is tested as well.
"""

import http.client
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

from shared.dicom.attributes import SEARCHABLE
from shared.dicomweb.operation import Operation
from shared.dicomweb.operations import OPERATIONS
from shared.dicomweb.rendered import RENDERED_MEDIA
from shared.dicomweb.versions import SUPPORTED_VERSIONS
from tests.builders import instance
from tests.e2e.service import BOUNDARY, DICOM_JSON, Api, multipart_body, new_uid
from tests.local.hosting import RunningHost

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
#: Accepted by no route.
NOTHING = "application/data"
NO_UID = "notAUid"
UNKNOWN = {"study": "2.25.1", "series": "2.25.2", "instance": "2.25.3", "frames": "1", "attribute": "7FE00010"}

VERSIONED = [each for each in OPERATIONS if each.path.startswith("{version}")]
EVERY_CALL = [(method, each) for each in VERSIONED for method in each.methods]
#: Read what Accept and then identifiers say; the others, whose answers are JSON, judge Accept first.
JSON_GROUPS = frozenset({"Store", "Metadata", "Search"})
BYTES_GROUPS = frozenset({"Retrieve", "Rendered", "Bulk data"})
(BULK_VALUE,) = (each for each in OPERATIONS if each.name == "RetrieveBulkValue")


def path_of(operation: Operation, version: str = "v2", **values: str) -> str:
    """The path of an operation on what is not stored, unless `values` say otherwise."""
    return "/" + operation.path.format(version=version, **{**UNKNOWN, **values})


def identified(groups: frozenset[str]) -> list[tuple[str, Operation]]:
    """The calls of some groups whose path holds a UID."""
    return [(method, each) for method, each in EVERY_CALL if each.group in groups and "{study}" in each.path]


def named(value: object) -> str:
    return f"{value.group}-{value.name}" if isinstance(value, Operation) else str(value)


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, timeout=60, trust_env=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def stored(api: Api) -> dict[str, str]:
    """The parts of the path of an instance with two frames."""
    study = new_uid()
    uids = {"study": study, "series": f"{study}.1", "instance": f"{study}.1.1"}
    file = instance(study=study, series=uids["series"], sop=uids["instance"], frames=2)
    assert api.store(file).status_code == 200
    return {**uids, "frames": "1", "attribute": "7FE00010"}


def refused(answer: httpx.Response, status: int) -> None:
    """An error is bare text that repeats no identifier, comes with the versions there are, and has no text for HEAD."""
    assert answer.status_code == status, answer.text
    assert answer.headers["api-supported-versions"] == SUPPORTED_VERSIONS
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert bool(answer.content) == (answer.request.method != "HEAD")
    assert not answer.text.startswith(("{", "[", "<", '"'))
    assert NO_UID not in answer.text
    assert UNKNOWN["study"] not in answer.text


# Versions and methods


@pytest.mark.parametrize(("method", "operation"), EVERY_CALL, ids=named)
def test_an_unknown_version_is_a_bad_request_on_every_route(
    client: httpx.Client, method: str, operation: Operation
) -> None:
    refused(client.request(method, path_of(operation, "v3", study=NO_UID), headers={"Accept": NOTHING}), 400)


@pytest.mark.parametrize(("method", "operation"), EVERY_CALL, ids=named)
def test_without_a_version_nothing_is_found(client: httpx.Client, method: str, operation: Operation) -> None:
    path = path_of(operation).removeprefix("/v2") or "/"
    assert client.request(method, path).status_code == 404


def test_a_method_that_no_route_of_the_path_has_is_not_found(client: httpx.Client) -> None:
    known = {(method, path_of(each)) for each in OPERATIONS for method in each.methods}
    for method, path in itertools.product(METHODS, sorted({path for _, path in known})):
        if (method, path) not in known:
            # Where browsers may ask, all that they want to know is in the headers.
            expected = 204 if method == "OPTIONS" else 404
            answer = client.request(method, path)
            assert (answer.status_code, answer.content) == (expected, b""), (method, path)


def test_every_status_comes_with_the_versions(api: Api, stored: dict[str, str]) -> None:
    study = f"/studies/{stored['study']}"
    one = f"{study}/series/{stored['series']}/instances/{stored['instance']}"
    tag = api.http.get(f"{study}/metadata").headers["etag"]
    other = instance(study=new_uid())
    dicom = {"Content-Type": "application/dicom"}
    related = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}
    answers = {
        200: api.http.get(f"{study}/metadata"),
        202: api.http.post("/studies", content=multipart_body(other, b"junk"), headers=related),
        204: api.http.get("/studies", params={"StudyInstanceUID": UNKNOWN["study"]}),
        206: api.http.get(one, headers={"Accept": "application/dicom; transfer-syntax=*", "Range": "bytes=0-9"}),
        304: api.http.get(f"{study}/metadata", headers={"If-None-Match": tag}),
        400: api.http.get(f"/studies/{NO_UID}"),
        404: api.http.get(f"/studies/{UNKNOWN['study']}"),
        406: api.http.get(study, headers={"Accept": NOTHING}),
        409: api.http.post("/studies", content=b"", headers=dicom),
        415: api.http.post("/studies", content=b"", headers={"Content-Type": "text/plain"}),
        416: api.http.get(one, headers={"Accept": "application/dicom; transfer-syntax=*", "Range": "bytes=999999-"}),
    }
    assert {status: answer.status_code for status, answer in answers.items()} == {status: status for status in answers}
    for answer in answers.values():
        assert answer.headers["api-supported-versions"] == SUPPORTED_VERSIONS
        if answer.status_code in (204, 304):
            assert answer.content == b""


# The order of checks


@pytest.mark.parametrize("query", ["x=%3Cscript", "x=%3c", "limit=0&x=a%3C"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_markup_in_the_query_is_a_bad_request_before_all_other_checks(
    client: httpx.Client, operation: Operation, query: str
) -> None:
    for method in operation.methods:
        url = f"{path_of(operation, study=NO_UID)}?{query}"
        answer = client.request(method, url, headers={"Accept": NOTHING, "Content-Type": "text/plain"})
        refused(answer, 400)
        assert method == "HEAD" or "query" in answer.text


def test_markup_that_is_not_escaped_is_refused_as_well(host: RunningHost) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
    try:
        connection.putrequest("GET", "/v2/studies/1.2/metadata?x=<b>")
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (400, b"The query must not contain '<'.")
    finally:
        connection.close()


@pytest.mark.parametrize(("method", "operation"), identified(JSON_GROUPS), ids=named)
def test_accept_is_judged_before_identifiers_where_json_is_answered(
    client: httpx.Client, method: str, operation: Operation
) -> None:
    headers = {"Accept": NOTHING, "Content-Type": "application/dicom"}
    refused(client.request(method, path_of(operation, study=NO_UID), headers=headers), 406)
    headers["Accept"] = DICOM_JSON
    refused(client.request(method, path_of(operation, study=NO_UID), headers=headers), 400)


@pytest.mark.parametrize(("method", "operation"), identified(BYTES_GROUPS), ids=named)
def test_identifiers_are_judged_before_accept_and_that_before_existence_where_bytes_are_answered(
    client: httpx.Client, method: str, operation: Operation
) -> None:
    headers = {"Accept": NOTHING}
    last = re.findall(r"\{(study|series|instance)\}", operation.path)[-1]
    refused(client.request(method, path_of(operation, study=NO_UID), headers=headers), 400)
    refused(client.request(method, path_of(operation, **{last: NO_UID}), headers=headers), 400)
    # What one bulk value is offered as depends on what it is, so there existence goes first.
    refused(client.request(method, path_of(operation), headers=headers), 404 if operation is BULK_VALUE else 406)
    refused(client.request(method, path_of(operation), headers={"Accept": "*/*"}), 404)


def test_the_type_of_a_body_is_judged_before_identifiers(api: Api) -> None:
    for method in ("POST", "PUT"):
        refused(api.http.request(method, f"/studies/{NO_UID}", headers={"Content-Type": "text/plain"}), 415)
        refused(api.http.request(method, f"/studies/{NO_UID}", headers={"Accept": NOTHING}), 406)


def test_accept_is_judged_before_the_parameters_of_a_search(api: Api) -> None:
    refused(api.get("studies", NOTHING, limit=0), 406)
    refused(api.get("studies", limit=0), 400)


@pytest.mark.parametrize("frames", ["0", "-1", "1%2C-1", "0%2C1", "one"])
def test_a_frame_list_is_judged_before_accept_and_existence(api: Api, frames: str) -> None:
    for accept in ("*/*", NOTHING):
        for below in ("", "/rendered", "/thumbnail"):
            refused(api.get(f"studies/2.25.1/series/2.25.2/instances/2.25.3/frames/{frames}{below}", accept), 400)


@pytest.mark.parametrize("query", ["quality=0", "quality=101", "quality=best", "viewport=0,0", "window=1"])
def test_a_parameter_of_an_image_is_judged_before_existence(api: Api, query: str) -> None:
    for below in ("rendered", "frames/1/rendered", "thumbnail"):
        refused(api.http.get(f"/studies/2.25.1/series/2.25.2/instances/2.25.3/{below}?{query}"), 400)


@pytest.mark.parametrize("below", ["", "/series/2.25.2"])
@pytest.mark.parametrize(
    "accept",
    [
        "application/dicom; transfer-syntax=*",
        'multipart/related; type="application/octet-stream"; transfer-syntax=*',
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.100',
    ],
)
def test_what_is_offered_for_no_study_or_series_is_not_acceptable_whether_it_exists_or_not(
    api: Api, stored: dict[str, str], below: str, accept: str
) -> None:
    refused(api.get(f"studies/2.25.1{below}", accept), 406)
    refused(api.get(f"studies/{stored['study']}{below and '/series/' + stored['series']}", accept), 406)


@pytest.mark.parametrize("accept", ["application/octet-stream; transfer-syntax=*", "image/png"])
def test_what_is_offered_for_no_instance_is_not_acceptable(api: Api, stored: dict[str, str], accept: str) -> None:
    for uids in (UNKNOWN, stored):
        refused(api.get("studies/{study}/series/{series}/instances/{instance}".format(**uids), accept), 406)


# HEAD


READABLE = [each for each in OPERATIONS if "HEAD" in each.methods]


@pytest.mark.parametrize("operation", READABLE, ids=named)
def test_head_is_answered_as_get_without_the_body(
    client: httpx.Client, stored: dict[str, str], operation: Operation
) -> None:
    for values in (stored, UNKNOWN):
        path = path_of(operation, **values)
        told, body = client.head(path), client.get(path)
        assert (told.status_code, told.content) == (body.status_code, b"")
        assert body.status_code < 500, body.text
        for name in ("content-type", "etag", "warning", "api-supported-versions", "content-range"):
            assert _without_boundary(told.headers.get(name)) == _without_boundary(body.headers.get(name)), name


def _without_boundary(value: str | None) -> str | None:
    return value and re.sub(r'boundary="?[^";]+"?', "boundary", value)


# What describes the service


@pytest.fixture(scope="module")
def described(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v2/api.json").json()
    return found


def test_the_descriptions_are_public_and_agree(client: httpx.Client, described: dict[str, Any]) -> None:
    OpenAPIV30SpecValidator(described).validate()
    as_yaml = client.get("/v2/api.yaml", headers={"Accept": NOTHING})
    assert as_yaml.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(as_yaml.text) == described
    assert described["servers"] == [{"url": str(client.base_url).rstrip("/")}]


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_capabilities_are_at_the_base_of_the_service(client: httpx.Client, path: str) -> None:
    xml = client.options(path)
    assert (xml.status_code, xml.headers["content-type"]) == (200, "application/vnd.sun.wadl+xml")
    as_json = client.options(path, headers={"Accept": "application/json"})
    (resources,) = as_json.json()["application"]["resources"]
    assert resources["base"] == f"{str(client.base_url).rstrip('/')}/v2"
    assert f'base="{resources["base"]}"' in xml.text
    assert client.get(path).content == xml.content
    assert client.options(path, headers={"Accept": NOTHING}).status_code == 406


def test_paths_of_one_segment_that_is_no_version_are_left_to_others(client: httpx.Client) -> None:
    for path in ("/viewer", "/version", "/microscopy", "/1"):
        for method in ("GET", "OPTIONS"):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers.get("api-supported-versions")) == (404, None)


def test_every_status_that_a_route_answers_is_described(
    client: httpx.Client, described: dict[str, Any], stored: dict[str, str]
) -> None:
    for operation in READABLE:
        path = path_of(operation, study="{study}", series="{series}", instance="{instance}", frames="{frames}",
                       attribute="{attribute}")  # fmt: skip
        promised = described["paths"][path]["get"]["responses"]
        for values, accept in itertools.product((stored, UNKNOWN, {"study": NO_UID}), ("*/*", NOTHING)):
            answer = client.get(path_of(operation, **values), headers={"Accept": accept})
            assert str(answer.status_code) in promised, (path, answer.status_code)
            assert _headers_of(described, promised[str(answer.status_code)]) >= set(answer.headers) - UNTOLD, path
            if answer.status_code == 200 and "content" in promised["200"]:
                kind = answer.headers["content-type"]
                assert any(_is_of(kind, media) for media in promised["200"]["content"]), (path, kind)


#: Headers that need no description here: HTTP's own, and those for browsers.
UNTOLD = {
    *("date", "connection", "transfer-encoding", "content-type", "content-length", "content-disposition", "vary"),
    *("cache-control", "x-content-type-options", "cross-origin-resource-policy"),
}


def _headers_of(described: dict[str, Any], promised: dict[str, Any]) -> set[str]:
    """The names of the headers that are described for an answer."""
    if "$ref" in promised:
        promised = described["components"]["responses"][promised["$ref"].rpartition("/")[2]]
    return {name.lower() for name in promised["headers"]}


def _is_of(content_type: str, media: str) -> bool:
    """Whether a Content-Type is that of a described media type: the same name, and the same type of parts."""
    parts = re.compile(r'type="?([^";]+)')
    name, described = content_type.partition(";")[0], media.partition(";")[0]
    if name != described or name != "multipart/related":
        return name == described
    return parts.findall(content_type)[-1:] == parts.findall(media)[-1:]


def test_every_described_media_type_is_offered(
    client: httpx.Client, described: dict[str, Any], stored: dict[str, str]
) -> None:
    """Offered, not always to be had: no codec makes a video of an image, and pixel data are no document."""
    had: set[str] = set()
    for operation in (each for each in READABLE if each.negotiates):
        path = path_of(operation, study="{study}", series="{series}", instance="{instance}", frames="{frames}",
                       attribute="{attribute}")  # fmt: skip
        for media in described["paths"][path]["get"]["responses"]["200"]["content"]:
            answer = client.get(path_of(operation, **stored), headers={"Accept": media})
            assert answer.status_code in (200, 406), (path, media, answer.text)
            if answer.status_code == 200:
                assert _is_of(answer.headers["content-type"], media)
                had.add(media)
            elif operation is not BULK_VALUE:
                assert "on offer" not in answer.text, (path, media)
    assert had >= {"application/dicom", "application/zip", "application/octet-stream", "image/jls", *RENDERED_MEDIA}


#: A value that each representation of values takes.
SAMPLE = {"UI": "2.25.1", "DA": "20200101", "TM": "1200", "DT": "20200101", "IS": "1"}


def test_every_described_search_parameter_is_taken(
    client: httpx.Client, described: dict[str, Any], stored: dict[str, str]
) -> None:
    vrs = {attribute.keyword: attribute.vr for attribute in SEARCHABLE}
    values = {"limit": "1", "offset": "0", "fuzzymatching": "true", "includefield": "all", "accept": DICOM_JSON}
    values["TimezoneOffsetFromUTC"] = "+0100"
    for operation in (each for each in READABLE if each.group == "Search"):
        path = path_of(operation, study="{study}", series="{series}")
        for parameter in described["paths"][path]["get"]["parameters"]:
            name = parameter["name"]
            if name == "cursor":  # only the service knows a value
                continue
            value = values.get(name) or SAMPLE.get(vrs.get(name, ""), "x")
            answer = client.get(path_of(operation, **stored), params={name: value})
            assert answer.status_code in (200, 204), (path, name, answer.text)
        assert client.get(path_of(operation, **stored), params={"NumberOfFilms": "1"}).status_code == 400


def test_the_health_report_is_as_described(client: httpx.Client, described: dict[str, Any]) -> None:
    report = client.get("/health/check").json()
    schema = described["components"]["schemas"]["Health"]["properties"]
    assert set(report) == set(schema)
    assert set(report["details"][0]) == set(schema["details"]["items"]["properties"])
    assert json.dumps(report["overallStatus"]) in json.dumps(schema["overallStatus"]["enum"])
