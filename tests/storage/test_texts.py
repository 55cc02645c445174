"""Text rows without any storage: that they cover what matching finds, and that backlogs lose and leave nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.attributes import SEARCHABLE, SearchAttribute
from shared.dicom.matching import Fuzzy, Wildcard, fold, satisfies, words
from shared.storage import keys
from shared.storage.table import Row
from shared.storage.texts import (
    MAX_TEXT,
    Backlog,
    Texts,
    backlog_between,
    backlog_of,
    longest_literal,
    rows_containing,
    texts_of,
    word_beginning,
)

BY_KEYWORD = {attribute.keyword: attribute for attribute in SEARCHABLE}
NAME, PATIENT = BY_KEYWORD["PatientName"], BY_KEYWORD["PatientID"]

#: Few characters, so that texts repeat themselves and one another; with all that separates and that folds oddly.
TEXTS = st.text(alphabet="aabB ^=\t-é山ß*?", max_size=12)


def offers(texts: Texts, key_range: keys.KeyRange) -> bool:
    """Whether a row of the texts lies in a range, as the table compares."""
    low, high = (each.encode("utf-16-be") for each in (key_range.low, key_range.high))
    return any(low <= row.encode("utf-16-be") < high for row in texts.rows())


def test_a_text_has_a_row_for_each_suffix_and_a_name_one_more_before_its_first_word() -> None:
    patient = texts_of(PATIENT, ["ab-1"], "t", ("1.2",))
    assert patient.rows() == {f"x!00100020t!{key}!t!1.2" for key in ("ab-2d1", "b-2d1", "-2d1", "1")}
    name = texts_of(NAME, ["a^b"], "t", ("1.2",))
    assert name.rows() == {f"x!00100010t!{key}!t!1.2" for key in ("-20a-20b", "a-20b", "-20b", "b")}


def test_a_text_of_any_length_has_a_bounded_number_of_rows() -> None:
    assert len(texts_of(PATIENT, ["ab" * 5000], "t", ("1.2",)).rows()) <= MAX_TEXT
    longest = "=".join("x" * 63 + group for group in "abc")
    assert longest[-1] in "".join(texts_of(NAME, [longest], "t", ("1.2",)).texts)


@pytest.mark.parametrize("attribute", [NAME, PATIENT], ids=["name", "text"])
@given(value=TEXTS, pattern=TEXTS)
def test_whatever_matches_a_pattern_is_offered_by_its_longest_literal(
    attribute: SearchAttribute, value: str, pattern: str
) -> None:
    folded, test = fold(attribute.vr, value), Wildcard(fold(attribute.vr, f"*{pattern}*"))
    literal = longest_literal(attribute, test.pattern)
    if literal and folded and satisfies(test, attribute, (folded,)):
        assert offers(texts_of(attribute, [folded], "t", ("1.2",)), rows_containing(attribute, literal))


@given(value=TEXTS, cut=st.integers(0, 12))
def test_whatever_holds_a_piece_of_text_is_offered_by_it(value: str, cut: int) -> None:
    folded = fold("LO", value)
    piece = folded[cut : cut + 3]
    if piece:
        assert offers(texts_of(PATIENT, [folded], "t", ("1.2",)), rows_containing(PATIENT, piece))


@given(value=TEXTS, phrase=TEXTS)
def test_fuzzy_matching_offers_what_it_finds_and_of_plain_words_nothing_else(value: str, phrase: str) -> None:
    folded, wanted = fold("PN", value), words(fold("PN", phrase))
    if not wanted:
        return
    offered = offers(texts_of(NAME, [folded], "t", ("1.2",)), rows_containing(NAME, word_beginning(wanted)))
    if satisfies(Fuzzy(wanted), NAME, (folded,)):
        assert offered
    elif not any(each.isspace() for each in wanted):
        assert not offered


# Backlogs


def texts(value: str) -> frozenset[Texts]:
    """All texts of a study whose patient ID and name have a value, or that is gone."""
    if not value:
        return frozenset()
    return frozenset({texts_of(PATIENT, [value], "t", ("1.2",)), texts_of(NAME, [value[:2]], "t", ("1.2",))})


@given(
    values=st.lists(st.text(alphabet="ab", max_size=5), max_size=8),
    progress=st.lists(st.integers(0, 12), min_size=9, max_size=9),
)
def test_whatever_was_left_undone_the_rows_become_those_of_the_last_texts(
    values: list[str], progress: list[int]
) -> None:
    present: set[str] = set()
    left: Backlog | None = None
    before = ""
    for value, steps in zip([*values, ""], progress, strict=False):
        backlog = backlog_between(texts(before), texts(value), left, 1)
        if backlog is not None:
            left = backlog
            written, removed = left.rows()
            for number, row in enumerate([*written, *removed]):
                if number < steps:  # whoever is at work dies here
                    (present.add if row in written else present.discard)(row)
            if steps >= len(written) + len(removed):
                left = None
        searched = {row for each in texts(value) for row in each.rows()}
        looked_at = {row for each in (left.add if left else ()) for row in each.rows()}
        assert searched <= present | looked_at
        before = value
        if left is None:
            assert present == searched
    assert left is not None or not present


@given(st.frozensets(st.builds(Texts, st.just("00100020"), st.just("t"), st.just(("1", "2")), st.tuples(TEXTS))))
def test_backlogs_come_back_as_they_were_written(some: frozenset[Texts]) -> None:
    backlog = Backlog(17, some, frozenset(), kept=True)
    assert backlog_of(Row("x!backlog!1!1.2", "", backlog.columns())) == backlog


def test_a_backlog_that_does_not_fit_its_columns_says_so() -> None:
    many = frozenset(Texts("00100020", "t", ("1.2", f"1.2.{number}"), ("x" * 200,)) for number in range(200))
    assert not Backlog(0, many, frozenset()).fits and not Backlog(0, frozenset(), many).fits
    assert Backlog(0, texts("ab"), texts("b")).fits
