"""Folding and comparing values, as tables; and that no pattern can make a match take for ever."""

import datetime
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.attributes import MOMENTS, SEARCHABLE_BY_TAG
from shared.dicom.matching import (
    MAX_ITEMS,
    Exact,
    Fuzzy,
    Range,
    Test,
    Wildcard,
    fold,
    fold_name,
    fold_text,
    fold_time,
    folded_values,
    name_forms,
    satisfies,
    values_of,
    word_runs,
)

NAME = SEARCHABLE_BY_TAG["00100010"]
PATIENT_ID = SEARCHABLE_BY_TAG["00100020"]
DATE = SEARCHABLE_BY_TAG["00080020"]


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        ("Hall^XXXX^Tá", "hall^xxxx^ta"),
        ("Hall^XXXX^Ta\u0301", "hall^xxxx^ta"),
        ("DOE^JOHN^^^", "doe^john"),
        (" Doe^John \0", "doe^john"),
        ("Straße^Ünal", "strasse^unal"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada^tarou=山田^太郎=やまだ^たろう"),
        ("ガ^ダ", "ガ^ダ"),
        ("=山田^太郎", "=山田^太郎"),
        ("^^^^", ""),
        ("", ""),
    ],
)
def test_names_fold_case_accents_padding_and_empty_components(value: str, folded: str) -> None:
    assert fold_name(value) == folded


@pytest.mark.parametrize(
    ("value", "folded"),
    [("Abc ", "abc"), ("á", "á"), ("a\u0301", "á"), ("X\0", "x"), (" lead", "lead"), ("in side", "in side")],
)
def test_text_folds_case_and_padding_but_not_accents(value: str, folded: str) -> None:
    assert fold_text(value) == folded


def test_uids_only_lose_their_padding() -> None:
    assert fold("UI", " 1.2.3\0 ") == "1.2.3"


def test_a_name_is_found_whole_and_by_each_group() -> None:
    assert name_forms("a^b=c=d") == ("a^b=c=d", "a^b", "c", "d")
    assert name_forms("a^b") == ("a^b",)
    assert name_forms("") == ()


def test_words_of_a_name_run_to_its_end() -> None:
    assert word_runs("stone hall^jon") == ("stone hall jon", "hall jon", "jon")


@pytest.mark.parametrize(
    ("test", "value", "expected"),
    [
        (Exact(("doe^john",)), "doe^john", True),
        (Exact(("doe",)), "doe^john", False),
        (Exact(("x", "doe^john")), "doe^john", True),
        (Exact(("山田",)), "yamada=山田", True),
        (Wildcard("doe*"), "doe^john", True),
        (Wildcard("*john"), "doe^john", True),
        (Wildcard("d?e^*"), "doe^john", True),
        (Wildcard("d?^john"), "doe^john", False),
        (Wildcard("*.^*"), "doe^john", False),
        (Wildcard("*oe*oh*"), "doe^john", True),
        (Wildcard("*oh*oe*"), "doe^john", False),
        (Wildcard("**"), "doe^john", True),
        (Fuzzy("jo"), "doe^john", True),
        (Fuzzy("doe jo"), "doe^john", True),
        (Fuzzy("john doe"), "doe^john", False),
        (Fuzzy("oe"), "doe^john", False),
    ],
)
def test_names_match(test: Test, value: str, expected: bool) -> None:
    assert satisfies(test, NAME, (value,)) is expected


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (Range("20200101", "20200131"), True),
        (Range("20200115", "20200115"), True),
        (Range("20200116", None), False),
        (Range(None, "20200114"), False),
        (Range(None, "20200115"), True),
    ],
)
def test_dates_match_a_range_with_both_ends(test: Test, expected: bool) -> None:
    assert satisfies(test, DATE, ("20200115",)) is expected


def test_nothing_satisfies_a_test_where_there_is_no_value() -> None:
    for test in (Exact(("a",)), Wildcard("*a*"), Range(None, "20200101")):
        assert not satisfies(test, PATIENT_ID, ())


def test_only_the_first_value_counts_but_every_modality_of_a_study() -> None:
    elements = {
        "00100020": {"vr": "LO", "Value": ["A", "B"]},
        "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
        "00100010": {"vr": "PN", "Value": [{"Ideographic": "山田"}]},
    }
    assert folded_values(elements, PATIENT_ID) == ("a",)
    assert folded_values(elements, SEARCHABLE_BY_TAG["00080061"]) == ("ct", "mr")
    assert values_of(elements, "00100010") == ["=山田"]
    assert folded_values(elements, DATE) == ()


def test_a_hostile_pattern_takes_no_exponential_time() -> None:
    started = time.process_time()
    assert not satisfies(Wildcard("*a" * 40 + "b"), PATIENT_ID, ("a" * 64,))
    assert time.process_time() - started < 1  # exponential would be centuries


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab", max_size=8))
def test_patterns_match_as_their_definition_says(pattern: str, value: str) -> None:
    def matches(pattern: str, value: str) -> bool:
        if not pattern:
            return not value
        if pattern[0] == "*":
            return any(matches(pattern[1:], value[at:]) for at in range(len(value) + 1))
        return bool(value) and pattern[0] in ("?", value[0]) and matches(pattern[1:], value[1:])

    assert satisfies(Wildcard(pattern), PATIENT_ID, (value,)) == matches(pattern, value)


