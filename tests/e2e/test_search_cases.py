"""Searching over HTTP: every attribute and kind of matching of the standard, and the headers of pages."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydicom import Dataset

from tests.builders import CT_IMAGE, SECONDARY_CAPTURE, instance
from tests.e2e.service import DICOM_JSON, Api, new_uid, value_of
from tests.local.hosting import RunningHost

NOT_QUERYABLE = (
    "Invalid query: AttributeId {} is not queryable.  If the parameter is an attribute keyword, check the casing as "
    "they are case-sensitive. The conformance statement has a list of supported query parameters, attributes and the "
    "levels."
)


def requested(step: str, procedure: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
    return item


@pytest.fixture(scope="module", params=["v1", "v2"])
def version(request: pytest.FixtureRequest, host: RunningHost) -> Iterator[Api]:
    with Api(host.url, str(request.param)) as opened:
        yield opened


@pytest.fixture(scope="module")
def study(api: Api) -> str:
    """A study of two series, the first of two instances."""
    uid = new_uid()
    common = {
        "study": uid,
        "PatientName": "Hall^Xaver^Tá",
        "PatientID": f"P-{uid[-12:]}",
        "PatientBirthDate": "19500228",
        "ReferringPhysicianName": "Doc^Tor",
        "StudyDate": "20230331",
        "StudyTime": "233000.25",
        "StudyID": f"S{uid[-10:]}",
        "AccessionNumber": f"A{uid[-10:]}",
        "StudyDescription": f"Knee {uid[-8:]} left",
        "TimezoneOffsetFromUTC": "+0100",
    }
    first = {
        "series": f"{uid}.1",
        "Modality": "CT",
        "SeriesNumber": "03",
        "PerformedProcedureStepStartDate": "20230401",
        "PerformedProcedureStepStartTime": "0930",
        "ManufacturerModelName": f"Model {uid[-8:]}",
        "RequestAttributesSequence": [requested("SPS1", "RP1"), requested("SPS2", "RP2")],
    }
    second = {"series": f"{uid}.2", "Modality": "SR", "SeriesNumber": "4", "SOPClassUID": SECONDARY_CAPTURE}
    answer = api.store(
        instance(**common, **first, sop=f"{uid}.1.1", SOPClassUID=CT_IMAGE, InstanceNumber="1"),
        instance(**common, **first, sop=f"{uid}.1.2", SOPClassUID=CT_IMAGE, InstanceNumber="0002"),
        instance(**common, **second, sop=f"{uid}.2.1", InstanceNumber="1"),
    )
    assert answer.status_code == 200, answer.text
    return uid


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("StudyInstanceUID={study}", True),
        ("0020000d={study}", True),
        ("StudyInstanceUID=1.2.3,{study}", True),
        ("StudyInstanceUID=1.2.3%5C{study}", True),
        ("PatientID=P-{last12}", True),
        ("PatientID=p-{last12}%20%20", True),
        ("PatientID=P-{last12}%00", True),
        ("PatientID=*{last12}", True),
        ("PatientID=P-{last12}*", True),
        ("PatientID=?-{last12}", True),
        ("PatientID=P{last12}", False),
        ("AccessionNumber=A{last10}", True),
        ("AccessionNumber=A{last10}&AccessionNumber=", None),
        ("StudyID=S{last10}", True),
        ("StudyID=*{last10}*", True),
        ("StudyDescription=*{last8}*", True),
        ("StudyDescription=knee%20{last8}%20LEFT", True),
        ("AccessionNumber=A{last10}&PatientName=hall%5Exaver%5Eta", True),
        ("AccessionNumber=A{last10}&PatientName=*AVE*", True),
        ("AccessionNumber=A{last10}&PatientName=xav&fuzzymatching=true", True),
        ("AccessionNumber=A{last10}&PatientName=Xaver%5ETa&FuzzyMatching=TRUE", True),
        ("AccessionNumber=A{last10}&PatientName=avr&fuzzymatching=true", False),
        ("AccessionNumber=A{last10}&PatientName=xav", False),
        ("AccessionNumber=A{last10}&ReferringPhysicianName=doc*", True),
        ("AccessionNumber=A{last10}&PatientBirthDate=19500228", True),
        ("AccessionNumber=A{last10}&PatientBirthDate=-19500227", False),
        ("AccessionNumber=A{last10}&ModalitiesInStudy=MR,CT", True),
        ("AccessionNumber=A{last10}&ModalitiesInStudy=MR", False),
        ("AccessionNumber=A{last10}&StudyDate=20230331", True),
        ("AccessionNumber=A{last10}&StudyDate=20230331-", True),
        ("AccessionNumber=A{last10}&StudyDate=-20230330", False),
        ("AccessionNumber=A{last10}&StudyTime=23", True),
        ("AccessionNumber=A{last10}&StudyTime=233000", True),
        ("AccessionNumber=A{last10}&StudyTime=233000.25", True),
        ("AccessionNumber=A{last10}&StudyTime=233000.26", False),
        ("AccessionNumber=A{last10}&StudyTime=2300-2330", True),
        ("AccessionNumber=A{last10}&StudyTime=-2329", False),
        ("StudyTime=233000.25&StudyDescription=*{last8}*", True),
        # One interval, from 22:00 on the first day to 01:00 on the last.
        ("AccessionNumber=A{last10}&StudyDate=20230330-20230401&StudyTime=22-01", True),
        ("AccessionNumber=A{last10}&StudyDate=20230331-20230402&StudyTime=2331-0600", False),
        ("AccessionNumber=A{last10}&StudyDate=20230331-20230331&StudyTime=22-01", None),
        ("AccessionNumber=A{last10}&StudyDate=20230331&StudyTime=22-01", None),
        ("AccessionNumber=A{last10}&StudyTime=22-01", None),
        ("AccessionNumber=A{last10}&StudyDate=20230331-20230401&StudyTime=0100-2200", True),
        ("AccessionNumber=A{last10}&StudyDate=20230330-20230331&StudyTime=0100-2200", False),
        # 23:30 an hour east of Greenwich is 22:30 there, and the next day in Tokyo.
        ("AccessionNumber=A{last10}&StudyDate=20230331&StudyTime=2230&TimezoneOffsetFromUTC=%2B0000", True),
        ("AccessionNumber=A{last10}&StudyDate=20230401&TimezoneOffsetFromUTC=%2B0900", True),
        ("AccessionNumber=A{last10}&StudyDate=20230331&TimezoneOffsetFromUTC=+0900", False),
        ("AccessionNumber=A{last10}&StudyDate=20230331&00080201=-0500", True),
        ("AccessionNumber=A{last10}&PatientID=", True),
        ("AccessionNumber=A{last10}&PatientID=*", True),
        ("AccessionNumber=A{last10}&includefield=all", True),
        ("AccessionNumber=A{last10}&includefield=all,PatientSex", True),
        ("AccessionNumber=A{last10}&includefield=00081030%2C00080060&limit=25&offset=0", True),
    ],
)
def test_studies(api: Api, study: str, query: str, found: bool | None) -> None:
    filled = query.format(study=study, last8=study[-8:], last10=study[-10:], last12=study[-12:])
    answer = api.http.get(f"/studies?{filled}")
    assert answer.status_code == (400 if found is None else 200 if found else 204), answer.text
    if found:
        assert [value_of(each, "0020000D") for each in answer.json()] == [study]
        assert answer.headers["x-total-count"] == "1"
    elif found is False:
        assert (answer.content, answer.headers["x-total-count"]) == (b"", "0")
    assert "link" not in answer.headers and "warning" not in answer.headers


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [4, 3]),
        ("SeriesInstanceUID={study}.2", [4]),
        ("SeriesInstanceUID={study}.1,{study}.2", [4, 3]),
        ("Modality=CT", [3]),
        ("Modality=C*", [3]),
        ("Modality=SR,CT", [4, 3]),
        ("SeriesNumber=3", [3]),
        ("SeriesNumber=0003", [3]),
        ("SeriesNumber=30", []),
        ("PerformedProcedureStepStartDate=20230401", [3]),
        ("PerformedProcedureStepStartDate=20230301-20230430", [3]),
        ("PerformedProcedureStepStartTime=09-10", [3]),
        ("PerformedProcedureStepStartDate=20230331-20230402&PerformedProcedureStepStartTime=10-08", [3]),
        ("PerformedProcedureStepStartDate=20230401-20230401&PerformedProcedureStepStartTime=10-08", None),
        ("PerformedProcedureStepStartDate=20230331-20230402&PerformedProcedureStepStartTime=08-10", [3]),
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS2", [3]),
        ("RequestAttributesSequence.RequestedProcedureID=rp*", [3]),
        ("00400275.00401001=RP2", [3]),
        ("00400275.00400009=SPS3", []),
        ("ManufacturerModelName=model*", [3]),
        ("TimezoneOffsetFromUTC=%2B0100&PerformedProcedureStepStartDate=20230401", [3]),
    ],
)
def test_series(version: Api, study: str, query: str, numbers: list[int] | None) -> None:
    answer = version.http.get(f"/studies/{study}/series?{query.format(study=study)}")
    if numbers is None:
        assert answer.status_code == 400 and "begins after it ends" in answer.text
        return
    assert [value_of(each, "00200011") for each in (answer.json() if answer.content else [])] == numbers
    everywhere = version.search("series", StudyInstanceUID=study, **dict(httpx.QueryParams(query.format(study=study))))
    assert [value_of(each, "00200011") for each in everywhere] == numbers


@pytest.mark.parametrize(
    ("query", "suffixes"),
    [
        ("", ["2.1", "1.2", "1.1"]),
        (f"SOPClassUID={CT_IMAGE}", ["1.2", "1.1"]),
        (
            f"00080016={CT_IMAGE}&00080060=CT&0020000E={{study}}.1&includefield=AvailableTransferSyntaxUID",
            ["1.2", "1.1"],
        ),
        (f"SOPClassUID=1.2.3,{SECONDARY_CAPTURE}", ["2.1"]),
        ("InstanceNumber=1", ["2.1", "1.1"]),
        ("InstanceNumber=02", ["1.2"]),
        ("InstanceNumber=1&Modality=CT", ["1.1"]),
        (f"InstanceNumber=1&SOPClassUID={CT_IMAGE}&SOPInstanceUID={{study}}.1.1,{{study}}.1.2", ["1.1"]),
    ],
)
def test_instances(version: Api, study: str, query: str, suffixes: list[str]) -> None:
    filled = dict(httpx.QueryParams(query.format(study=study)))
    for path, more in ((f"studies/{study}/instances", {}), ("instances", {"StudyInstanceUID": study})):
        found = version.search(path, **filled, **more)
        assert [value_of(each, "00080018") for each in found] == [f"{study}.{each}" for each in suffixes]
        assert all(value_of(each, "00083002") == "1.2.840.10008.1.2.1" for each in found)


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        ("studies", "Modality=CT", NOT_QUERYABLE.format("Modality")),
        ("studies", "PatientSex=F", NOT_QUERYABLE.format("PatientSex")),
        ("studies/{study}/series", "StudyInstanceUID={study}", NOT_QUERYABLE.format("StudyInstanceUID")),
        ("studies/{study}/series", "PatientID=x", NOT_QUERYABLE.format("PatientID")),
        ("studies/{study}/series/{study}.1/instances", "Modality=CT", NOT_QUERYABLE.format("Modality")),
        ("series", "InstanceNumber=1", NOT_QUERYABLE.format("InstanceNumber")),
        ("studies", "limit=500", "The query parameter 'Limit' is invalid. The field Limit must be between 1 and 200."),
        ("studies", "limit=0", "The query parameter 'Limit' is invalid. The field Limit must be between 1 and 200."),
        ("studies", "patientname=x", "unknown query parameter"),
        ("studies", "offset=-1", "The query parameter 'Offset' is invalid."),
        ("studies", "offset=1&cursor=x", "cursor and offset"),
        ("studies", "cursor=x", "cursor"),
        ("studies", "cursor=a&cursor=b", "specified more than once"),
        ("studies", "cursor=%00%FF", "cursor"),
        ("studies", "PatientID=a&00100020=b", "specified more than once"),
        ("studies", "fuzzymatching=1", "'FuzzyMatching' is invalid"),
        ("studies", "includefield=Nothing", "unknown attribute 'Nothing' in includefield"),
        ("studies", "StudyDate=-", "Date should be valid and formatted as yyyyMMdd."),
        ("studies", "StudyDate=20200201-20200101", "begins after it ends"),
        ("studies", "StudyTime=25", "Time should be valid and formatted as HH, HHmm, HHmmss or HHmmss.FFFFFF."),
        ("series", "SeriesNumber=x", "Integer String value is invalid"),
        ("studies", "PatientName=%22x&fuzzymatching=true", "quotation mark"),
        ("studies", "TimezoneOffsetFromUTC=CET", "must be +hhmm or -hhmm"),
        ("studies", "PatientID=%3Cscript%3E", "must not contain '<'"),
    ],
)
def test_what_is_refused(version: Api, study: str, path: str, query: str, message: str) -> None:
    answer = version.http.get(f"/{path.format(study=study)}?{query.format(study=study)}")
    assert answer.status_code == 400
    assert message in answer.text


# Pages


@pytest.fixture(scope="module")
def pages_of(api: Api) -> str:
    """A patient with five studies of one instance each."""
    patient = f"Paged {new_uid()[-12:]}"
    for _ in range(5):
        uid = new_uid()
        stored = api.store(instance(study=uid, series=f"{uid}.1", sop=f"{uid}.1.1", PatientID=patient))
        assert stored.status_code == 200
    return patient


def walk(api: Api, path: str, headers: dict[str, str], **parameters: Any) -> list[httpx.Response]:
    """The pages that each answer's Link leads to."""
    answers = [api.http.get(path, params=parameters, headers=headers)]
    while "link" in answers[-1].headers:
        found = re.fullmatch(r'<([^>]+)>; rel="next"', answers[-1].headers["link"])
        assert found is not None
        url = urlsplit(found[1])
        assert f"{url.scheme}://{url.netloc}" == "https://viewer.example:8443"
        answers.append(api.http.get(f"{path}?{url.query}", headers=headers))
        assert url.path == f"/proxied/v2{path}"
    return answers


