"""Which search rows a study and its series have: a pure function of what their own rows hold.

A commit computes these rows before and after the change and writes the difference, in the same transaction. So search
rows can neither be forgotten nor go stale: there is no second description of them anywhere.

A study's rows repeat its searchable attributes, folded, in columns, so that the table itself can apply the other
conditions of a search; the row of the newest-first list holds the whole answer as well.

What patterns find inside texts is found in one of two ways:

    text rows    texts of which each study has its own: names, numbers, descriptions (texts.py)
    vocabulary   texts of which an archive has few, however many series: a row for each value, in each bucket. A pattern
                 is compared with all of them, and the series are found by the values that match

Text rows are no part of the commit's transaction, but the texts they are made of are computed here.
"""

from collections.abc import Iterable, Iterator

from shared.dicom.attributes import (
    CLASSES_IN_SERIES,
    MODALITIES_IN_STUDY,
    MODALITY,
    SEARCHABLE,
    SEARCHABLE_BY_TAG,
    SERIES_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    TIMEZONE_OFFSET_FROM_UTC,
    SearchAttribute,
)
from shared.dicom.matching import folded_values, moments_of, name_forms
from shared.model import InstanceKey, JsonDataSet, Level, Series, Study
from shared.storage import keys
from shared.storage.rows import study_columns
from shared.storage.table import Column, Columns
from shared.storage.texts import Texts, texts_of

#: Modalities of one study that can be searched for, the first by name; bounds the rows of a study of hostile series.
MAX_MODALITIES = 16

#: The whole name and its three component groups (PS3.5 §6.2.1); bounds the rows of a study with a hostile name.
MAX_NAME_FORMS = 4

_STUDY = tuple(a for a in SEARCHABLE if a.level is Level.STUDY and a.indexed and a.tag != STUDY_INSTANCE_UID)
_SERIES = (*(a for a in SEARCHABLE if a.level is Level.SERIES and a.indexed), CLASSES_IN_SERIES)
_INSTANCE = tuple(a for a in SEARCHABLE if a.level is Level.INSTANCE and a.indexed)


#: Not searched for, but moments of other zones are compared with its help.
_ZONE = SearchAttribute(TIMEZONE_OFFSET_FROM_UTC, "TimezoneOffsetFromUTC", "SH", Level.STUDY, indexed=False)

#: VRs of texts that patterns match (PS3.4 §C.2.2.2.4).
_TEXT_VRS = frozenset("AE CS LO LT PN SH ST UC UT".split())

MANUFACTURER_MODEL_NAME = "00081090"

#: Attributes that have a vocabulary, and whose values it holds. Modalities of studies are those of their series.
VOCABULARY = {
    MODALITY: MODALITY,
    MODALITIES_IN_STUDY: MODALITY,
    MANUFACTURER_MODEL_NAME: MANUFACTURER_MODEL_NAME,
}


def has_text_rows(attribute: SearchAttribute) -> bool:
    """Whether an attribute's texts are found by text rows."""
    return attribute.vr in _TEXT_VRS and attribute.tag not in VOCABULARY


def search_key(attribute: SearchAttribute, folded: str) -> str | None:
    """The key piece of a folded value; None for a date that is none and so cannot be found."""
    if attribute.vr == "DA":
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
        for attribute in (*_STUDY, _ZONE)
        if (folded := folded_values(values, attribute)) and len("\\".join(folded)) <= 4096
    }


def column_names(attribute: SearchAttribute) -> tuple[str, ...]:
    """The columns that hold the values of an attribute."""
    if attribute.parts:
        return (*(SEARCHABLE_BY_TAG[tag].keyword for tag in attribute.parts), _ZONE.keyword)
    return (attribute.keyword,)


def values_in_columns(columns: Columns, attribute: SearchAttribute) -> tuple[str, ...]:
    """The folded values of one attribute as `search_columns` wrote them; of a moment, put together of them."""
    if attribute.parts:
        date, time, zone = (str(columns.get(name) or "") for name in column_names(attribute))
        return moments_of(date, time, zone, attribute.zone)
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


def study_texts(study: Study) -> frozenset[Texts]:
    """The texts of a study that have text rows."""
    time = keys.newest_first(study.created)
    return _texts(_STUDY, search_values(study), time, (study.uid,))


def series_texts(study: Study, series: Series) -> frozenset[Texts]:
    """The texts of a series that have text rows."""
    time = keys.newest_first(study.created, series.created)
    return _texts(_SERIES, series_values(series), time, (study.uid, series.uid))


def _texts(
    attributes: Iterable[SearchAttribute], values: JsonDataSet, time: str, uids: tuple[str, ...]
) -> frozenset[Texts]:
    return frozenset(
        texts_of(attribute, folded, time, uids)
        for attribute in attributes
        if has_text_rows(attribute) and (folded := folded_values(values, attribute))
    )


def vocabulary_rows(series: Series) -> dict[str, Columns]:
    """What a series adds to the vocabularies, RowKey to columns. Nobody removes it: a value too many does no harm."""
    values = series_values(series)
    return {
        keys.vocabulary_row(attribute.tag, keys.escape(value)): {"value": value[: keys.MAX_KEY_TEXT]}
        for attribute in _SERIES
        if attribute.tag in VOCABULARY
        for value in folded_values(values, attribute)
    }


def _found_under(attribute: SearchAttribute, values: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The families and keys that one attribute's folded values are found under."""
    for value in values:
        forms = name_forms(value)[:MAX_NAME_FORMS] if attribute.vr == "PN" else (value,)
        for form in forms:
            if (key := search_key(attribute, form)) is not None:
                yield attribute.tag, key
