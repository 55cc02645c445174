"""Which key ranges of search rows answer a search: pure functions from its conditions to a `Driver`.

A search is driven by its most selective condition that ranges of search rows can answer, in the order of
`attributes.SEARCHABLE`. A driver is one of

    ordered     its rows come newest first (equal keys, dates, the list of studies): reading stops when a page is full
    unordered   its rows come in the order of keys (prefixes, runs of words): all are read, the newest are kept

and conditions other than the driver are put to the table where it can decide them (`pushed_down`), and to
`dicom.matching` always.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.dicom.attributes import MODALITIES_IN_STUDY, ORDERING_DATES, SEARCHABLE, STUDY_INSTANCE_UID
from shared.dicom.matching import Exact, Fuzzy, Predicate, Range, Test, Wildcard
from shared.model import Level
from shared.storage import keys
from shared.storage.keys import KeyRange, SearchKey
from shared.storage.search_rows import search_key, word_family
from shared.storage.table import condition

#: Conditions put to the table: it takes 15 comparisons, three are the key range's, and a condition may need two.
MAX_PUSHED_DOWN = 6


#: Characters of an operand put to the table, whose condition travels in a URL.
MAX_OPERAND = 128


@dataclass(frozen=True, slots=True)
class Driver:
    """Key ranges to read in every bucket. `by_key`: rows are ordered by key first, as dates are."""

    ranges: tuple[KeyRange, ...]
    ordered: bool
    by_key: bool = False

    def order(self, key: SearchKey) -> str:
        """What rows of all ranges and buckets are merged by."""
        return f"{key.key}!{key.order}" if self.by_key else key.order


#: Every study, newest first.
ALL_STUDIES = Driver((keys.list_rows(),), ordered=True)


def driver_at(level: Level, predicates: Iterable[Predicate]) -> Driver | None:
    """The driver of the most selective of the conditions at a level that ranges can answer; None if there is none."""
    # Studies are found by UID through their own rows.
    candidates = [
        each for each in predicates if each.attribute.level is level and each.attribute.tag != STUDY_INSTANCE_UID
    ]
    for predicate in sorted(candidates, key=lambda each: SEARCHABLE.index(each.attribute)):
        driver = _driver_of(predicate)
        if driver is not None:
            return driver
    return None


def _driver_of(predicate: Predicate) -> Driver | None:
    attribute = predicate.attribute
    match predicate.test:
        case Exact(values):
            found = [key for key in (search_key(attribute, value) for value in values) if key is not None]
            return Driver(tuple(keys.search_rows_equal(attribute.tag, key) for key in dict.fromkeys(found)), True)
        case Range(low, high):
            # Keys of dates run backwards, so the later end is the lower key.
            first = search_key(attribute, high or "99991231")
            last = search_key(attribute, low or "00000101")
            if first is None or last is None:
                return None
            dated = attribute.tag in ORDERING_DATES
            return Driver((keys.search_rows_between(attribute.tag, first, last),), ordered=dated, by_key=dated)
        case Fuzzy(phrase):
            return Driver((keys.search_rows_starting(word_family(attribute), keys.escape(phrase)),), ordered=False)
        case Wildcard() as wildcard if wildcard.prefix:
            prefix = keys.escape(wildcard.prefix)
            return Driver((keys.search_rows_starting(attribute.tag, prefix),), ordered=False)
        case Wildcard():
            return None


def pushed_down(predicates: Sequence[Predicate]) -> str:
    """The OData condition for those conditions that the table can decide from a study's search columns.

    Person names (any component group may match) and ModalitiesInStudy (any of several values) are not among them.
    """
    conditions: list[str] = []
    for predicate in predicates:
        column = predicate.attribute.keyword
        if predicate.attribute.vr == "PN" or predicate.attribute.tag == MODALITIES_IN_STUDY:
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