@pytest.mark.parametrize(
    ("path", "tag"), [("/studies", "0020000D"), ("/series", "0020000E"), ("/instances", "00080018")]
)
def test_links_lead_through_all_pages_as_the_client_sees_the_service(
    api: Api, pages_of: str, path: str, tag: str
) -> None:
    headers = {
        "X-Forwarded-Host": "viewer.example:8443",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/proxied",
        "Accept": DICOM_JSON,
    }
    whole = [value_of(each, tag) for each in api.search(path[1:], PatientID=pages_of)]
    assert len(whole) == 5
    answers = walk(api, path, headers, PatientID=pages_of, limit=2, includefield="all")
    assert [len(each.json()) for each in answers] == [2, 2, 1]
    assert [value_of(each, tag) for answer in answers for each in answer.json()] == whole
    warnings = [answer.headers.get("warning") for answer in answers]
    more = '299 viewer.example:8443 "There are additional results that can be requested"'
    counted = '299 viewer.example:8443 "There are 3 additional results that can be requested"'
    assert warnings == [counted if path == "/studies" else more, more, None]
    totals = [answer.headers.get("x-total-count") for answer in answers]
    assert totals == (["5"] * 3 if path == "/studies" else [None] * 3)


def test_a_link_repeats_the_query_as_the_client_wrote_it(api: Api, pages_of: str) -> None:
    written = f"accept=application/dicom+json&PatientID={pages_of.replace(' ', '+')}&limit=2&OFFSET=1&x%3E=%22"
    refused = api.http.get(f"/studies?{written}")
    assert refused.status_code == 400  # the parameter that is none
    written = written.removesuffix("&x%3E=%22")
    first = api.http.get(f"/studies?{written}")
    url, _, _ = first.headers["link"].removeprefix("<").partition(">")
    assert urlsplit(url).query.startswith(written.removesuffix("&OFFSET=1") + "&cursor=")
    following = api.http.get(f"/studies?{urlsplit(url).query}")
    assert following.status_code == 200
    uids = [value_of(each, "0020000D") for answer in (first, following) for each in answer.json()]
    assert len(set(uids)) == 4


