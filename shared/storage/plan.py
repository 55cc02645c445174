"""What one commit changes: pure functions from what a study is, and what happens to it, to the operations to run.

Every commit of a study writes its study row under the ETag it was read with. That makes the rows of a study one unit:
of two commits that started from the same state only one succeeds, and the other starts again. Series rows carry their
own ETags as well, because they are read one by one and not at the same instant as the study row.

    StudyState --+
                 +--> plan_store / plan_delete --> Plan(operations, the state afterwards)
    instances ---+

Left out: running the operations, and what to do when they fail (commit.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared.dicom.attributes import MODALITY
from shared.dicom.matching import values_of
from shared.model import JsonDataSet, NewInstance, Series, StoredInstance, Study
from shared.storage import keys
from shared.storage.rows import (
    NoteChange,
    garbage_of,
    instance_columns,
    note_columns,
    series_columns,
    study_columns,
)
from shared.storage.search_rows import instance_search_rows, series_search_rows, study_search_rows
from shared.storage.table import MAX_OPERATIONS, MAX_TRANSACTION_BYTES, Columns, Operation

#: Modalities of one study that are counted; keeps the column that holds them far below its limit.
MAX_COUNTED_MODALITIES = 200


@dataclass(frozen=True, slots=True)
class StudyState:
    """A study and those of its series that a commit touches, with the ETags of their rows.

    `study` is None when nothing of it is stored; a series that `series` maps to None does not exist yet.
    """

    uid: str
    study: Study | None
    series: Mapping[str, Series | None]
    etags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a commit happens and when the garbage it makes is due, in microseconds since 1970, and what it is called."""

    time: int
    tag: str
    due: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations of one transaction, and the state they lead to (its ETags are known only afterwards)."""

    operations: tuple[Operation, ...]
    after: StudyState

    @property
    def fits(self) -> bool:
        """Whether the operations fit into one transaction."""
        return (
            len(self.operations) <= MAX_OPERATIONS
            and sum(operation.size for operation in self.operations) <= MAX_TRANSACTION_BYTES
        )


def plan_store(
    before: StudyState, instances: Sequence[NewInstance], existing: Mapping[str, StoredInstance], moment: Moment
) -> Plan:
    """Add instances to a study; those in `existing` (by RowKey) are replaced, the others must not exist yet.

    The UIDs of `instances` are distinct. Attributes of the study and of its series take the newest non-empty values.
    """
    study, series = before.study, dict(before.series)
    rows: list[Operation] = []
    search_rows: list[Operation] = []
    for position, instance in enumerate(instances):
        key, row = instance.key, keys.instance_row(instance.key)
        added = 0 if row in existing else 1
        # A microsecond apart, so that what came later in one commit counts as newer.
        created = moment.time + position
        old = series[key.series]
        if old is None:
            new = Series(key.study, key.series, created, moment.tag, 1, instance.series_attributes, key.instance)
        else:
            new = replace(
                old,
                tag=moment.tag,
                instances=old.instances + added,
                attributes=newest_values(old.attributes, instance.series_attributes),
                newest=key.instance,
            )
        series[key.series] = new
        modalities = _counted(study.modalities if study else {}, old, new)
        if study is None:
            study = Study(
                uid=key.study,
                created=created,
                tag=moment.tag,
                instances=1,
                series=1,
                modalities=modalities,
                attributes=instance.study_attributes,
                newest=(key.series, key.instance),
            )
        else:
            study = replace(
                study,
                tag=moment.tag,
                instances=study.instances + added,
                series=study.series + (old is None),
                modalities=modalities,
                attributes=newest_values(study.attributes, instance.study_attributes),
                newest=(key.series, key.instance),
            )
        columns = instance_columns(instance, created)
        if row in existing:
            rows.append(Operation("replace", row, columns, before.etags[row]))
        else:
            rows.append(Operation("insert", row, columns))
            search_rows.extend(
                Operation("put", name, values) for name, values in instance_search_rows(study, new, key).items()
            )
    after = replace(before, study=study, series=series)
    notes = _garbage_notes(list(existing.values()), moment)
    return Plan((*rows, *_row_changes(before, after), *search_rows, *notes), after)


def plan_delete(
    before: StudyState,
    instances: Sequence[StoredInstance],
    moment: Moment,
    *,
    note: NoteChange | None = None,
) -> Plan:
    """Take instances out of a study; a series or study without any left goes too. Attributes are not recomputed.

    `note`, the RowKey of work for the sweep and what it says, is written (removed, where it says None) as well.
    """
    assert before.study is not None
    study: Study | None = before.study
    series = dict(before.series)
    rows: list[Operation] = []
    for uid, leaving in Counter(instance.key.series for instance in instances).items():
        old = series[uid]
        assert old is not None and study is not None
        left = old.instances - leaving
        new = replace(old, tag=moment.tag, instances=left) if left > 0 else None
        series[uid] = new
        remaining = study.instances - leaving
        study = replace(
            study,
            tag=moment.tag,
            instances=remaining,
            series=study.series - (new is None),
            modalities=_counted(study.modalities, old, new),
        )
    if study is not None and study.instances <= 0:
        study = None
    for instance in instances:
        owner = before.series[instance.key.series]
        assert owner is not None
        row = keys.instance_row(instance.key)
        rows.append(Operation("delete", row, etag=before.etags[row]))
        rows.extend(Operation("delete", name) for name in instance_search_rows(before.study, owner, instance.key))
    after = replace(before, study=study, series=series)
    notes = _garbage_notes(instances, moment)
    if note is not None:
        name, content = note
        notes.append(Operation("put", name, note_columns(content)) if content else Operation("delete", name))
    return Plan((*rows, *_row_changes(before, after), *notes), after)


def newest_values(old: JsonDataSet, new: JsonDataSet) -> JsonDataSet:
    """Attributes after a store: the new value where there is one, else the old."""
    return {**old, **{tag: element for tag, element in new.items() if element.get("Value") or tag not in old}}


def _counted(modalities: Mapping[str, int], old: Series | None, new: Series | None) -> dict[str, int]:
    """How many series of a study have each modality, after one of them became `new`."""
    counts = Counter(modalities)
    counts.subtract(values_of(old.attributes, MODALITY)[:1] if old else ())
    for modality in values_of(new.attributes, MODALITY)[:1] if new else ():
        if modality in counts or len(counts) < MAX_COUNTED_MODALITIES:
            counts[modality] += 1
    return {modality: count for modality, count in counts.items() if count > 0}


def _garbage_notes(instances: Sequence[StoredInstance], moment: Moment) -> list[Operation]:
    if not instances:
        return []
    return [Operation("put", keys.sweep_row(moment.due, moment.tag), note_columns(garbage_of(instances)))]


def _row_changes(before: StudyState, after: StudyState) -> list[Operation]:
    """The study row, the series rows and all their search rows, as far as they differ."""
    operations: list[Operation] = []
    operations += _row_change(
        before, keys.study_row(before.uid), _study_columns(before.study), _study_columns(after.study)
    )
    for uid, series in after.series.items():
        old = before.series[uid]
        if old != series:
            name = keys.series_row(before.uid, uid)
            operations += _row_change(before, name, _series_columns(old), _series_columns(series))
    old_rows, new_rows = _search_rows(before), _search_rows(after)
    operations += [Operation("delete", name) for name in old_rows if name not in new_rows]
    operations += [
        Operation("put", name, columns) for name, columns in new_rows.items() if old_rows.get(name) != columns
    ]
    return operations


def _row_change(before: StudyState, name: str, old: Columns | None, new: Columns | None) -> list[Operation]:
    if old is None and new is None:
        return []
    if old is None:
        return [Operation("insert", name, new)]
    if new is None:
        return [Operation("delete", name, etag=before.etags[name])]
    return [Operation("replace", name, new, before.etags[name])]


def _study_columns(study: Study | None) -> Columns | None:
    return study_columns(study) if study else None


def _series_columns(series: Series | None) -> Columns | None:
    return series_columns(series) if series else None


def _search_rows(state: StudyState) -> dict[str, Columns]:
    """All search rows of the study and of the series in the state."""
    if state.study is None:
        return {}
    rows = study_search_rows(state.study)
    for series in state.series.values():
        if series is not None:
            rows |= series_search_rows(state.study, series)
    return rows
