"""How attribute values are folded and compared (PS3.4 §C.2.2.2, as the Azure DICOM service narrows it).

Pure: a `Test` is what one query parameter asks of one attribute, and `satisfies` decides it for the values of a data
set. The same folding makes the keys of the index (storage/search_rows.py), so that what a range of rows offers and what
is matched here can never disagree.

Facts:
- Person names compare without case and without accents; all other text without case but with accents.
- Spaces at both ends and trailing NULs never count; of names, trailing empty components do not count either.
- A person name may have several component groups (alphabetic=ideographic=phonetic, PS3.5 §6.2.1). A test is satisfied
  by the whole value or by any one group.
- Fuzzy matching: the words of a name, in order; a run of words starting at any word matches when it begins with the
  phrase asked for. `sto ha` does not find "Stone Hall", `stone ha` does.
- Times compare as numbers of twelve digits, hours to microseconds; what a value does not say is 0. Integer strings
  compare as the numbers they are.
- Only the first value of a multi-valued attribute is indexed and compared; ModalitiesInStudy, which the index computes,
  compares every value, and so does an attribute inside a sequence, with the first value of each item.
"""

import datetime
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shared.dicom.attributes import MODALITIES_IN_STUDY, SOP_CLASS_UID, TIMEZONE_OFFSET_FROM_UTC, SearchAttribute
from shared.model import JsonDataSet

#: Items of a sequence whose values are indexed; bounds the search rows of a series with a hostile sequence.
MAX_ITEMS = 6

#: The combining marks of kana: they make another letter, not an accent.
_VOICED = "\u3099\u309a"

#: What the index gathers from the series of a study and the instances of a series: every value counts.
_GATHERED = frozenset({MODALITIES_IN_STUDY, SOP_CLASS_UID})

#: VRs whose values match by range (PS3.4 §C.2.2.2.5); of the indexed attributes only these occur.
RANGE_VRS = frozenset({"DA", "TM"})

