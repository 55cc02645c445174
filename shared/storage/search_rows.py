"""Which search rows a study and its series have: a pure function of what their own rows hold.

A commit computes these rows before and after the change and writes the difference, in the same transaction. So search
rows can neither be forgotten nor go stale: there is no second description of them anywhere.

A study's rows repeat its searchable attributes, folded, in columns, so that the table itself can apply the other
conditions of a search; the row of the newest-first list holds the whole answer as well.
"""

from collections.abc import Iterator

from shared.dicom.attributes import (
    MODALITIES_IN_STUDY,
    SEARCHABLE,
    SERIES_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    SearchAttribute,
)
from shared.dicom.matching import RANGE_VRS, folded_values, name_forms, word_runs
from shared.model import InstanceKey, JsonDataSet, Level, Series, Study
from shared.storage import keys
from shared.storage.rows import study_columns
from shared.storage.table import Column, Columns

#: Runs of words of one name that get a row of their own; bounds the rows of a study with a hostile name.
MAX_WORD_RUNS = 10

#: Modalities of one study that can be searched for, the first by name; bounds the rows of a study of hostile series.
MAX_MODALITIES = 16

#: The whole name and its three component groups (PS3.5 §6.2.1); bounds the rows of a study with a hostile name.
MAX_NAME_FORMS = 4

_STUDY = tuple(a for a in SEARCHABLE if a.level is Level.STUDY and a.tag != STUDY_INSTANCE_UID)
_SERIES = tuple(a for a in SEARCHABLE if a.level is Level.SERIES)
_INSTANCE = tuple(a for a in SEARCHABLE if a.level is Level.INSTANCE)


def word_family(attribute: SearchAttribute) -> str:
    """The family of search rows that fuzzy matching of an attribute reads."""
    return f"{attribute.tag}w"


def search_key(attribute: SearchAttribute, folded: str) -> str | None:
    """The key piece of a folded value; None for a date that is none and so cannot be found."""
    if attribute.vr in RANGE_VRS:
        return keys.newest_date_first(folded) if len(folded) == 8 and folded.isascii() and folded.isdigit() else None
    return folded if attribute.vr == "UI" else keys.escape(folded)


def search_values(study: Study) -> JsonDataSet:
    """A study's attributes as searches see them: with the UID and the modalities that the index knows."""
    return {
        **study.attributes,
        STUDY_INSTANCE_UID: {"vr": "UI", "Value": [study.uid]},
        MODALITIES_IN_STUDY: {"vr": "CS", "Value": sorted(study.modalities)[:MAX_MODALITIES]},
    }


def series_values(series: Series) -> JsonDataSet:
    """A series' attributes as searches see them: with the UID that the index knows."""
    return {**series.attributes, SERIES_INSTANCE_UID: {"vr": "UI", "Value": [series.uid]}}


def search_columns(study: Study) -> dict[str, Column]:
    """The searchable attributes of a study, folded; one column each, named by keyword."""
    values = search_values(study)
    return {
        attribute.keyword: "\\".join(folded)
        for attribute in _STUDY
        if (folded := folded_values(values, attribute)) and len("\\".join(folded)) <= 4096
    }


def values_in_columns(columns: Columns, attribute: SearchAttribute) -> tuple[str, ...]:
    """The folded values of one attribute as `search_columns` wrote them."""
    text = columns.get(attribute.keyword)
    if not isinstance(text, str):
        return ()
    return tuple(text.split("\\")) if attribute.tag == MODALITIES_IN_STUDY else (text,)


def study_search_rows(study: Study) -> dict[str, Columns]:
    """Every search row of a study, RowKey to columns."""
    time = keys.newest_first(study.created)
    columns = search_columns(study)
    values = search_values(study)
    rows: dict[str, Columns] = {keys.list_row(time, study.uid): {**columns, **study_columns(study)}}
    for attribute in _STUDY:
        for family, key in _found_under(attribute, folded_values(values, attribute)):
            rows[keys.search_row(family, key, time, study.uid)] = columns
    return rows


def series_search_rows(study: Study, series: Series) -> dict[str, Columns]:
    """Every search row of a series, RowKey to columns. They have no columns of their own: a series is one row more."""
    time = keys.newest_first(study.created, series.created)
    return {
        keys.search_row(family, key, time, study.uid, series.uid): {}
        for attribute in _SERIES
        for family, key in _found_under(attribute, folded_values(series_values(series), attribute))
    }


def instance_search_rows(study: Study, series: Series, key: InstanceKey) -> dict[str, Columns]:
    """The search row of an instance; by its UID only, so it stays the same when the instance is replaced."""
    time = keys.newest_first(study.created, series.created)
    return {
        keys.search_row(attribute.tag, key.instance, time, key.study, key.series, key.instance): {}
        for attribute in _INSTANCE
    }


def _found_under(attribute: SearchAttribute, values: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The families and keys that one attribute's folded values are found under."""
    for value in values:
        forms = name_forms(value)[:MAX_NAME_FORMS] if attribute.vr == "PN" else (value,)
        for form in forms:
            if (key := search_key(attribute, form)) is not None:
                yield attribute.tag, key
        if attribute.vr == "PN":
            for run in word_runs(value)[:MAX_WORD_RUNS]:
                yield word_family(attribute), keys.escape(run)
