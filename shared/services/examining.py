"""Examining one study: whether its rows agree with one another, with its search rows and with its blobs.

The invariants are those of docs/storage-format.md. Where the rows and blobs are looked up is left to the caller: in
what has been listed beforehand, which is cheap and may be out of date, or one by one, which settles the matter.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shared.dicom.attributes import MODALITY
from shared.dicom.matching import values_of
from shared.model import InstanceKey, JsonDataSet, Series, StoredInstance, Study
from shared.storage import keys
from shared.storage.index import Index
from shared.storage.ledger import digest_of
from shared.storage.plan import MAX_COUNTED_MODALITIES
from shared.storage.rows import blobs_of
from shared.storage.search_rows import (
    instance_search_rows,
    series_search_rows,
    series_texts,
    study_search_rows,
    study_texts,
    vocabulary_rows,
)
from shared.storage.table import Columns
from shared.storage.texts import Backlog, Texts


class Verified(StrEnum):
    """What verifying counts."""

    STUDIES = "studies"
    INSTANCES = "instances"
    BLOBS = "blobs"
    NOTED = "versions that are left to the sweep"
    YOUNG = "versions without a row, young enough to be of a store under way"
    FOREIGN = "blobs with names of another form"
    BLOB_GONE = "DEFECT: rows whose blob is not there"
    BLOB_LENGTH = "DEFECT: rows whose blob has another length"
    BLOB_OWNER = "DEFECT: rows whose blob says that it is of another instance"
    BLOB_DOOMED = "DEFECT: rows whose blob is about to be deleted as garbage"
    SIDECAR_GONE = "DEFECT: sidecar blobs that a row speaks of and that are not there"
    NO_ROW = "DEFECT: versions that no row names and that nothing will delete"
    SIDECAR_SURPLUS = "DEFECT: sidecar blobs that their row does not speak of"
    COUNT = "DEFECT: studies and series with wrong counts"
    ROW_ALONE = "DEFECT: rows of instances or series without those of their series or study"
    SEARCH_MISSING = "DEFECT: search rows that are missing"
    SEARCH_SURPLUS = "DEFECT: search rows of what is not stored"
    SEARCH_COLUMNS = "DEFECT: search rows that say something else than their study"
    TEXT_MISSING = "DEFECT: text rows that are missing"
    TEXT_SURPLUS = "DEFECT: text rows of what is not stored"
    VOCABULARY_MISSING = "DEFECT: values that are missing in a vocabulary"
    MALFORMED = "DEFECT: rows and notes that cannot be read, and what else they concern was not checked"
    ASTRAY = "DEFECT: rows in another bucket than the one of their study"
    BUSY = "NOT CHECKED: studies that something in doubt kept changing in"


#: What should not be.
FAULTS = frozenset(kind for kind in Verified if kind.value.startswith(("DEFECT", "NOT CHECKED")))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should not be, and what it is called: UIDs, RowKeys, names of blobs."""

    kind: Verified
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob as it was found: its length in bytes, and the instance it says it is of, None where it does not say."""

    length: int
    owner: InstanceKey | None


class Findable(Protocol):
    """Where the rows and blobs of a study are looked up."""

    async def rows(self, names: Collection[str]) -> Mapping[str, bytes]:
        """Digests of the columns of those rows of the study's bucket that are there."""
        ...

    async def blob(self, name: str) -> Blob | None:
        """A blob, None if there is none."""
        ...


async def examine(index: Index, uid: str, backlog: Backlog | None, findable: Findable) -> tuple[list[Finding], int]:
    """What is wrong with a study, and how many instances it has. Raises Unavailable."""
    study = await index.get_study(uid)
    series = {each.uid: each for each in await index.list_series(uid)}
    found: list[Finding] = []
    counts: Counter[str] = Counter()
    async for page in index.list_instances(uid):
        counts.update(each.key.series for each in page)
        found += await _of_instances(study, series, page, findable)
    found += _of_counts(uid, study, series, counts)
    if study is not None:
        found += await _of_search_rows(study, series.values(), backlog, findable)
    return found, counts.total()


