"""What stands in the columns of study, series and instance rows, both ways.

`docs/storage-format.md` describes the same columns in prose. Attributes are kept as compact DICOM JSON text.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shared.errors import MalformedRow
from shared.model import JsonDataSet, NewInstance, Series, StoredInstance, Study
from shared.storage import keys
from shared.storage.table import MAX_BINARY_COLUMN, MAX_TEXT_COLUMN, Column, Row

#: Columns of an instance row that say what it is, without the three large ones: `metadata`, `frames` and `bulk`.
INSTANCE_COLUMNS = (
    "version",
    "length",
    "transferSyntax",
    "sopClass",
    "number",
    "created",
    "metadataApart",
    "framesApart",
    "bulkApart",
)


@contextmanager
def reading(row: str) -> Iterator[None]:
    """Whatever goes wrong with the columns of a row, by its RowKey, is MalformedRow."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise MalformedRow(row) from error


def study_columns(study: Study) -> dict[str, Column]:
    """Columns of a study row."""
    return {
        "created": study.created,
        "tag": study.tag,
        "instances": study.instances,
        "series": study.series,
        "modalities": _dump(study.modalities),
        "attributes": attributes_text(study.attributes),
        "newest": "!".join(study.newest),
    }


def study_of(uid: str, columns: Mapping[str, Any]) -> Study:
    """A study from the columns of its row. Raises MalformedRow."""
    with reading(keys.study_row(uid)):
        series, instance = columns["newest"].split("!")
        return Study(
            uid=uid,
            created=number_of(columns["created"]),
            tag=columns["tag"],
            instances=number_of(columns["instances"]),
            series=number_of(columns["series"]),
            modalities=_object_of(columns["modalities"]),
            attributes=_object_of(columns["attributes"]),
            newest=(series, instance),
        )


def series_columns(series: Series) -> dict[str, Column]:
    """Columns of a series row."""
    return {
        "created": series.created,
        "tag": series.tag,
        "instances": series.instances,
        "attributes": attributes_text(series.attributes),
        "newest": series.newest,
    }


def series_of(study: str, uid: str, columns: Mapping[str, Any]) -> Series:
    """A series from the columns of its row. Raises MalformedRow."""
    with reading(keys.series_row(study, uid)):
        return Series(
            study=study,
            uid=uid,
            created=number_of(columns["created"]),
            tag=columns["tag"],
            instances=number_of(columns["instances"]),
            attributes=_object_of(columns["attributes"]),
            newest=columns["newest"],
        )


def sidecars_of(instance: NewInstance) -> dict[str, bytes]:
    """What does not fit into the instance row, by the name of the blob it goes to instead."""
    names = {
        keys.metadata_blob(instance.version): instance.metadata,
        keys.frames_blob(instance.version): instance.frames,
        keys.bulk_blob(instance.version): instance.bulk,
    }
    return {name: data for name, data in names.items() if not _fits(data) and data is not None}


def _fits(data: bytes | None) -> bool:
    return data is None or len(data) <= MAX_BINARY_COLUMN


def instance_columns(instance: NewInstance, created: int) -> dict[str, Column]:
    """Columns of an instance row; what does not fit is said to lie apart, in a sidecar blob."""
    columns: dict[str, Column] = {
        "version": instance.version,
        "length": instance.length,
        "transferSyntax": instance.transfer_syntax,
        "sopClass": instance.sop_class,
        "created": created,
    }
    if instance.number:
        columns["number"] = instance.number
    for name, data in (("metadata", instance.metadata), ("frames", instance.frames), ("bulk", instance.bulk)):
        if not _fits(data):
            columns[f"{name}Apart"] = 1
        elif data is not None:
            columns[name] = data
    return columns


def instance_of(row: Row) -> StoredInstance:
    """An instance from its row. Raises MalformedRow."""
    columns = row.columns
    with reading(row.key):
        return StoredInstance(
            key=keys.key_of_instance_row(row.key),
            version=columns["version"],
            length=number_of(columns["length"]),
            transfer_syntax=columns["transferSyntax"],
            sop_class=columns["sopClass"],
            created=number_of(columns["created"]),
            metadata=columns.get("metadata"),
            frames=columns.get("frames"),
            metadata_apart=bool(columns.get("metadataApart")),
            frames_apart=bool(columns.get("framesApart")),
            bulk=columns.get("bulk"),
            bulk_apart=bool(columns.get("bulkApart")),
            number=columns.get("number") or "",
        )


def blobs_of(instance: StoredInstance) -> list[str]:
    """Names of every blob an instance has."""
    names = [instance.version]
    if instance.metadata_apart:
        names.append(keys.metadata_blob(instance.version))
    if instance.frames_apart:
        names.append(keys.frames_blob(instance.version))
    if instance.bulk_apart:
        names.append(keys.bulk_blob(instance.version))
    return names


def attributes_text(attributes: JsonDataSet) -> str:
    """Attributes as compact JSON that fits into a column.

    Where they do not fit, the values of the longest are left out, which {"vr": ..., "cut": true} tells from having
    none; a search that wants one of those reads it from an instance.
    """
    text = _dump(attributes)
    kept = dict(attributes)
    for tag in sorted(kept, key=lambda tag: len(_dump(kept[tag])), reverse=True):
        if text_units(text) <= MAX_TEXT_COLUMN:
            break
        kept[tag] = {"vr": kept[tag]["vr"], "cut": True}
        text = _dump(kept)
    return text


def text_units(text: str) -> int:
    """UTF-16 code units, by which the service measures a column."""
    return len(text.encode("utf-16-le", "replace")) // 2


def number_of(column: object) -> int:
    """A column that holds a number. Raises TypeError for one that holds anything else."""
    if not isinstance(column, int):
        raise TypeError("this column holds no number")
    return column


def _object_of(column: str) -> dict[str, Any]:
    value = json.loads(column)
    if not isinstance(value, dict):
        raise TypeError("this column holds no JSON object")
    return value


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
