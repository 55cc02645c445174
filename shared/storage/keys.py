"""The key layout of the index: every PartitionKey and RowKey there is, made and taken apart here and nowhere else.

`docs/storage-format.md` is the prose of this file; tests/storage/test_keys.py holds golden keys. Changing what a
function here returns makes existing indexes unreadable.

    PartitionKey   {data partition}!{bucket}                       bucket: two hex digits, hash of the study's UID
    RowKey         s!{study}                                       study
                   e!{study}!{series}                              series
                   i!{study}!{series}!{instance}                   instance
                   x!studies!{newest first}!{study}                the newest-first list of studies
                   x!{tag}!{key}!{newest first}!{study}            study search row
                   x!{tag}!{key}!{newest first}!{study}!{series}   series search row
                   x!{tag}!{key}!{newest first}!{study}!{series}!{instance}
                   x!{tag}t!{key}!...                              text row: a search row of a suffix of a text
                   x!backlog!{newest first}!{study}                text rows of a study still to be written or removed
                   v!{tag}!{key}                                   a value that series have, for patterns
                   g!{due}!{id}                                    work for the sweep: garbage, unfinished deletes

Facts:
- RowKeys compare by UTF-16 code unit. `!` sorts below every character a piece may hold, so a range of keys that
  share their first pieces is [prefix + "!", prefix + '"').
- UIDs hold only digits and dots and stand in keys as they are; free text is escaped by `escape`.
- A RowKey may not hold / \\ # ? or control characters and at most 1 KiB; the longest one here has under 512 characters.
"""

import hashlib
import re
from dataclasses import dataclass

from shared.model import InstanceKey

#: Just above `!`: closes the range of all keys that begin with a prefix and `!`.
_PAST_SEPARATOR = '"'

#: Characters of text that go into a key; the whole value stands in a column, where it is compared again.
MAX_KEY_TEXT = 64

_ESCAPED = re.compile(r"[^0-9A-Za-z\u00a0-\ud7ff\ue000-\U0010ffff]")

_VERSION = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class KeyRange:
    """RowKeys from `low` (inclusive) to `high` (exclusive)."""

    low: str
    high: str


def escape(text: str) -> str:
    """Text as a key piece: reversible, keeps the order of texts and the prefixes of texts.

    ASCII other than letters and digits, and the control characters above it, become a lead character and two hex
    digits. Four leads are needed to keep the order: each is the smallest character of the gap it stands for (below the
    digits, between digits and capitals, between capitals and small letters, above those).
    """
    return _ESCAPED.sub(_escape_one, text[:MAX_KEY_TEXT])