# Times, numbers, moments and paths


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("10", "100000000000", "105959999999"),
        ("1015", "101500000000", "101559999999"),
        ("101530", "101530000000", "101530999999"),
        ("101530.25 ", "101530250000", "101530259999"),
        ("10:15:30", "101530000000", "101530999999"),
        ("235960", "235960000000", "235960999999"),
    ],
)
def test_a_time_is_what_it_may_mean(value: str, first: str, last: str) -> None:
    assert (fold_time(value, last=False), fold_time(value, last=True)) == (first, last)


@pytest.mark.parametrize("value", ["", "1", "24", "1060", "101575", "101530.", "101530.1234567", "noon", "10-11"])
def test_what_is_no_time_is_found_by_none(value: str) -> None:
    assert fold_time(value, last=False) is None
    assert fold("TM", value) == ""


@pytest.mark.parametrize(("value", "expected"), [("3", "3"), ("0003 ", "3"), ("-05", "-5"), ("+7", "7"), ("0", "0")])
def test_numbers_are_compared_as_numbers(value: str, expected: str) -> None:
    assert fold("IS", value) == expected


STEP_ID = SEARCHABLE_BY_TAG["00400275.00400009"]


def test_any_item_of_a_sequence_may_match() -> None:
    items = [{"00400009": {"vr": "SH", "Value": [value, "second"]}} for value in ("A1", "B2", "A1")]
    data_set = {"00400275": {"vr": "SQ", "Value": [*items, {}]}}
    assert folded_values(data_set, STEP_ID) == ("a1", "b2")
    assert satisfies(Exact(("b2",)), STEP_ID, folded_values(data_set, STEP_ID))
    assert folded_values({"00400275": {"vr": "SQ"}}, STEP_ID) == ()
    assert folded_values({"00400275": {"vr": "LO", "Value": ["text"]}}, STEP_ID) == ()


def test_a_hostile_sequence_is_looked_at_only_so_far() -> None:
    items = [{"00400009": {"vr": "SH", "Value": [str(number)]}} for number in range(1000)]
    assert len(folded_values({"00400275": {"vr": "SQ", "Value": items}}, STEP_ID)) == MAX_ITEMS


def study_at(date: str, time: str, zone: str = "") -> dict[str, dict[str, object]]:
    values = {"00080020": ("DA", date), "00080030": ("TM", time), "00080201": ("SH", zone)}
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items() if value}


@pytest.mark.parametrize(
    ("date", "time", "zone", "wanted", "expected"),
    [
        ("20200101", "0030", "", None, "20200101003000000000"),
        ("20200101", "0030", "", 60, "20200101003000000000"),
        ("20200101", "0030", "+0100", None, "20200101003000000000"),
        ("20200101", "0030", "+0100", 60, "20200101003000000000"),
        ("20200101", "0030", "+0100", 0, "20191231233000000000"),
        ("20191231", "2330", "-0530", 60, "20200101060000000000"),
        ("20191231", "235960.5", "+0000", 0, "20191231235959500000"),
    ],
)
def test_moments(date: str, time: str, zone: str, wanted: int | None, expected: str) -> None:
    attribute = replace(MOMENTS["00080020"], zone=wanted)
    assert folded_values(study_at(date, time, zone), attribute) == (expected,)


@pytest.mark.parametrize(("date", "time"), [("", "10"), ("20200101", ""), ("2020", "10"), ("20200101", "noon")])
def test_without_date_or_time_there_is_no_moment(date: str, time: str) -> None:
    assert folded_values(study_at(date, time), MOMENTS["00080020"]) == ()


def test_a_moment_beyond_the_calendar_is_none() -> None:
    attribute = replace(MOMENTS["00080020"], zone=-720)
    assert folded_values(study_at("00010101", "0000", "+1400"), attribute) == ()
    assert folded_values(study_at("20201350", "0000", "+1400"), attribute) == ()


@given(
    st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)),
    st.integers(-12 * 60, 14 * 60),
    st.integers(-12 * 60, 14 * 60),
)
def test_moments_move_as_python_moves_them(moment: datetime.datetime, own: int, wanted: int) -> None:
    offset = f"{'-' if own < 0 else '+'}{abs(own) // 60:02}{abs(own) % 60:02}"
    data_set = study_at(f"{moment.year:04}{moment:%m%d}", f"{moment:%H%M%S.%f}", offset)
    zone = datetime.timezone(datetime.timedelta(minutes=own))
    there = moment.replace(tzinfo=zone).astimezone(datetime.timezone(datetime.timedelta(minutes=wanted)))
    found = folded_values(data_set, replace(MOMENTS["00080020"], zone=wanted))
    assert found == (f"{there.year:04}{there:%m%d%H%M%S%f}",)