async def _of_instances(
    study: Study | None, series: Mapping[str, Series], page: Sequence[StoredInstance], findable: Findable
) -> list[Finding]:
    found: list[Finding] = []
    expected: dict[str, Columns] = {}
    for instance in page:
        key = instance.key
        uids = (key.study, key.series, key.instance)
        owner = series.get(key.series)
        if study is None or owner is None:
            found.append(Finding(Verified.ROW_ALONE, uids))
        else:
            expected |= instance_search_rows(study, owner, key)
        main, *sidecars = blobs_of(instance)
        blob = await findable.blob(main)
        if blob is None:
            found.append(Finding(Verified.BLOB_GONE, (*uids, main)))
        elif blob.length != instance.length:
            found.append(Finding(Verified.BLOB_LENGTH, (*uids, main)))
        elif blob.owner != key:
            found.append(Finding(Verified.BLOB_OWNER, (*uids, main)))
        for sidecar in sidecars:
            if await findable.blob(sidecar) is None:
                found.append(Finding(Verified.SIDECAR_GONE, (*uids, sidecar)))
    return found + await _missing(Verified.SEARCH_MISSING, expected, findable)


def _of_counts(uid: str, study: Study | None, series: Mapping[str, Series], counts: Mapping[str, int]) -> list[Finding]:
    if study is None:
        return [Finding(Verified.ROW_ALONE, (uid, each)) for each in series]
    wrong = [
        Finding(Verified.COUNT, (uid, each.uid))
        for each in series.values()
        if each.instances != counts.get(each.uid, 0)
    ]
    modalities = Counter(value for each in series.values() for value in values_of(each.attributes, MODALITY)[:1])
    right = study.instances == sum(counts.values()) and study.series == len(series) and study.instances > 0
    counted = len(modalities) > MAX_COUNTED_MODALITIES or dict(study.modalities) == dict(modalities)
    return wrong if right and counted else [*wrong, Finding(Verified.COUNT, (uid,))]


async def _of_search_rows(
    study: Study, series: Iterable[Series], backlog: Backlog | None, findable: Findable
) -> list[Finding]:
    # Rows that a backlog is going to write may be missing.
    late = {name for each in backlog.add for name in each.rows()} if backlog else set()
    compares = not cut_tags(study.attributes)
    found = await _missing(Verified.SEARCH_MISSING, study_search_rows(study), findable, compares=compares)
    found += await _of_texts(study_texts(study), late, findable)
    for each in series:
        found += await _missing(Verified.SEARCH_MISSING, series_search_rows(study, each), findable)
        found += await _missing(Verified.VOCABULARY_MISSING, vocabulary_rows(each), findable)
        found += await _of_texts(series_texts(study, each), late, findable)
    return found


async def _of_texts(texts: Iterable[Texts], late: Set[str], findable: Findable) -> list[Finding]:
    names = {name for each in texts for name in each.rows()}
    there = await findable.rows(names)
    return [Finding(Verified.TEXT_MISSING, (name,)) for name in sorted(names - there.keys() - late)]


async def _missing(
    kind: Verified, rows: Mapping[str, Columns], findable: Findable, *, compares: bool = True
) -> list[Finding]:
    """Findings for rows that are missing or have other columns."""
    there = await findable.rows(rows.keys())
    found = [Finding(kind, (name,)) for name in rows if name not in there]
    for name, digest in there.items():
        if compares and digest != digest_of(rows[name]):
            found.append(Finding(Verified.SEARCH_COLUMNS, (name,)))
    return found


def cut_tags(attributes: JsonDataSet) -> frozenset[str]:
    """Attributes whose values did not fit into the row, so that nobody can tell their search rows from it."""
    return frozenset(tag for tag, element in attributes.items() if element.get("cut"))


async def is_implied(index: Index, row: str, backlog: Backlog | None) -> bool:
    """Whether a search row or text row is one that what is stored implies; one of a value that was cut may be."""
    family = row.split("!")[1]
    tag = family.rstrip("t")
    uid, *below = keys.key_of_search_row(row).uids
    study = await index.get_study(uid)
    if family == "backlog" or (backlog and row in backlog.rows()[1]):
        return True
    if study is None:
        return False
    if not below:
        implied: Iterable[str] = (
            *study_search_rows(study),
            *(name for each in study_texts(study) for name in each.rows()),
        )
        return row in implied or tag in cut_tags(study.attributes)
    series = await index.get_series(uid, below[0])
    if series is None:
        return False
    if len(below) == 1:
        implied = (
            *series_search_rows(study, series),
            *(name for each in series_texts(study, series) for name in each.rows()),
        )
        return row in implied or tag in cut_tags(series.attributes)
    key = InstanceKey(uid, *below)
    return row in instance_search_rows(study, series, key) and await index.get_instance(key) is not None
