"""The query of a Search transaction (PS3.18 §8.3.4, §10.6.1): names and values in, a `Query` out.

Facts, where the original service and the standard leave a choice:
- Attribute names are case-sensitive keywords or eight hex digits; `limit`, `offset`, `fuzzymatching` and `includefield`
  are read in any case.
- Text matches with `*` and `?`, dates and times by range, UIDs and modalities by lists separated by commas or
  backslashes, attributes inside a sequence by paths. Deviation: the original service matches none of these but dates.
  An empty value matches everything (universal matching, PS3.4 §C.2.2.2.3); the original refuses it.
- A time that is not told to the microsecond means all it may be: `StudyTime=10` is the hour from 10 to 11.
- Where a date and its time are both given as ranges of the same form, they are one interval, from the first date at the
  first time to the last date at the last time (combined matching, PS3.4 §C.2.2.2.5).
- TimezoneOffsetFromUTC says in which zone the dates and times of the query are. A study that says its own zone, and
  its time, is compared as the moment it was; one that does not, as it stands. A time without a date is not moved.
- Attributes that are not searchable on a resource are refused, as is every attribute that is not searchable at all.
- includefield takes any attribute, of any level; of a path, the whole sequence it begins with.

Error texts repeat the names of parameters, cut short, and of values only dates, which clients test for.
"""

import datetime
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from shared.dicom.attributes import (
    MOMENTS,
    SEARCHABLE_BY_TAG,
    TIMEZONE_OFFSET_FROM_UTC,
    SearchAttribute,
    path_of,
)
from shared.dicom.matching import (
    RANGE_VRS,
    Exact,
    Fuzzy,
    Predicate,
    Range,
    Test,
    Wildcard,
    fold,
    fold_name,
    fold_number,
    fold_time,
    offset_of,
    strip_padding,
    words,
)
from shared.dicom.validation import is_uid
from shared.dicomweb.paging import position_of
from shared.errors import BadRequest
from shared.model import Level, Position

#: Results of a page: at least one, at most, and when the query does not say.
LEAST_LIMIT, GREATEST_LIMIT, DEFAULT_LIMIT = 1, 200, 100
#: Attributes of one query; bounds the conditions a search has to check.
MAX_PARAMETERS = 64
#: Values in one list of UIDs or modalities; each is a range to read in every partition.
MAX_LIST = 100


@dataclass(frozen=True, slots=True)
class SearchResource:
    """A resource that can be searched: what it lists, below what, and the levels its queries may name attributes of."""

    level: Level
    below: Level | None
    attributes_of: frozenset[Level]
    returned_of: frozenset[Level]


_STUDY, _SERIES, _INSTANCE = Level.STUDY, Level.SERIES, Level.INSTANCE


def _resource(level: Level, below: Level | None, queried: set[Level], returned: set[Level]) -> SearchResource:
    return SearchResource(level, below, frozenset(queried), frozenset(returned))


#: The six resources of PS3.18 Table 10.6.1-1 with the levels the original service allows and returns.
STUDIES = _resource(_STUDY, None, {_STUDY}, {_STUDY})
ALL_SERIES = _resource(_SERIES, None, {_STUDY, _SERIES}, {_STUDY, _SERIES})
ALL_INSTANCES = _resource(_INSTANCE, None, {_STUDY, _SERIES, _INSTANCE}, {_STUDY, _SERIES, _INSTANCE})
STUDY_SERIES = _resource(_SERIES, _STUDY, {_SERIES}, {_SERIES})
STUDY_INSTANCES = _resource(_INSTANCE, _STUDY, {_SERIES, _INSTANCE}, {_SERIES, _INSTANCE})
SERIES_INSTANCES = _resource(_INSTANCE, _SERIES, {_INSTANCE}, {_INSTANCE})


@dataclass(frozen=True, slots=True)
class Query:
    """A query that has been understood.

    `asked` are the tags of attributes the query names as conditions; they are returned as well as `include`, tags that
    includefield names. `include_all`: includefield=all. `after`: where an earlier page ended (paging.py), instead of
    an offset.
    """

    resource: SearchResource
    predicates: tuple[Predicate, ...]
    asked: frozenset[str]
    include: frozenset[str]
    include_all: bool
    limit: int
    offset: int
    after: Position | None = None


