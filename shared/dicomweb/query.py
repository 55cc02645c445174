"""The query of a Search transaction (PS3.18 §8.3.4, §10.6.1): names and values in, a `Query` out.

Facts, where the original service and the standard leave a choice:
- Attribute names are case-sensitive keywords or eight hex digits; `limit`, `offset`, `fuzzymatching` and `includefield`
  are read in any case.
- Text matches with `*` and `?`, dates by range, UIDs and modalities by lists separated by commas or backslashes.
  Deviation: the original service matches none of these but ranges. An empty value matches everything (universal
  matching, PS3.4 §C.2.2.2.3); the original refuses it.
- Attributes that are not searchable on a resource are refused, as is every attribute that is not searchable at all.
- includefield takes any attribute, of any level.

Error texts repeat the names of parameters, cut short, and of values only dates, which clients test for.
"""

import datetime
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shared.dicom.attributes import SEARCHABLE_BY_TAG, SearchAttribute, tag_of
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
    words,
)
from shared.dicom.validation import is_uid
from shared.errors import BadRequest
from shared.model import Level

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
    includefield names. `include_all`: includefield=all.
    """

    resource: SearchResource
    predicates: tuple[Predicate, ...]
    asked: frozenset[str]
    include: frozenset[str]
    include_all: bool
    limit: int
    offset: int


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
    tests = {attribute: _test(attribute, value, fuzzy=fuzzy) for attribute, value in conditions.items()}
    include, include_all = _include(reserved["includefield"])
    return Query(
        resource=resource,
        predicates=tuple(Predicate(attribute, test) for attribute, test in tests.items() if test is not None),
        asked=frozenset(attribute.tag for attribute in conditions),
        include=include,
        include_all=include_all,
        limit=_once(reserved, "limit", _limit, default=DEFAULT_LIMIT),
        offset=_once(reserved, "offset", _offset, default=0),
    )


_RESERVED = ("limit", "offset", "fuzzymatching", "includefield")


def _searchable(name: str, resource: SearchResource) -> SearchAttribute:
    tag = tag_of(name)
    if tag is None:
        raise BadRequest(
            f"Invalid query: unknown query parameter '{_shown(name)}'. "
            "If the parameter is an attribute keyword, check the casing as they are case-sensitive."
        )
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
    if not fold(attribute.vr, value).strip("*"):
        return None
    if attribute.vr in RANGE_VRS:
        return _range(attribute, value.strip())
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
        phrase = words(fold_name(value))
        return Fuzzy(phrase) if phrase else None
    return Exact((fold(attribute.vr, value),))


def _is_pattern(value: str) -> bool:
    return "*" in value or "?" in value


def _range(attribute: SearchAttribute, value: str) -> Test:
    """A date or a range of dates (PS3.4 §C.2.2.2.5.1): `a`, `a-b`, `a-` or `-b`."""
    if "-" not in value:
        return Exact((_date(attribute, value),))
    first, _, last = value.partition("-")
    low = _date(attribute, first.strip()) if first.strip() else None
    high = _date(attribute, last.strip()) if last.strip() else None
    if low is None and high is None:
        raise _no_date(attribute, value)
    if low is not None and high is not None and low > high:
        raise BadRequest(f"Invalid query: date range of attribute '{attribute.keyword}' begins after it ends.")
    return Range(low, high)


def _date(attribute: SearchAttribute, value: str) -> str:
    try:
        if re.fullmatch(r"[0-9]{8}", value):
            datetime.datetime.strptime(value, "%Y%m%d")
            return value
    except ValueError:
        pass
    raise _no_date(attribute, value)


def _no_date(attribute: SearchAttribute, value: str) -> BadRequest:
    # The wording is the original service's; clients are known to test for it.
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
        tag = tag_of(name)
        if tag is None:
            raise BadRequest(f"Invalid query: unknown attribute '{_shown(name)}' in includefield.")
        tags.add(tag)
    return frozenset(tags), include_all


def _once[T](reserved: dict[str, list[str]], name: str, read: Callable[[str], T], *, default: T) -> T:
    values = reserved[name]
    if len(values) > 1:
        raise BadRequest(f"The query parameter '{name}' is invalid. It is specified more than once.")
    return read(values[0].strip()) if values else default


def _limit(text: str) -> int:
    limit = _whole_number("Limit", text)
    if not LEAST_LIMIT <= limit <= GREATEST_LIMIT:
        raise BadRequest(
            "The query parameter 'Limit' is invalid. "
            f"The field Limit must be between {LEAST_LIMIT} and {GREATEST_LIMIT}."
        )
    return limit


def _offset(text: str) -> int:
    offset = _whole_number("Offset", text)
    if not 0 <= offset < 2**31:
        raise BadRequest(
            f"The query parameter 'Offset' is invalid. The field Offset must be between 0 and {2**31 - 1}."
        )
    return offset


def _whole_number(name: str, text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise BadRequest(f"The query parameter '{name}' is invalid. The value is not a whole number.")
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BadRequest("The query parameter 'FuzzyMatching' is invalid. The value must be true or false.")
    return text.lower() == "true"


def _shown(text: str) -> str:
    """Client text as an error may repeat it: short and without control characters."""
    printable = "".join(character if character.isprintable() else "?" for character in text[:64])
    return printable + ("..." if len(text) > 64 else "")
