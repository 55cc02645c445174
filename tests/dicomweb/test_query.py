"""The query grammar, as tables: what is understood, and the exact words of what is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.matching import Exact, Fuzzy, Range, Test, Wildcard
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
        ([("RequestAttributesSequence.AccessionNumber", "x")], "Invalid query: unknown query parameter"),
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