def _escape_one(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xD800 <= code <= 0xDFFF:  # a lone surrogate cannot be sent as UTF-8
        return "\ufffd"
    lead = "-" if code < 0x30 else ":" if code < 0x41 else "_" if code < 0x61 else "~"
    return f"{lead}{code:02x}"


def partition_key(data_partition: str, bucket: int) -> str:
    """PartitionKey of a bucket, 0 to 63, of a data partition."""
    return f"{data_partition}!{bucket:02x}"


def bucket_of(study: str, buckets: int) -> int:
    """The bucket, 0 to `buckets` - 1, that every row of a study lies in."""
    digest = hashlib.blake2b(study.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % buckets


def study_row(study: str) -> str:
    """RowKey of a study."""
    return f"s!{study}"


def study_rows() -> KeyRange:
    """Every study of a bucket."""
    return _below("s")


def study_of_row(row: str) -> str:
    """The StudyInstanceUID in the RowKey of a study, a series or an instance."""
    return row.split("!")[1]


def owner_of_row(row: str) -> str | None:
    """The StudyInstanceUID in a RowKey of any kind; empty for a vocabulary's, None for one of no form there is."""
    match row.split("!"):
        case ["s", study] | ["e", study, _] | ["i", study, _, _]:
            return study or None
        case ["x", "studies" | "backlog", _, study] | ["x", _, _, _, study] | ["x", _, _, _, study, _]:
            return study or None
        case ["x", _, _, _, study, _, _]:
            return study or None
        case ["v", _, _]:
            return ""
    return None


def series_row(study: str, series: str) -> str:
    """RowKey of a series."""
    return f"e!{study}!{series}"


def series_rows(study: str) -> KeyRange:
    """The series of a study."""
    return _below(f"e!{study}")


def instance_row(key: InstanceKey) -> str:
    """RowKey of an instance."""
    return f"i!{key.study}!{key.series}!{key.instance}"


def instance_rows(study: str, series: str | None = None) -> KeyRange:
    """The instances of a study, or of one of its series."""
    return _below(f"i!{study}" if series is None else f"i!{study}!{series}")


def rows_of_studies() -> tuple[KeyRange, ...]:
    """Every study of a bucket, every series and every instance."""
    return tuple(_below(kind) for kind in "sei")


def rows_of_searches() -> tuple[KeyRange, ...]:
    """Every search row, text row and backlog of a bucket, and its vocabularies."""
    return tuple(_below(kind) for kind in "xv")


def key_of_instance_row(row: str) -> InstanceKey:
    """The UIDs in the RowKey of an instance."""
    _, study, series, instance = row.split("!")
    return InstanceKey(study, series, instance)


def _below(prefix: str) -> KeyRange:
    return KeyRange(f"{prefix}!", f"{prefix}{_PAST_SEPARATOR}")


# Search rows


#: 13 hex digits hold microseconds since 1970 until the year 2112.
_LATEST = 16**13 - 1


def newest_first(*times: int) -> str:
    """Times, in microseconds since 1970, as a piece that sorts the latest first; the first time counts most."""
    return "".join(f"{_LATEST - time:013x}" for time in times)


def newest_date_first(date: str) -> str:
    """A DA value, YYYYMMDD, as a key that sorts the latest first."""
    return f"{99_999_999 - int(date):08d}"


def list_row(time: str, study: str) -> str:
    """RowKey of a study in the newest-first list; `time` from `newest_first`."""
    return f"x!studies!{time}!{study}"


def list_rows() -> KeyRange:
    """The newest-first list of studies."""
    return _below("x!studies")


def search_row(family: str, key: str, time: str, *uids: str) -> str:
    """RowKey of a search row. `family` is a tag, or a `text_family`; `key` is escaped already."""
    return "!".join(("x", family, key, time, *uids))


def text_family(tag: str) -> str:
    """The family of an attribute's text rows, whose keys are the suffixes of its texts."""
    return f"{tag}t"


def backlog_row(time: str, study: str) -> str:
    """RowKey of what is left to do for the text rows of a study; `time` from `newest_first`."""
    return f"x!backlog!{time}!{study}"


def is_backlog_row(row: str) -> bool:
    """Whether a RowKey is that of a backlog."""
    return row.startswith("x!backlog!")


def backlog_rows() -> KeyRange:
    """Every study that has text rows left to write or to remove."""
    return _below("x!backlog")


def vocabulary_row(tag: str, key: str) -> str:
    """RowKey of a value that some series has, or has had; `key` is escaped already."""
    return f"v!{tag}!{key}"


def vocabulary_rows(tag: str) -> KeyRange:
    """Every value of an attribute that some series has, or has had."""
    return _below(f"v!{tag}")


def key_of_vocabulary_row(row: str) -> str:
    """The escaped value in the RowKey of a value."""
    return row.split("!")[2]


def search_rows_equal(family: str, key: str) -> KeyRange:
    """The search rows with just this key, newest first."""
    return _below(f"x!{family}!{key}")


def search_rows_starting(family: str, prefix: str) -> KeyRange:
    """The search rows whose key begins with `prefix`, in the order of keys. An empty prefix means all."""
    if not prefix:
        return _below(f"x!{family}")
    return KeyRange(f"x!{family}!{prefix}", f"x!{family}!{successor(prefix)}")


def successor(prefix: str) -> str:
    """The least text above every text that begins with `prefix`, by UTF-16 code unit."""
    prefix = prefix.rstrip("\uffff")  # nothing lies above it
    if not prefix:
        return "\uffff"
    last = ord(prefix[-1])
    # U+D7FF is followed by the surrogates that spell U+10000, and U+10FFFF by U+E000.
    following = {0xD7FF: 0x10000, 0x10FFFF: 0xE000}.get(last, last + 1)
    return prefix[:-1] + chr(following)


def search_rows_between(family: str, low: str, high: str) -> KeyRange:
    """The search rows whose key lies from `low` to `high`, both inclusive."""
    return KeyRange(f"x!{family}!{low}!", f"x!{family}!{high}{_PAST_SEPARATOR}")


def rows_from(rows: KeyRange, order: str) -> KeyRange:
    """Those of the search rows with just one key, or of the list, that do not come before an order."""
    return KeyRange(rows.low + order, rows.high)


def rows_from_key(rows: KeyRange, family: str, key: str, order: str) -> KeyRange:
    """Those of a range of search rows that do not come before a key and an order; keys without other than ASCII."""
    return KeyRange(max(rows.low, f"x!{family}!{key}!{order}"), rows.high)


@dataclass(frozen=True, slots=True)
class SearchKey:
    """A search row's RowKey taken apart; `order` sorts rows of one family newest first whatever their keys."""

    key: str
    order: str
    uids: tuple[str, ...]


def search_order(time: str, *uids: str) -> str:
    """What a study or series, with its `newest_first` time, is sorted by: the `order` of its search rows."""
    return "!".join((time, *uids))


def uids_of_order(order: str) -> tuple[str, ...]:
    """The UIDs in what `search_order` made."""
    return tuple(order.split("!")[1:])


def key_of_search_row(row: str) -> SearchKey:
    """Take the RowKey of a search row, of a backlog, or of a row of the newest-first list, apart."""
    _, family, *pieces = row.split("!")
    key = "" if family in ("studies", "backlog") else pieces.pop(0)
    time, *uids = pieces
    return SearchKey(key, search_order(time, *uids), tuple(uids))


def time_of_search_row(row: str) -> str:
    """When the study of a search row was first stored, as `newest_first` spells it."""
    return key_of_search_row(row).order[:13]


# Sweep


def sweep_row(due: int, identifier: str) -> str:
    """RowKey of work for the sweep that is due at a time in microseconds since 1970."""
    return f"g!{due:013x}!{identifier}"


def sweep_rows() -> KeyRange:
    """All work for the sweep."""
    return _below("g")


def sweep_rows_due(now: int) -> KeyRange:
    """All work that is due by `now`, in microseconds since 1970, the longest due first."""
    return KeyRange("g!", f"g!{now + 1:013x}")


# Blobs


def version_id(time: int, randomness: int) -> str:
    """Name of an instance's blob: 13 hex digits of microseconds since 1970, then 19 random ones. Says nothing else."""
    return f"{time:013x}{randomness % 16**19:019x}"


def version_prefix(time: int) -> str:
    """What the names of all blobs made within the same 2^32 microseconds (72 minutes) begin with."""
    return f"{time:013x}"[:5]


#: Microseconds that one `version_prefix` covers.
VERSION_PREFIX_SPAN = 16**8


def time_of_version(version: str) -> int | None:
    """When a version id was made, in microseconds since 1970; None for a name that is none of ours."""
    return int(version[:13], 16) if _VERSION.fullmatch(version) else None


def metadata_blob(version: str) -> str:
    """Name of the sidecar blob that holds an instance's metadata."""
    return f"{version}.metadata"


def frames_blob(version: str) -> str:
    """Name of the sidecar blob that holds an instance's frame table."""
    return f"{version}.frames"


def bulk_blob(version: str) -> str:
    """Name of the sidecar blob that holds an instance's bulk table."""
    return f"{version}.bulk"


def blobs_of_version(version: str) -> tuple[str, str, str, str]:
    """Names of all blobs that a version may have; the first it always has."""
    return version, metadata_blob(version), frames_blob(version), bulk_blob(version)


def version_of_blob(name: str) -> str:
    """The version id in the name of a blob or sidecar."""
    return name.partition(".")[0]