def parse_query(parameters: Iterable[tuple[str, str]], resource: SearchResource) -> Query:
    """Understand the name-value pairs of a query, percent-decoded. Raises BadRequest where they make no sense."""
    reserved: dict[str, list[str]] = {name: [] for name in _RESERVED}
    conditions: dict[SearchAttribute, str] = {}
    pairs = list(parameters)
    if len(pairs) > MAX_PARAMETERS:
        raise BadRequest(f"Invalid query: more than {MAX_PARAMETERS} parameters.")
    for name, value in pairs:
        if name.lower() in reserved:
            reserved[name.lower()].append(value)
            continue
        attribute = _searchable(name, resource)
        if attribute in conditions:
            raise BadRequest(f"Invalid query: attribute '{attribute.keyword}' is specified more than once.")
        conditions[attribute] = value
    fuzzy = _once(reserved, "fuzzymatching", _boolean, default=False)
    asked = frozenset(attribute.path[0] for attribute in conditions)
    zone = conditions.pop(_ZONE, None)
    tests = {attribute: _test(attribute, value, fuzzy=fuzzy) for attribute, value in conditions.items()}
    if reserved["cursor"] and reserved["offset"]:
        raise BadRequest("Invalid query: cursor and offset are specified together.")
    include, include_all = _include(reserved["includefield"])
    return Query(
        resource=resource,
        predicates=_predicates(
            {attribute: test for attribute, test in tests.items() if test is not None},
            {attribute for attribute, value in conditions.items() if "-" in value},
            _zone(zone),
        ),
        asked=asked,
        include=include,
        include_all=include_all,
        limit=_once(reserved, "limit", _limit, default=DEFAULT_LIMIT),
        offset=_once(reserved, "offset", _offset, default=0),
        after=_once(reserved, "cursor", lambda token: position_of(token, resource.level), default=None),
    )


_RESERVED = ("limit", "offset", "fuzzymatching", "includefield", "cursor")
#: Says how other conditions are meant, and is none itself.
_ZONE = SearchAttribute(TIMEZONE_OFFSET_FROM_UTC, "TimezoneOffsetFromUTC", "SH", Level.STUDY, indexed=False)


def _searchable(name: str, resource: SearchResource) -> SearchAttribute:
    tag = path_of(name)
    if tag is None:
        raise BadRequest(
            f"Invalid query: unknown query parameter '{_shown(name)}'. "
            "If the parameter is an attribute keyword, check the casing as they are case-sensitive."
        )
    if tag == _ZONE.tag:
        return _ZONE
    attribute = SEARCHABLE_BY_TAG.get(tag)
    if attribute is None or attribute.level not in resource.attributes_of:
        # The wording is the original service's; clients are known to test for it.
        raise BadRequest(
            f"Invalid query: AttributeId {_shown(name)} is not queryable.  If the parameter is an attribute keyword, "
            "check the casing as they are case-sensitive. The conformance statement has a list of supported query "
            "parameters, attributes and the levels."
        )
    return attribute


def _test(attribute: SearchAttribute, value: str, *, fuzzy: bool) -> Test | None:
    """What a value asks of an attribute; None when it asks nothing (universal matching)."""
    if not strip_padding(value).strip(" *"):
        return None
    if attribute.vr in RANGE_VRS:
        return _range(attribute, strip_padding(value).strip(" "))
    if attribute.vr == "IS":
        return Exact((_number(attribute, value),))
    if not fold(attribute.vr, value).strip("*"):
        return None
    if attribute.vr in ("UI", "CS"):
        values = [folded for each in re.split(r"[,\\]", value) if (folded := fold(attribute.vr, each))]
        if len(values) > MAX_LIST:
            raise BadRequest(f"Invalid query: more than {MAX_LIST} values of attribute '{attribute.keyword}'.")
        if attribute.vr == "UI":  # what is no UID names nothing that could be stored
            return Exact(tuple(dict.fromkeys(filter(is_uid, values))))
        if len(values) > 1 or not _is_pattern(value):
            return Exact(tuple(dict.fromkeys(values))) if values else None
    if _is_pattern(value):
        return Wildcard(fold(attribute.vr, value))
    if fuzzy and attribute.vr == "PN":
        if '"' in value:
            raise BadRequest(f"Invalid query: attribute '{attribute.keyword}' holds a quotation mark.")
        phrase = words(fold_name(value))
        return Fuzzy(phrase) if phrase else None
    return Exact((fold(attribute.vr, value),))


