"""Which key ranges of search rows answer a search: pure functions from its conditions to a `SearchPlan`.

A condition is answered by one of

    stream      rows that come newest first (equal keys, dates, the list of studies): reading stops when a page is full
    narrow      rows that come in the order of keys (pieces of texts, prefixes, other ranges): all are read, if they
                are few, and those of several conditions are intersected
    vocabulary  the values that match a pattern, each of which is a range of equal keys

The first condition, in the order of `attributes.SEARCHABLE`, that has a stream gives the plan its stream. Narrow ones
are tried before it, unless there is an exact condition on an attribute of `_IDENTIFYING`. Where none is narrow enough,
the stream is read, or else all studies. Conditions are put to the table where it can decide them (`pushed_down`), and
to `dicom.matching` always.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.dicom.attributes import (
    MODALITIES_IN_STUDY,
    ORDERING_DATES,
    PATIENT_ID,
    PATIENT_NAME,
    SEARCHABLE,
    STUDY_INSTANCE_UID,
    SearchAttribute,
)
from shared.dicom.matching import Exact, Fuzzy, Predicate, Range, Test, Wildcard
from shared.model import Level
from shared.storage import keys
from shared.storage.keys import KeyRange, SearchKey
from shared.storage.search_rows import VOCABULARY, has_text_rows, search_key
from shared.storage.table import condition
from shared.storage.texts import longest_literal, rows_containing, word_beginning

#: Conditions put to the table: it takes 15 comparisons, three are the key range's, and a condition may need two.
MAX_PUSHED_DOWN = 6

#: Characters of an operand put to the table, whose condition travels in a URL.
MAX_OPERAND = 128

#: Attributes of which few studies have the same value, however many there are.
_IDENTIFYING = frozenset({"00080050", PATIENT_ID, PATIENT_NAME})


@dataclass(frozen=True, slots=True)
class Driver:
    """Key ranges to read in every bucket, whose rows come newest first. `dates`: by the dates of an attribute first."""

    ranges: tuple[KeyRange, ...]
    dates: SearchAttribute | None = None

    def starting_at(self, date: str, order: str) -> tuple[KeyRange, ...]:
        """The ranges without the rows before an order, and a date where dates come first."""
        if self.dates is None:
            return tuple(keys.rows_from(each, order) for each in self.ranges)
        return tuple(keys.rows_from_key(each, self.dates.tag, date, order) for each in self.ranges)

    def order(self, key: SearchKey) -> str:
        """What rows of all ranges and buckets are merged by."""
        return f"{key.key}!{key.order}" if self.dates else key.order


@dataclass(frozen=True, slots=True)
class Narrow:
    """A key range to read in every bucket, whose rows come in the order of keys.

    `texts_of` is the tag whose text rows it holds, for which a backlog may have more; None for search rows.
    """

    range: KeyRange
    texts_of: str | None = None


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How to find what satisfies the conditions on one level: by `narrow`, if that is narrow enough, else by `stream`.

    `vocabulary` is a condition whose values are to be looked up where there is no stream.
    """

    narrow: tuple[Narrow, ...] = ()
    stream: Driver | None = None
    vocabulary: Predicate | None = None

    @property
    def dates(self) -> SearchAttribute | None:
        """The attribute whose latest dates come first, however the plan is carried out."""
        return self.stream.dates if self.stream else None

    @property
    def is_empty(self) -> bool:
        """Whether the rows of this level answer none of the conditions."""
        return not self.narrow and self.stream is None and self.vocabulary is None


#: The place of each attribute in the order of `SEARCHABLE`.
_SELECTIVITY = {attribute: place for place, attribute in enumerate(SEARCHABLE)}

#: Every study, newest first.
ALL_STUDIES = Driver((keys.list_rows(),))


