"""What one commit changes: pure functions from what a study is, and what happens to it, to the operations to run.

Every commit of a study writes its study row under the ETag it was read with. That makes the rows of a study one unit:
of two commits that started from the same state only one succeeds, and the other starts again. Series rows carry their
own ETags as well, because they are read one by one and not at the same instant as the study row.

    StudyState --+
                 +--> plan_store / plan_delete --> Plan(operations, the state afterwards, the backlog of text rows)
    instances ---+

Left out: running the operations, and what to do when they fail (commit.py); writing text rows (text_writer.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared.dicom.attributes import MODALITY, SOP_CLASS_UID
from shared.dicom.matching import values_of
from shared.model import JsonDataSet, NewInstance, Series, StoredInstance, Study
from shared.storage import keys
from shared.storage.notes import NoteChange, garbage_of
from shared.storage.rows import instance_columns, series_columns, study_columns
from shared.storage.search_rows import (
    instance_search_rows,
    series_search_rows,
    series_texts,
    study_search_rows,
    study_texts,
    vocabulary_rows,
)
from shared.storage.table import MAX_OPERATIONS, MAX_TRANSACTION_BYTES, Columns, Operation
from shared.storage.texts import Backlog, Texts, backlog_between

#: Modalities of one study that are counted; keeps the column that holds them far below its limit.
MAX_COUNTED_MODALITIES = 200

#: SOP classes of one series that can be searched for; bounds the search rows of a series of hostile instances.
MAX_CLASSES = 16


@dataclass(frozen=True, slots=True)
class StudyState:
    """A study and those of its series that a commit touches, with the ETags of their rows.

    `study` is None when nothing of it is stored; a series that `series` maps to None does not exist yet. `backlog` is
    None when there is none, or when nobody has looked: a commit that makes one clashes with it then.
    """

    uid: str
    study: Study | None
    series: Mapping[str, Series | None]
    etags: Mapping[str, str]
    backlog: Backlog | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When a commit happens and when the garbage it makes is due, in microseconds since 1970, and what it is called."""

    time: int
    tag: str
    due: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations of one transaction, and the state they lead to (its ETags are known only afterwards).

    `backlog_key` is the RowKey of the backlog that is written, the one of `after`; None where none is written.
    """

    operations: tuple[Operation, ...]
    after: StudyState
    backlog_key: str | None

    @property
    def fits(self) -> bool:
        """Whether the operations fit into one transaction, and the backlog into its columns."""
        return (
            len(self.operations) <= MAX_OPERATIONS
            and sum(operation.size for operation in self.operations) <= MAX_TRANSACTION_BYTES
            and (self.after.backlog is None or self.after.backlog.fits)
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
        created = moment.time + position if instance.created is None else instance.created
        old = series[key.series]
        if old is None:
            attributes = _with_class(instance.series_attributes, {}, instance.sop_class)
            new = Series(key.study, key.series, created, moment.tag, 1, attributes, key.instance)
        else:
            new = replace(
                old,
                tag=moment.tag,
                instances=old.instances + added,
                attributes=_with_class(
                    newest_values(old.attributes, instance.series_attributes), old.attributes, instance.sop_class
                ),
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
    return _plan(before, after, [*rows, *search_rows, *notes], moment)


def plan_delete(
    before: StudyState,
    instances: Sequence[StoredInstance],
    moment: Moment,
    *,
    note: NoteChange | None = None,
    garbage: bool = True,
) -> Plan:
    """Take instances out of a study; a series or study without any left goes too. Attributes are not recomputed.

    `garbage`: their blobs are left to the sweep.

    `note` is a note of the sweep that changes as well.
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
    notes = _garbage_notes(instances, moment) if garbage else []
    if note is not None:
        notes.append(note.operation())
    return _plan(before, after, [*rows, *notes], moment)


def largest_delete(
    state: StudyState, leaving: list[StoredInstance], moment: Moment, note: NoteChange | None, garbage: bool
) -> tuple[Plan, list[StoredInstance]]:
    """The plan for as many of the instances as fit into one transaction, and the others; see `plan_delete`."""
    keep = len(leaving)
    while True:
        last = keep == len(leaving)
        written = note if note and (last or note.note) else None
        plan = plan_delete(state, leaving[:keep], moment, note=written, garbage=garbage)
        if plan.fits or keep == 1:
            return plan, leaving[keep:]
        keep = max(1, keep * 3 // 4)


def _plan(before: StudyState, after: StudyState, operations: Sequence[Operation], moment: Moment) -> Plan:
    """The plan that runs some operations and those of all rows that are functions of the study and its series."""
    backlog = backlog_between(_texts(before), _texts(after), before.backlog, moment.time)
    after = replace(after, backlog=backlog)
    if backlog is None:
        return Plan((*operations, *_row_changes(before, after)), after, None)
    study = before.study or after.study
    assert study is not None
    key = keys.backlog_row(keys.newest_first(study.created), study.uid)
    left = _row_change(before, key, before.backlog.columns() if before.backlog else None, backlog.columns())
    return Plan((*operations, *left, *_row_changes(before, after)), after, key)


def newest_values(old: JsonDataSet, new: JsonDataSet) -> JsonDataSet:
    """Attributes after a store: the new value where there is one, else the old."""
    return {**old, **{tag: element for tag, element in new.items() if element.get("Value") or tag not in old}}


def _with_class(attributes: JsonDataSet, old: JsonDataSet, sop_class: str) -> JsonDataSet:
    """Attributes of a series, with the classes of its old ones and another one, up to `MAX_CLASSES` of them."""
    known = values_of(old, SOP_CLASS_UID)
    found = sorted({*known, sop_class}) if sop_class and len(known) < MAX_CLASSES else known
    return {**attributes, SOP_CLASS_UID: {"vr": "UI", "Value": found}}


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
    return [NoteChange(moment.due, moment.tag, garbage_of(instances)).operation()]


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
    known, used = _vocabulary(before), _vocabulary(after)
    operations += [Operation("put", name, columns) for name, columns in used.items() if name not in known]
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


def _texts(state: StudyState) -> frozenset[Texts]:
    """All texts of the study and of the series in the state that have text rows."""
    if state.study is None:
        return frozenset()
    series = (series_texts(state.study, each) for each in state.series.values() if each is not None)
    return study_texts(state.study).union(*series)


def _vocabulary(state: StudyState) -> dict[str, Columns]:
    """What the series in the state have in the vocabularies."""
    return {name: columns for each in state.series.values() if each for name, columns in vocabulary_rows(each).items()}