def _is_pattern(value: str) -> bool:
    return "*" in value or "?" in value


def _range(attribute: SearchAttribute, value: str) -> Test:
    """A date, a time or a range of them (PS3.4 §C.2.2.2.5): `a`, `a-b`, `a-` or `-b`."""
    first, dash, last = (piece.strip() for piece in value.partition("-"))
    if not dash:
        last = first
    low = _end(attribute, first, last=False) if first else None
    high = _end(attribute, last, last=True) if last else None
    if low is None and high is None:
        raise _no_date(attribute, value)
    # A range of times that goes with one of dates may end earlier in the day; that is judged when all is known.
    if attribute.vr == "DA":
        _check_order(attribute, Range(low, high))
    if attribute.vr == "DA" and not dash and low is not None:
        return Exact((low,))
    return Range(low, high)


def _check_order(attribute: SearchAttribute, test: Range) -> None:
    if test.low is not None and test.high is not None and test.low > test.high:
        what = "date" if attribute.vr == "DA" else "time"
        raise BadRequest(f"Invalid query: {what} range of attribute '{attribute.keyword}' begins after it ends.")


def _end(attribute: SearchAttribute, text: str, *, last: bool) -> str:
    """One end of a range as it is compared. Raises BadRequest."""
    if attribute.vr == "TM":
        time = fold_time(text, last=last)
        if time is None:
            raise _no_date(attribute, text)
        return time
    try:
        if re.fullmatch(r"[0-9]{8}", text):
            datetime.datetime.strptime(text, "%Y%m%d")
            return text
    except ValueError:
        pass
    raise _no_date(attribute, text)


def _number(attribute: SearchAttribute, value: str) -> str:
    number = fold_number(value)
    if number is None:
        raise BadRequest(
            f"Invalid query: specified Integer String value is invalid for attribute '{attribute.keyword}'. "
            "It must be a whole number."
        )
    return number


def _zone(text: str | None) -> int | None:
    """The zone a query is in, in minutes east of UTC; None when it does not say. Raises BadRequest."""
    if text is None or not strip_padding(text):
        return None
    # In a query a plus is a space unless it is encoded, which is easily forgotten.
    offset = offset_of(re.sub(r"^ (?=[0-9])", "+", text.rstrip(" \0")))
    if offset is None:
        raise BadRequest("Invalid query: TimezoneOffsetFromUTC must be +hhmm or -hhmm, from -1200 to +1400.")
    return offset


def _predicates(
    tests: dict[SearchAttribute, Test], hyphened: set[SearchAttribute], zone: int | None
) -> tuple[Predicate, ...]:
    """The conditions that tests are, with dates and times joined where that is what they mean.

    `hyphened` are those that were asked for by a range: a single time is tested as one, because it means all it may be.
    """
    predicates: list[Predicate] = []
    joined: set[str] = set()
    for attribute, test in tests.items():
        moment = MOMENTS.get(attribute.tag)
        if moment is None:
            continue
        of_time = next((other for other in tests if other.tag == moment.parts[1]), None)
        time = tests[of_time] if of_time else None
        date = Range(test.values[0], test.values[0]) if isinstance(test, Exact) else test
        combined = (
            isinstance(test, Range) and isinstance(time, Range) and of_time in hyphened and _same_form(test, time)
        )
        if not isinstance(date, Range) or not (combined or zone is not None):
            continue
        joined.add(attribute.tag)
        if combined or (zone is not None and isinstance(time, Range) and date.low == date.high):
            joined.add(moment.parts[1])
        else:
            time = None
        interval = _interval(date, time if isinstance(time, Range) else None)
        _check_order(moment, interval)
        predicates.append(Predicate(replace(moment, zone=zone), interval))
        predicates.append(Predicate(attribute, date if zone is None else _widened(date)))
    alone = {attribute: test for attribute, test in tests.items() if attribute.tag not in joined}
    for attribute, test in alone.items():
        if isinstance(test, Range):
            _check_order(attribute, test)
    return (*(Predicate(attribute, test) for attribute, test in alone.items()), *predicates)