def plan_at(level: Level, predicates: Iterable[Predicate]) -> SearchPlan:
    """The plan for those of the conditions that are on attributes of a level."""
    # Studies are found by UID through their own rows.
    candidates = [
        each
        for each in predicates
        if each.attribute.level is level and each.attribute.indexed and each.attribute.tag != STUDY_INSTANCE_UID
    ]
    candidates.sort(key=lambda each: _SELECTIVITY.get(each.attribute, len(SEARCHABLE)))
    narrow = tuple(each for each in map(_narrow, candidates) if each)
    stream = next(filter(None, map(_stream, candidates)), None)
    vocabulary = next((each for each in candidates if _has_vocabulary(each)), None)
    if any(each.attribute.tag in _IDENTIFYING and isinstance(each.test, Exact) for each in candidates):
        narrow = ()
    return SearchPlan(narrow, stream, vocabulary)


def _stream(predicate: Predicate) -> Driver | None:
    attribute = predicate.attribute
    match predicate.test:
        case Exact(values):
            return equal_to(attribute, (search_key(attribute, value) for value in values))
        case Range() as test if attribute.tag in ORDERING_DATES and (dates := _between(attribute, test)):
            return Driver((dates,), dates=attribute)
        case _:
            return None


def _narrow(predicate: Predicate) -> Narrow | None:
    attribute = predicate.attribute
    match predicate.test:
        case Range() as test if attribute.tag not in ORDERING_DATES and (between := _between(attribute, test)):
            return Narrow(between)
        case Fuzzy(phrase):
            return Narrow(rows_containing(attribute, word_beginning(phrase)), attribute.tag)
        case Wildcard(pattern) as wildcard if has_text_rows(attribute):
            literal = longest_literal(attribute, pattern)
            if len(wildcard.prefix) >= len(literal.strip()):
                prefix = keys.escape(wildcard.prefix)
                return Narrow(keys.search_rows_starting(attribute.tag, prefix)) if prefix else None
            return Narrow(rows_containing(attribute, literal), attribute.tag)
        case _:
            return None


def _has_vocabulary(predicate: Predicate) -> bool:
    return isinstance(predicate.test, Wildcard) and predicate.attribute.tag in VOCABULARY


def equal_to(attribute: SearchAttribute, found: Iterable[str | None]) -> Driver:
    """The search rows with any of some keys."""
    distinct = dict.fromkeys(key for key in found if key is not None)
    return Driver(tuple(keys.search_rows_equal(attribute.tag, key) for key in distinct))


def _between(attribute: SearchAttribute, test: Range) -> KeyRange | None:
    if attribute.vr == "TM":
        return keys.search_rows_between(attribute.tag, test.low or "000000000000", test.high or "235960999999")
    # Keys of dates run backwards, so the later end is the lower key.
    first = search_key(attribute, test.high or "99991231")
    last = search_key(attribute, test.low or "00000101")
    return keys.search_rows_between(attribute.tag, first, last) if first is not None and last is not None else None


def pushed_down(predicates: Sequence[Predicate]) -> str:
    """The OData condition for those conditions that the table can decide from a study's search columns.

    Person names (any component group may match), ModalitiesInStudy (any of several values) and moments (no column of
    their own) are not among them.
    """
    conditions: list[str] = []
    for predicate in predicates:
        attribute, column = predicate.attribute, predicate.attribute.keyword
        if attribute.vr == "PN" or attribute.tag == MODALITIES_IN_STUDY or attribute.parts:
            continue
        if _longest_operand(predicate.test) > MAX_OPERAND:
            continue
        match predicate.test:
            case Exact(values) if len(values) == 1:
                conditions.append(condition(column, "eq", values[0]))
            case Range(low, high):
                ends = [condition(column, "ge", low)] if low else []
                ends += [condition(column, "le", high)] if high else []
                conditions.append(" and ".join(ends))
            case Wildcard() as wildcard if wildcard.prefix:
                low, high = wildcard.prefix, keys.successor(wildcard.prefix)
                conditions.append(f"{condition(column, 'ge', low)} and {condition(column, 'lt', high)}")
            case _:
                continue
    return " and ".join(conditions[:MAX_PUSHED_DOWN])


def _longest_operand(test: Test) -> int:
    match test:
        case Exact(values):
            return max(map(len, values), default=0)
        case Wildcard(pattern):
            return len(pattern)
        case _:
            return 0
