"""Which attributes a search result has: defaults by level, what is asked for, what is computed."""

import pytest

from shared.dicomweb.query import (
    ALL_INSTANCES,
    ALL_SERIES,
    SERIES_INSTANCES,
    STUDIES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    SearchResource,
    parse_query,
)
from shared.dicomweb.search_response import DEFAULTS, computed_of, result, wanted_tags
from shared.model import InstanceKey, Level, Series, StoredInstance, Study

STUDY = Study("1.2", 1, "t", 3, 2, {"MR": 1, "CT": 1}, {}, ("1.2.3", "1.2.3.4"))
SERIES = Series("1.2", "1.2.3", 1, "t", 2, {}, "1.2.3.4")
INSTANCE = StoredInstance(InstanceKey("1.2", "1.2.3", "1.2.3.4"), "v", 10, "1.2.840.10008.1.2.1", "1.2", 1)
URL = "http://localhost/v2/studies/1.2"


@pytest.mark.parametrize(
    ("resource", "levels", "uids"),
    [
        (STUDIES, [Level.STUDY], set()),
        (ALL_SERIES, [Level.STUDY, Level.SERIES], set()),
        (ALL_INSTANCES, list(Level), set()),
        (STUDY_SERIES, [Level.SERIES], {"0020000D"}),
        (STUDY_INSTANCES, [Level.SERIES, Level.INSTANCE], {"0020000D"}),
        (SERIES_INSTANCES, [Level.INSTANCE], {"0020000D", "0020000E"}),
    ],
)
def test_the_defaults_of_a_resource_are_those_of_its_levels_and_the_uids_above(
    resource: SearchResource, levels: list[Level], uids: set[str]
) -> None:
    expected = uids.union(*(DEFAULTS[level] for level in levels))
    assert wanted_tags(parse_query([], resource)) == expected


def test_what_the_query_names_is_returned_even_where_it_asks_nothing() -> None:
    query = parse_query([("PatientBirthDate", ""), ("includefield", "PatientSex,00091001")], STUDIES)
    assert wanted_tags(query) - DEFAULTS[Level.STUDY] == {"00091001"}
    query = parse_query([("Modality", "CT"), ("includefield", "00180015")], STUDY_SERIES)
    assert "00180015" in wanted_tags(query)


def test_computed_attributes_come_from_the_index_whatever_the_data_set_says() -> None:
    computed = computed_of(STUDY, SERIES, INSTANCE, URL)
    lying = {
        "00201208": {"vr": "IS", "Value": [99]},
        "00100010": {"vr": "PN"},
        "00100040": {"vr": "CS", "Value": ["F"]},
    }
    found = result(parse_query([], STUDIES), lying, computed)
    assert found["00201208"] == {"vr": "IS", "Value": [3]}
    assert found["00201206"] == {"vr": "IS", "Value": [2]}
    assert found["00080061"] == {"vr": "CS", "Value": ["CT", "MR"]}
    assert found["00081190"] == {"vr": "UR", "Value": [URL]}
    assert found["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert (found["00100010"], found["00100040"]) == ({"vr": "PN"}, {"vr": "CS", "Value": ["F"]})
    assert "00201209" not in found and "00083002" not in found
    assert list(found) == sorted(found)


def test_an_instance_says_in_which_transfer_syntax_it_can_be_had() -> None:
    found = result(parse_query([], SERIES_INSTANCES), {}, computed_of(STUDY, SERIES, INSTANCE, URL))
    assert found["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}


def test_all_returns_everything_known_and_no_value_that_was_cut() -> None:
    known = {
        "00091001": {"vr": "LO", "Value": ["x"]},
        "00081110": {"vr": "SQ", "cut": True},
        "00201208": {"vr": "IS", "Value": [99]},
    }
    found = result(parse_query([("includefield", "all")], STUDIES), known, computed_of(STUDY, None, None, URL))
    assert found["00091001"] == {"vr": "LO", "Value": ["x"]}
    assert "00081110" not in found
    assert found["00201208"] == {"vr": "IS", "Value": [3]}