#: A time (PS3.5 §6.2): hours, and as much of minutes, seconds and a fraction as is known; with colons in old files.
_TIME = re.compile(r"([01][0-9]|2[0-3])(?::?([0-5][0-9])(?::?([0-5][0-9]|60)(?:\.([0-9]{1,6}))?)?)?")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Exact:
    """Single value matching (PS3.4 §C.2.2.2.1), or of a list (PS3.4 §C.2.2.2.2); values are folded."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Range matching, both ends inclusive (PS3.4 §C.2.2.2.5); None leaves an end open."""

    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Wildcard matching (PS3.4 §C.2.2.2.4): `*` is any run of characters, `?` any one. The pattern is folded."""

    pattern: str

    @property
    def prefix(self) -> str:
        """The literal text before the first wildcard."""
        return re.split(r"[*?]", self.pattern, maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """Fuzzy matching of person names: a folded phrase that a run of words must begin with."""

    phrase: str


type Test = Exact | Range | Wildcard | Fuzzy


@dataclass(frozen=True, slots=True)
class Predicate:
    """One attribute and what it must satisfy."""

    attribute: SearchAttribute
    test: Test


def strip_padding(value: str) -> str:
    """The value without the spaces and NULs that pad it to even length (PS3.5 §6.2)."""
    return value.rstrip(" \0")


def fold_text(value: str) -> str:
    """Text as it is compared: composed, without case, without padding."""
    return unicodedata.normalize("NFC", strip_padding(value).lstrip(" ").casefold())


def fold_name(value: str) -> str:
    """A person name as it is compared: also without accents and without trailing empty components."""
    decomposed = unicodedata.normalize("NFKD", strip_padding(value).lstrip(" ").casefold())
    plain = "".join(
        character for character in decomposed if not unicodedata.combining(character) or character in _VOICED
    )
    groups = [group.strip().rstrip("^ ") for group in unicodedata.normalize("NFC", plain).split("=")]
    return "=".join(groups).rstrip("=")


def fold(vr: str, value: str) -> str:
    """A value, or a pattern, of this VR as it is compared."""
    if vr == "PN":
        return fold_name(value)
    if vr == "UI":
        return value.strip(" \0")
    if vr == "TM":
        return fold_time(value, last=False) or ""
    if vr == "IS":
        return fold_number(value) or ""
    return fold_text(value)


def fold_time(value: str, *, last: bool) -> str | None:
    """A time as it is compared: the first moment it may mean, or the `last` one. None for a text that is no time."""
    found = _TIME.fullmatch(value.strip(" \0"))
    if found is None:
        return None
    hours, minutes, seconds, fraction = found.groups()
    if last:
        return f"{hours}{minutes or '59'}{seconds or '59'}{(fraction or '').ljust(6, '9')}"
    return f"{hours}{minutes or '00'}{seconds or '00'}{(fraction or '').ljust(6, '0')}"


def fold_number(value: str) -> str | None:
    """An integer string as it is compared, without leading zeros. None for a text that is no integer."""
    text = value.strip(" \0")
    return str(int(text)) if _WHOLE_NUMBER.fullmatch(text) else None


def words(name: str) -> str:
    """A folded name as blank-separated words, for fuzzy matching."""
    return " ".join(re.split(r"[\^= ]+", name)).strip()


def name_forms(name: str) -> tuple[str, ...]:
    """The folded texts one folded name is found under: the whole value, then each component group on its own."""
    groups = [group for group in name.split("=") if group]
    return tuple(dict.fromkeys([name, *groups])) if name else ()


def word_runs(name: str) -> tuple[str, ...]:
    """Every run of words to the end of the name, by starting word; what fuzzy matching compares."""
    all_words = words(name).split()
    return tuple(" ".join(all_words[start:]) for start in range(len(all_words)))


def values_of(data_set: JsonDataSet, tag: str) -> list[str]:
    """The values of one attribute as text: strings as they are, person names as their `=`-joined groups."""
    return [text for text in map(_text, data_set.get(tag, {}).get("Value", ())) if text]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        groups = [value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)


def folded_values(data_set: JsonDataSet, attribute: SearchAttribute) -> tuple[str, ...]:
    """The folded values the index keeps of one attribute: the first one, or all of the computed ModalitiesInStudy.

    Of an attribute inside a sequence the first value of each item, of at most `MAX_ITEMS` items. Of a moment, where
    both its date and its time are known, the twenty digits of them.
    """
    if attribute.parts:
        date, time, zone = (
            (values_of(data_set, tag) or [""])[0] for tag in (*attribute.parts, TIMEZONE_OFFSET_FROM_UTC)
        )
        return moments_of(strip_padding(date), fold_time(time, last=False) or "", strip_padding(zone), attribute.zone)
    *sequences, tag = attribute.path
    items: list[JsonDataSet] = [data_set]
    for sequence in sequences:
        inner = [each for item in items for each in item.get(sequence, {}).get("Value", ()) if isinstance(each, dict)]
        items = list(inner[:MAX_ITEMS])
    values = [value for item in items for value in _kept(item, tag)]
    return tuple(dict.fromkeys(folded for folded in (fold(attribute.vr, value) for value in values) if folded))


def moments_of(date: str, time: str, zone: str, wanted_zone: int | None) -> tuple[str, ...]:
    """The moment that a date, a folded time and a Timezone Offset From UTC tell, as twenty digits in another zone.

    Without an offset of its own, or a zone that is wanted (minutes east of UTC), it is left as it is. None at all
    where date or time are missing.
    """
    if not re.fullmatch(r"[0-9]{8}", date) or not time:
        return ()
    offset = offset_of(zone)
    if offset is None or wanted_zone is None:
        return (date + time,)
    try:
        # A leap second counts as the one before it.
        seconds = "59" if time[4:6] == "60" else time[4:6]
        moment = datetime.datetime.strptime(f"{date}{time[:4]}{seconds}{time[6:]}", "%Y%m%d%H%M%S%f")
        moved = moment + datetime.timedelta(minutes=wanted_zone - offset)
        return (f"{moved.year:04d}{moved:%m%d%H%M%S%f}",)
    except (ValueError, OverflowError):
        return ()


def offset_of(text: str) -> int | None:
    """Minutes east of UTC that `+hhmm` or `-hhmm` says (PS3.3 §C.12.1.1.1); None for what is no offset."""
    found = re.fullmatch(r"([+-])(0[0-9]|1[0-4])([0-5][0-9])", text)
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3])
    return minutes if found[1] == "+" else -minutes


def _kept(data_set: JsonDataSet, tag: str) -> Sequence[str]:
    values = values_of(data_set, tag)
    return values if tag in _GATHERED else values[:1]


def satisfies(test: Test, attribute: SearchAttribute, values: Iterable[str]) -> bool:
    """Whether any of the folded `values` of the attribute satisfies the test."""
    return any(_satisfies(test, attribute.vr, value) for value in values)


def _satisfies(test: Test, vr: str, value: str) -> bool:
    forms = name_forms(value) if vr == "PN" else (value,)
    match test:
        case Exact(wanted):
            return any(form in wanted for form in forms)
        case Range(low, high):
            return (low is None or value >= low) and (high is None or value <= high)
        case Wildcard(pattern):
            return any(_expression(pattern).fullmatch(form) for form in forms)
        case Fuzzy(phrase):
            return any(run.startswith(phrase) for run in word_runs(value))


@lru_cache(maxsize=256)
def _expression(pattern: str) -> re.Pattern[str]:
    # Runs of stars are folded into one, and each `.*?` is atomic up to the next literal, so that a hostile pattern such
    # as "*a*a*a*a*b" cannot make the match take exponential time.
    pieces = [re.escape(piece).replace(r"\?", ".") for piece in re.sub(r"\*+", "*", pattern).split("*")]
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1])
    return re.compile(f"{pieces[0]}{middle}.*{pieces[-1]}", re.DOTALL)