def _same_form(one: Range, other: Range) -> bool:
    return (one.low is None) == (other.low is None) and (one.high is None) == (other.high is None)


def _interval(date: Range, time: Range | None) -> Range:
    """From the first date at the first time to the last date at the last time."""
    first, last = (time.low, time.high) if time else (None, None)
    return Range(
        None if date.low is None else date.low + (first or "0" * 12),
        None if date.high is None else date.high + (last or "235959999999"),
    )


def _widened(date: Range) -> Range:
    """A range of dates with a day more at both ends: what a date may be in another zone."""

    def moved(text: str | None, days: int) -> str | None:
        if text is None:
            return None
        try:
            day = datetime.datetime.strptime(text, "%Y%m%d") + datetime.timedelta(days=days)
        except OverflowError:
            return text
        return f"{day.year:04d}{day:%m%d}"

    return Range(moved(date.low, -1), moved(date.high, 1))


def _no_date(attribute: SearchAttribute, value: str) -> BadRequest:
    # The wording for dates is the original service's; clients are known to test for it.
    if attribute.vr == "TM":
        return BadRequest(
            f"Invalid query: specified Time value '{_shown(value)}' is invalid for attribute '{attribute.keyword}'. "
            "Time should be valid and formatted as HH, HHmm, HHmmss or HHmmss.FFFFFF."
        )
    return BadRequest(
        f"Invalid query: specified Date value '{_shown(value)}' is invalid for attribute '{attribute.keyword}'. "
        "Date should be valid and formatted as yyyyMMdd."
    )


def _include(values: Iterable[str]) -> tuple[frozenset[str], bool]:
    """The tags that includefield names, and whether it says `all` (which then wins over the others)."""
    tags: set[str] = set()
    include_all = False
    for name in (each.strip() for value in values for each in value.split(",")):
        if not name:
            continue
        if name.lower() == "all":
            include_all = True
            continue
        tag = path_of(name)
        if tag is None:
            raise BadRequest(f"Invalid query: unknown attribute '{_shown(name)}' in includefield.")
        tags.add(tag.partition(".")[0])
    return frozenset(tags), include_all


def _once[T](reserved: dict[str, list[str]], name: str, read: Callable[[str], T], *, default: T) -> T:
    values = reserved[name]
    if len(values) > 1:
        raise BadRequest(f"The query parameter '{name}' is invalid. It is specified more than once.")
    return read(values[0].strip()) if values else default


def _limit(text: str) -> int:
    # The wording is the original service's, whatever is wrong; clients are known to test for it.
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not LEAST_LIMIT <= int(text) <= GREATEST_LIMIT:
        raise BadRequest(
            "The query parameter 'Limit' is invalid. "
            f"The field Limit must be between {LEAST_LIMIT} and {GREATEST_LIMIT}."
        )
    return int(text)


def _offset(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not 0 <= int(text) < 2**31:
        raise BadRequest(
            f"The query parameter 'Offset' is invalid. The field Offset must be between 0 and {2**31 - 1}."
        )
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BadRequest("The query parameter 'FuzzyMatching' is invalid. The value must be true or false.")
    return text.lower() == "true"


def _shown(text: str) -> str:
    """Client text as an error may repeat it: short and without control characters."""
    printable = "".join(character if character.isprintable() else "?" for character in text[:64])
    return printable + ("..." if len(text) > 64 else "")
