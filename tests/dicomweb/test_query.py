"""The query grammar, as tables: what is understood, and the exact words of what is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.matching import Exact, Fuzzy, Range, Test, Wildcard
from shared.dicomweb.paging import token_of
from shared.dicomweb.query import (
    ALL_INSTANCES,
    ALL_SERIES,
    SERIES_INSTANCES,
    STUDIES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    Query,
    SearchResource,
    parse_query,
)
from shared.errors import BadRequest
from shared.model import Position


def conditions_of(query: Query) -> dict[str, Test]:
    return {predicate.attribute.keyword: predicate.test for predicate in query.predicates}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PatientID", "AbC", {"PatientID": Exact(("abc",))}),
        ("00100020", "AbC ", {"PatientID": Exact(("abc",))}),
        ("PatientID", "*88*", {"PatientID": Wildcard("*88*")}),
        ("PatientID", "a,b", {"PatientID": Exact(("a,b",))}),
        ("PatientName", "Hall^XXXX^Tá", {"PatientName": Exact(("hall^xxxx^ta",))}),
        ("PatientName", "D?e*", {"PatientName": Wildcard("d?e*")}),
        ("StudyDate", "20200101", {"StudyDate": Exact(("20200101",))}),
        ("StudyDate", "20200101-20200131", {"StudyDate": Range("20200101", "20200131")}),
        ("StudyDate", "20200101-", {"StudyDate": Range("20200101", None)}),
        ("StudyDate", "-20200131", {"StudyDate": Range(None, "20200131")}),
        ("StudyInstanceUID", "1.2", {"StudyInstanceUID": Exact(("1.2",))}),
        ("StudyInstanceUID", "1.2,1.3", {"StudyInstanceUID": Exact(("1.2", "1.3"))}),
        ("StudyInstanceUID", "1.2\\1.3\\1.2", {"StudyInstanceUID": Exact(("1.2", "1.3"))}),
        ("StudyInstanceUID", "a/b", {"StudyInstanceUID": Exact(())}),
        ("StudyInstanceUID", "1.2*", {"StudyInstanceUID": Exact(())}),
        ("StudyInstanceUID", "1.2,x\\1.3", {"StudyInstanceUID": Exact(("1.2", "1.3"))}),
        ("ModalitiesInStudy", "MR,CT", {"ModalitiesInStudy": Exact(("mr", "ct"))}),
        ("ModalitiesInStudy", "C*", {"ModalitiesInStudy": Wildcard("c*")}),
        ("StudyTime", "10", {"StudyTime": Range("100000000000", "105959999999")}),
        ("StudyTime", "1015", {"StudyTime": Range("101500000000", "101559999999")}),
        ("StudyTime", "101530", {"StudyTime": Range("101530000000", "101530999999")}),
        ("StudyTime", "101530.5", {"StudyTime": Range("101530500000", "101530599999")}),
        ("StudyTime", "101530.123456", {"StudyTime": Range("101530123456", "101530123456")}),
        ("StudyTime", "10-1130", {"StudyTime": Range("100000000000", "113059999999")}),
        ("StudyTime", "10-", {"StudyTime": Range("100000000000", None)}),
        ("StudyTime", "-10", {"StudyTime": Range(None, "105959999999")}),
        ("StudyID", "A*1", {"StudyID": Wildcard("a*1")}),
        ("StudyTime", "*", {}),
        ("TimezoneOffsetFromUTC", "+0100", {}),
        ("PatientID", "X\0", {"PatientID": Exact(("x",))}),
        ("PatientID", "", {}),
        ("PatientID", "*", {}),
        ("PatientName", "**", {}),
        ("PatientName", "^^", {}),
        ("StudyDate", "", {}),
    ],
)
def test_conditions(name: str, value: str, expected: dict[str, Test]) -> None:
    query = parse_query([(name, value)], STUDIES)
    assert conditions_of(query) == expected
    assert len(query.asked) == 1  # returned even where it asks nothing


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Stone Ha", Fuzzy("stone ha")), ("Hall^J", Fuzzy("hall j")), ("*all*", Wildcard("*all*"))],
)
def test_fuzzy_matching_is_for_names_without_wildcards(value: str, expected: Test) -> None:
    query = parse_query([("PatientName", value), ("FuzzyMatching", "TRUE"), ("PatientID", "x")], STUDIES)
    assert conditions_of(query) == {"PatientName": expected, "PatientID": Exact(("x",))}


def test_paging_and_included_fields() -> None:
    query = parse_query(
        [
            ("LIMIT", "25"),
            ("Offset", "50"),
            ("includefield", "00081030,Modality"),
            ("IncludeField", "00091001"),
        ],
        STUDIES,
    )
    assert (query.limit, query.offset, query.include_all) == (25, 50, False)
    assert query.include == {"00081030", "00080060", "00091001"}
    assert parse_query([("includefield", "ALL"), ("includefield", "PatientSex")], STUDIES).include_all
    nothing = parse_query([], STUDIES)
    assert (nothing.limit, nothing.offset, nothing.include, nothing.include_all) == (100, 0, frozenset(), False)


NOT_QUERYABLE = (
    "Invalid query: AttributeId {} is not queryable.  If the parameter is an attribute keyword, check the casing as "
    "they are case-sensitive. The conformance statement has a list of supported query parameters, attributes and the "
    "levels."
)
LIMIT = "The query parameter 'Limit' is invalid. The field Limit must be between 1 and 200."
DATE = (
    "Invalid query: specified Date value '{}' is invalid for attribute 'StudyDate'. Date should be valid and formatted "
    "as yyyyMMdd."
)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([("Modality", "CT")], NOT_QUERYABLE.format("Modality")),
        ([("PatientSex", "F")], NOT_QUERYABLE.format("PatientSex")),
        ([("00091001", "F")], NOT_QUERYABLE.format("00091001")),
        ([("patientid", "x")], "Invalid query: unknown query parameter 'patientid'."),
        (
            [("RequestAttributesSequence.AccessionNumber", "x")],
            "RequestAttributesSequence.AccessionNumber is not query",
        ),
        ([("RequestAttributesSequence.NoSuchKeyword", "x")], "Invalid query: unknown query parameter"),
        ([("RequestAttributesSequence.", "x")], "Invalid query: unknown query parameter"),
        ([("StudyTime", "noon")], "specified Time value 'noon' is invalid for attribute 'StudyTime'"),
        ([("StudyTime", "2400")], "specified Time value"),
        ([("StudyTime", "1")], "specified Time value"),
        ([("StudyTime", "11-10")], "time range of attribute 'StudyTime' begins after it ends"),
        ([("StudyDate", "20200101-"), ("StudyTime", "11-10")], "time range of attribute 'StudyTime' begins"),
        ([("StudyDate", "20200101-20200101"), ("StudyTime", "11-10")], "of attribute 'StudyDate+StudyTime' begins"),
        ([("PatientName", 'a"b'), ("fuzzymatching", "true")], "holds a quotation mark"),
        ([("TimezoneOffsetFromUTC", "Z"), ("StudyDate", "20200101")], "TimezoneOffsetFromUTC must be"),
        ([("TimezoneOffsetFromUTC", "+1500")], "TimezoneOffsetFromUTC must be"),
        ([("cursor", "x"), ("offset", "1")], "cursor and offset"),
        ([("PatientID", "a"), ("00100020", "b")], "attribute 'PatientID' is specified more than once."),
        ([("PatientID", "a"), ("PatientID", "a")], "attribute 'PatientID' is specified more than once."),
        ([("StudyDate", "NotAValidStudyDate")], DATE.format("NotAValidStudyDate")),
        ([("StudyDate", "20200230")], DATE.format("20200230")),
        ([("StudyDate", "2020")], DATE.format("2020")),
        ([("StudyDate", "-")], DATE.format("-")),
        ([("StudyDate", "20200101-20200101-20200101")], "Invalid query: specified Date value"),
        ([("StudyDate", "20200201-20200101")], "begins after it ends"),
        ([("limit", "0")], LIMIT),
        ([("limit", "201")], LIMIT),
        ([("limit", "-1")], LIMIT),
        ([("limit", "ten")], "The query parameter 'Limit' is invalid."),
        ([("limit", "10"), ("Limit", "10")], "specified more than once"),
        ([("offset", "-1")], "The query parameter 'Offset' is invalid."),
        ([("offset", "1e3")], "The query parameter 'Offset' is invalid."),
        ([("offset", "9" * 30)], "The query parameter 'Offset' is invalid."),
        ([("fuzzymatching", "yes")], "The query parameter 'FuzzyMatching' is invalid."),
        ([("includefield", "NoSuchKeyword")], "unknown attribute 'NoSuchKeyword' in includefield"),
        ([("StudyInstanceUID", ",".join(f"1.{n}" for n in range(101)))], "more than 100 values"),
        ([(f"0010{n:04X}", "x") for n in range(65)], "more than 64 parameters"),
    ],
)
def test_what_is_refused_and_why(parameters: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse_query(parameters, STUDIES)
    assert message in str(raised.value)


LEVELS = [("PatientID", "study"), ("Modality", "series"), ("SOPInstanceUID", "instance")]


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        (STUDIES, {"study"}),
        (ALL_SERIES, {"study", "series"}),
        (ALL_INSTANCES, {"study", "series", "instance"}),
        (STUDY_SERIES, {"series"}),
        (STUDY_INSTANCES, {"series", "instance"}),
        (SERIES_INSTANCES, {"instance"}),
    ],
)
@pytest.mark.parametrize(("keyword", "level"), LEVELS)
def test_attributes_are_searchable_on_the_resources_of_their_levels(
    resource: SearchResource, allowed: set[str], keyword: str, level: str
) -> None:
    if level in allowed:
        assert len(parse_query([(keyword, "1.2")], resource).predicates) == 1
    else:
        with pytest.raises(BadRequest, match="not queryable"):
            parse_query([(keyword, "1.2")], resource)


def test_long_or_hostile_names_are_cut_and_cleaned_in_the_answer() -> None:
    with pytest.raises(BadRequest) as raised:
        parse_query([("x\r\nSet-Cookie: y" + "z" * 10_000, "1")], STUDIES)
    assert len(str(raised.value)) < 300 and "\r" not in str(raised.value) and "\n" not in str(raised.value)


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_whatever_comes_is_understood_or_a_bad_request(parameters: list[tuple[str, str]]) -> None:
    with contextlib.suppress(BadRequest):
        parse_query(parameters, ALL_INSTANCES)


@given(st.sampled_from(["PatientName", "PatientID", "StudyDate", "StudyInstanceUID", "ModalitiesInStudy"]), st.text())
def test_any_value_of_a_searchable_attribute_is_understood_or_a_bad_request(name: str, value: str) -> None:
    with contextlib.suppress(BadRequest):
        parse_query([(name, value), ("fuzzymatching", "true")], STUDIES)


# Series and instances


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SeriesNumber", "0003", {"SeriesNumber": Exact(("3",))}),
        ("SeriesNumber", "", {}),
        ("00400275.00400009", "x", {"RequestAttributesSequence.ScheduledProcedureStepID": Exact(("x",))}),
        (
            "RequestAttributesSequence.RequestedProcedureID",
            "R*",
            {"RequestAttributesSequence.RequestedProcedureID": Wildcard("r*")},
        ),
        (
            "PerformedProcedureStepStartTime",
            "10-11",
            {"PerformedProcedureStepStartTime": Range("1" + "0" * 11, "115959999999")},
        ),
        ("SOPClassUID", "1.2,1.3", {"SOPClassUID": Exact(("1.2", "1.3"))}),
        ("InstanceNumber", "-1", {"InstanceNumber": Exact(("-1",))}),
    ],
)
def test_conditions_on_series_and_instances(name: str, value: str, expected: dict[str, Test]) -> None:
    query = parse_query([(name, value)], ALL_INSTANCES)
    assert conditions_of(query) == expected
    assert all(len(tag) == 8 for tag in query.asked)


@pytest.mark.parametrize("value", ["one", "1.5", "1*", "9" * 20])
def test_a_number_that_is_none(value: str) -> None:
    with pytest.raises(BadRequest, match="Integer String value is invalid for attribute 'SeriesNumber'"):
        parse_query([("SeriesNumber", value)], ALL_INSTANCES)


MOMENT = "StudyDate+StudyTime"


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (
            {"StudyDate": "20200101-20200103", "StudyTime": "10-12"},
            {MOMENT: Range("20200101100000000000", "20200103125959999999"), "StudyDate": Range("20200101", "20200103")},
        ),
        (
            {"StudyDate": "20200101-", "StudyTime": "10-"},
            {MOMENT: Range("20200101100000000000", None), "StudyDate": Range("20200101", None)},
        ),
        # A range of moments may begin later in the day than it ends.
        (
            {"StudyDate": "20200101-20200102", "StudyTime": "2200-0600"},
            {MOMENT: Range("20200101220000000000", "20200102060059999999"), "StudyDate": Range("20200101", "20200102")},
        ),
        # A single time is that time of any of the days.
        (
            {"StudyDate": "20200101-20200103", "StudyTime": "10"},
            {"StudyDate": Range("20200101", "20200103"), "StudyTime": Range("100000000000", "105959999999")},
        ),
        # Ranges of different forms are two conditions.
        (
            {"StudyDate": "20200101-", "StudyTime": "10-12"},
            {"StudyDate": Range("20200101", None), "StudyTime": Range("100000000000", "125959999999")},
        ),
        (
            {"StudyDate": "20200101", "StudyTime": "10-12"},
            {"StudyDate": Exact(("20200101",)), "StudyTime": Range("100000000000", "125959999999")},
        ),
        # In a zone a date is a day of that zone, and two of any other.
        (
            {"StudyDate": "20200101", "TimezoneOffsetFromUTC": "+0100"},
            {MOMENT: Range("20200101000000000000", "20200101235959999999"), "StudyDate": Range("20191231", "20200102")},
        ),
        (
            {"StudyDate": "20200101", "StudyTime": "10-12", "TimezoneOffsetFromUTC": "-0530"},
            {MOMENT: Range("20200101100000000000", "20200101125959999999"), "StudyDate": Range("20191231", "20200102")},
        ),
        ({"PatientID": "x", "TimezoneOffsetFromUTC": "+0100"}, {"PatientID": Exact(("x",))}),
    ],
)
def test_dates_and_times_together(parameters: dict[str, str], expected: dict[str, Test]) -> None:
    assert conditions_of(parse_query(parameters.items(), STUDIES)) == expected


def test_a_path_in_includefield_means_its_sequence() -> None:
    query = parse_query([("includefield", "RequestAttributesSequence.ScheduledProcedureStepID")], STUDIES)
    assert query.include == {"00400275"}


def test_a_cursor_says_after_what_the_page_begins() -> None:
    position = Position("", (7, "1.2"))
    assert parse_query([("Cursor", token_of(position))], STUDIES).after == position
    assert parse_query([], STUDIES).after is None
