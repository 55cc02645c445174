"""The values that travel between the layers: what an instance is called, what is known of it, and how stores end.

Nothing here does any work. UIDs are always the trimmed ones, without the trailing spaces or NULs that pad them in a
file; what the file itself says is kept in the DICOM JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

#: One data set in the DICOM JSON model (PS3.18 §F.2): eight upper-case hex digits to {"vr": ..., "Value": [...]}.
type JsonDataSet = Mapping[str, Mapping[str, Any]]

#: The partition of callers who name none, spelt as the original service spells it.
DEFAULT_PARTITION = "Microsoft.Default"


class Level(IntEnum):
    """The levels of the information model that resources and attributes belong to (PS3.3 §7, PS3.18 §10.3)."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """A study, a series of it or an instance of that, named by trimmed UIDs."""

    study: str
    series: str | None = None
    instance: str | None = None

    @property
    def level(self) -> Level:
        """How deep the scope reaches."""
        if self.series is None:
            return Level.STUDY
        return Level.SERIES if self.instance is None else Level.INSTANCE


@dataclass(frozen=True, slots=True)
class Position:
    """Where a match stands in the order of an answer, whatever is stored or deleted before and behind it.

    Each level down to the one searched for has when it was created, in microseconds since 1970, and its UID. `date` is
    a key of eight digits where the answer is sorted by a date first, else empty.
    """

    date: str
    study: tuple[int, str]
    series: tuple[int, str] | None = None
    instance: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True, order=True)
class InstanceKey:
    """The three UIDs that name one instance within a data partition."""

    study: str
    series: str
    instance: str


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance whose bytes are in a blob and which waits for its commit.

    `length` is in bytes. `metadata` is the gzipped DICOM JSON of the data set, `frames` a packed frame table or None
    where frames cannot be located, `bulk` a packed bulk table or None where there are no bulk values.
    `study_attributes` and `series_attributes` are what the study and series rows learn from this instance, `number` is
    its InstanceNumber as searches compare it, empty without one. `created` is when it was stored, in microseconds since
    1970, where that was not just now: None lets the commit say so.
    """

    key: InstanceKey
    version: str
    length: int
    transfer_syntax: str
    sop_class: str
    metadata: bytes
    frames: bytes | None
    study_attributes: JsonDataSet
    series_attributes: JsonDataSet
    bulk: bytes | None = None
    number: str = ""
    created: int | None = None


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """What the index knows of one stored instance.

    `created` is in microseconds since 1970 (UTC). `metadata`, `frames` and `bulk` are None when they were not asked
    for; `metadata_apart`, `frames_apart` and `bulk_apart` say that they are too large for the row and lie in a sidecar
    blob.
    """

    key: InstanceKey
    version: str
    length: int
    transfer_syntax: str
    sop_class: str
    created: int
    metadata: bytes | None = None
    frames: bytes | None = None
    metadata_apart: bool = False
    frames_apart: bool = False
    bulk: bytes | None = None
    bulk_apart: bool = False
    number: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A study as the index holds it; counts are of what is stored, `tag` changes with every change of the study."""

    uid: str
    created: int
    tag: str
    instances: int
    series: int
    modalities: Mapping[str, int]
    attributes: JsonDataSet
    newest: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Series:
    """A series as the index holds it; `tag` changes with every change of the series."""

    study: str
    uid: str
    created: int
    tag: str
    instances: int
    attributes: JsonDataSet
    newest: str