def test_the_number_of_results_below_a_study_is_always_told(api: Api, study: str) -> None:
    for path, total in ((f"/studies/{study}/series", "2"), (f"/studies/{study}/instances", "3")):
        for parameters in ({"limit": 1}, {"limit": 1, "offset": 1}, {"offset": 50}):
            answer = api.http.get(path, params=parameters)
            assert answer.headers["x-total-count"] == total
            assert answer.status_code == (204 if parameters == {"offset": 50} else 200)


def test_offsets_go_on_until_a_page_is_empty(api: Api, pages_of: str) -> None:
    found = []
    for offset in (0, 2, 4, 6):
        answer = api.http.get("/studies", params={"PatientID": pages_of, "limit": 2, "offset": offset})
        found.append(len(answer.json()) if answer.content else 0)
        assert ("link" in answer.headers) == (offset < 4)
    assert found == [2, 2, 1, 0]


def test_a_cursor_of_another_resource_is_refused(api: Api, pages_of: str) -> None:
    answer = api.http.get("/studies", params={"PatientID": pages_of, "limit": 2})
    cursor = answer.headers["link"].partition("cursor=")[2].partition(">")[0]
    assert api.http.get("/series", params={"cursor": cursor}).status_code == 400
    assert api.http.get("/studies", params={"cursor": cursor, "PatientID": pages_of}).status_code == 200
