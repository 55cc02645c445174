"""Text rows: the search rows by which patterns and words are found inside texts, and how they are kept up.

A text has a row for each of its suffixes, so whatever begins with a piece of text is one range of keys:

    doe^jane  ->  " doe jane"  "doe jane"  "oe jane"  "e jane"  " jane"  "jane"  "ane"  "ne"  "e"

They are too many for the transaction of a commit (some eighty for a study, at most `MAX_TEXT` for each text). So the
commit leaves a *backlog*, one row that says which texts have rows to be written and which to be removed, and the rows
follow in transactions of their own (text_writer.py); the last of them takes the backlog away. As long as there is one,
a search looks at what it names itself. Thus a text is found from the commit on, whatever becomes of the process.

Facts:
- Every match that a text row offers is compared with the study or series, so a row too many does no harm.
- All rows, backlogs and studies of a bucket lie in one partition, and each transaction on text rows also writes
  the backlog under its ETag: nobody works from a backlog that has changed.
- A backlog belongs to one incarnation of a study: the time of its first store is in all the keys.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.dicom.attributes import SearchAttribute
from shared.storage import keys
from shared.storage.keys import KeyRange
from shared.storage.rows import number_of, reading, text_units
from shared.storage.table import MAX_TEXT_COLUMN, Column, Row

#: Characters of one text that can be found by what is inside it: more than a person name of three groups may have
#: (PS3.5 §6.2). Bounds the rows of a study with hostile texts.
MAX_TEXT = 200
#: Texts of one attribute, the first of them, that have rows.
MAX_TEXTS = 10

#: What separates the words of a person name, to fuzzy matching (`dicom.matching.word_runs`).
_SEPARATORS = re.compile(r"[\^=\s]+")


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one attribute of one study or series, in the form they are searched in.

    `time` and `uids` are the last pieces of their keys, as in `keys.search_row`.
    """

    tag: str
    time: str
    uids: tuple[str, ...]
    texts: tuple[str, ...]

    def rows(self) -> set[str]:
        """The RowKeys of the text rows."""
        family = keys.text_family(self.tag)
        suffixes = {keys.escape(text[start:]) for text in self.texts for start in range(len(text))}
        return {keys.search_row(family, suffix, self.time, *self.uids) for suffix in suffixes}

    @property
    def order(self) -> str:
        """What the study or series is sorted by; see `keys.search_order`."""
        return keys.search_order(self.time, *self.uids)


def texts_of(attribute: SearchAttribute, folded: Iterable[str], time: str, uids: tuple[str, ...]) -> Texts:
    """The texts to be searched of an attribute's folded values."""
    texts = [_searched_form(attribute, value)[:MAX_TEXT] for value in folded]
    return Texts(attribute.tag, time, uids, tuple(dict.fromkeys(texts[:MAX_TEXTS])))


def _searched_form(attribute: SearchAttribute, folded: str) -> str:
    """Of person names the words, each after one space, so that the beginning of a word is a piece of text like any."""
    return f" {_SEPARATORS.sub(' ', folded).lstrip(' ')}" if attribute.vr == "PN" else folded


def longest_literal(attribute: SearchAttribute, pattern: str) -> str:
    """The longest run without wildcards of a folded pattern, as the searched form of all that matches holds it.

    It may be empty.
    """
    runs = re.split(r"[*?]+", pattern)
    if attribute.vr == "PN":
        runs = [_SEPARATORS.sub(" ", run) for run in runs]
    return max(runs, key=len)


def word_beginning(phrase: str) -> str:
    """What the searched form of a person name holds that has words beginning with a folded phrase."""
    return f" {_SEPARATORS.sub(' ', phrase)}"


def rows_containing(attribute: SearchAttribute, piece: str) -> KeyRange:
    """The text rows of all texts whose searched form holds a piece of text, which is not empty."""
    return keys.search_rows_starting(keys.text_family(attribute.tag), keys.escape(piece))


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is left to do: texts whose rows are to be written, and texts whose rows are to be removed if there are any.

    `since` is when it was begun, in microseconds since 1970. `kept`: the table refuses rows of it, so that it has to
    stay, for searches to look at.
    """

    since: int
    add: frozenset[Texts]
    drop: frozenset[Texts]
    kept: bool = False

    def rows(self) -> tuple[list[str], list[str]]:
        """RowKeys to write, and RowKeys to remove."""
        written = {row for texts in self.add for row in texts.rows()}
        removed = {row for texts in self.drop for row in texts.rows()}
        return sorted(written), sorted(removed - written)

    @property
    def fits(self) -> bool:
        """Whether the columns are as small as they have to be."""
        return all(text_units(_dump(texts)) <= MAX_TEXT_COLUMN for texts in (self.add, self.drop))

    def columns(self) -> dict[str, Column]:
        """Columns of the backlog's row."""
        return {"since": self.since, "add": _dump(self.add), "drop": _dump(self.drop), "kept": int(self.kept)}


def backlog_of(row: Row) -> Backlog:
    """The backlog in its row. Raises MalformedRow."""
    columns = row.columns
    with reading(row.key):
        return Backlog(
            number_of(columns["since"]), _load(columns["add"]), _load(columns["drop"]), bool(columns["kept"])
        )


def backlog_between(
    before: frozenset[Texts], after: frozenset[Texts], left: Backlog | None, time: int
) -> Backlog | None:
    """What a commit leaves to do that turns the texts `before` into those `after`; None when they are the same.

    `left` is what an earlier commit left to do; it is taken over.
    """
    if before == after:
        return None
    add, drop = after - before, before - after
    if left is not None:
        add |= left.add - drop
        # Rows of `left.add` may be there already, those of `left.drop` still.
        drop = (drop | left.drop) - add
    return Backlog(time, add, drop)


def added_texts(columns: Mapping[str, Any]) -> frozenset[Texts]:
    """The texts whose rows may be missing, from the column `add` of a backlog's row."""
    return _load(columns["add"])


def _dump(texts: Iterable[Texts]) -> str:
    plain = sorted([each.tag, each.time, list(each.uids), list(each.texts)] for each in texts)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _load(text: str) -> frozenset[Texts]:
    return frozenset(Texts(tag, time, tuple(uids), tuple(texts)) for tag, time, uids, texts in json.loads(text))
