"""The order of an answer: what a match is, where it stands, and which of two comes first.

Facts:
- The newest study comes first, in it the newest series, in it the newest instance; of equally old ones the one with the
  lower UID. Two ways to find matches differ in what they make of studies that were created in the same microsecond,
  which two processes can do, and search rows of instances know no more than their UIDs.
- The place of a match depends on nothing but when it and its parents were created, and the date that comes before that
  in an answer sorted by date. So a cursor that names a place stays right whatever is stored or deleted meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shared.dicom.attributes import SearchAttribute
from shared.dicom.matching import folded_values
from shared.model import Level, Position, Series, StoredInstance, Study
from shared.storage import keys
from shared.storage.search_rows import search_key, search_values, series_values


@dataclass(frozen=True, slots=True)
class Hit:
    """One match: a study, with a series of it and an instance of that as deep as the search goes."""

    study: Study
    series: Series | None = None
    instance: StoredInstance | None = None


#: Compares like the places of matches; the first element is the date.
type Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What the matches of one search are sorted by, and by the dates of which attribute before that."""

    place: Callable[[Position], Place]
    dates: SearchAttribute | None = None

    def position(self, hit: Hit) -> Position:
        """Where a match stands."""
        return Position(
            date_key(hit, self.dates) if self.dates else "",
            (hit.study.created, hit.study.uid),
            (hit.series.created, hit.series.uid) if hit.series else None,
            (hit.instance.created, hit.instance.key.instance) if hit.instance else None,
        )


def by_studies(position: Position) -> Place:
    """The order of those who go down from the studies."""
    place: Place = (position.date,)
    for level in (position.study, position.series, position.instance):
        if level is not None:
            place += (-level[0], level[1])
    return place


def by_series(position: Position) -> Place:
    """The order of the search rows of series, and of instances below each."""
    assert position.series is not None
    (study_created, study), (series_created, series) = position.study, position.series
    place: Place = (position.date, -study_created, -series_created, study, series)
    return place if position.instance is None else (*place, -position.instance[0], position.instance[1])


def by_names(position: Position) -> Place:
    """The order of the search rows of instances."""
    assert position.series is not None and position.instance is not None
    (study_created, study), (series_created, series) = position.study, position.series
    return (position.date, -study_created, -series_created, study, series, position.instance[1])


def order_of(level: Level, position: Position) -> str:
    """What the search rows of a level would be sorted by at a position."""
    entities = [each for each in (position.study, position.series, position.instance)[:level] if each is not None]
    time = keys.newest_first(*(created for created, _ in entities[: Level.SERIES]))
    return keys.search_order(time, *(uid for _, uid in entities))


def row_order(study: Study, series: Series | None = None) -> str:
    """What a study or series is sorted by in search rows."""
    if series is None:
        return keys.search_order(keys.newest_first(study.created), study.uid)
    return keys.search_order(keys.newest_first(study.created, series.created), study.uid, series.uid)


def date_key(hit: Hit, dates: SearchAttribute) -> str:
    """A date of a match as a key that sorts the latest first; empty for one that has none."""
    if dates.level is Level.SERIES and hit.series is not None:
        values = series_values(hit.series)
    else:
        values = search_values(hit.study)
    folded = folded_values(values, dates)
    return (search_key(dates, folded[0]) if folded else None) or ""
