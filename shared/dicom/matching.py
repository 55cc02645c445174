"""How attribute values are folded and compared (PS3.4 §C.2.2.2, as the Azure DICOM service narrows it).

Pure: a `Test` is what one query parameter asks of one attribute, and `satisfies` decides it for the values of a data
set. The same folding makes the keys of the index (storage/search_rows.py), so that what a range of rows offers and what
is matched here can never disagree.

Facts:
- Person names compare without case and without accents; all other text without case but with accents.
- Trailing spaces and NULs never count; of names, trailing empty components do not count either.
- A person name may have several component groups (alphabetic=ideographic=phonetic, PS3.5 §6.2.1). A test is satisfied
  by the whole value or by any one group.
- Fuzzy matching: the words of a name, in order; a run of words starting at any word matches when it begins with the
  phrase asked for. `sto ha` does not find "Stone Hall", `stone ha` does.
- Only the first value of a multi-valued attribute is indexed and compared; ModalitiesInStudy, which the index computes,
  compares every value.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shared.dicom.attributes import MODALITIES_IN_STUDY, SearchAttribute
from shared.model import JsonDataSet

#: The combining marks of kana: they make another letter, not an accent.
_VOICED = "\u3099\u309a"

#: VRs whose values match by range (PS3.4 §C.2.2.2.5); of the indexed attributes only DA occurs.
RANGE_VRS = frozenset({"DA"})


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
    return fold_text(value)


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
    """The folded values the index keeps of one attribute: the first one, or all of the computed ModalitiesInStudy."""
    values = values_of(data_set, attribute.tag)
    kept: Sequence[str] = values if attribute.tag == MODALITIES_IN_STUDY else values[:1]
    return tuple(folded for folded in (fold(attribute.vr, value) for value in kept) if folded)


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
