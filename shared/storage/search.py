"""Searching the index: from conditions to studies, series and instances, newest first.

Facts:
- The cost of a search grows with its answer, not with the archive. The exception are patterns that begin with a
  wildcard: they are matched along the newest-first list of studies until the page is full or `scan_limit` rows did not
  match; then the answer is `cut`.
- Series and instances are found by going down from their studies: newest study first, in it newest series first, in it
  newest instance first. A search that asks nothing of studies, or names a series or instance by its UID, starts from
  the search rows of those instead.
- A range of StudyDate or PerformedProcedureStepStartDate is answered latest date first, everything else in order of
  creation, latest first; PS3.18 §10.6.3 leaves the order open.
- What a search row names may be gone a moment later; such a hit is left out.

Left out: which key ranges are read (search_plan.py), reading and merging them (search_read.py).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from shared.dicom.attributes import (
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from shared.dicom.matching import Exact, Predicate, folded_values, satisfies
from shared.model import InstanceKey, JsonDataSet, Level, Scope, Series, StoredInstance, Study
from shared.storage import keys
from shared.storage.index import Index
from shared.storage.parallel import PARALLEL_CALLS, in_parallel
from shared.storage.rows import study_of
from shared.storage.search_plan import ALL_STUDIES, driver_at
from shared.storage.search_read import SearchReader
from shared.storage.search_rows import search_values, series_values
from shared.storage.table import IndexTable, Row


@dataclass(frozen=True, slots=True)
class Hit:
    """One match: a study, with a series of it and an instance of that as deep as the search goes."""

    study: Study
    series: Series | None = None
    instance: StoredInstance | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The matches of one page, in order. `cut`: rows that might match were left unread."""

    hits: tuple[Hit, ...]
    cut: bool


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is searched for: entities of `level`, below `scope` if there is one, that satisfy all `predicates`."""

    level: Level
    scope: Scope | None
    predicates: tuple[Predicate, ...]
    offset: int
    limit: int

    def at(self, level: Level) -> list[Predicate]:
        """The conditions on attributes of a level."""
        return [each for each in self.predicates if each.attribute.level is level]

    @property
    def end(self) -> int:
        """How many matches the page reaches to."""
        return self.offset + self.limit


async def search(table: IndexTable, index: Index, request: SearchRequest, *, scan_limit: int) -> Found:
    """The page of matches that a request asks for. Raises Unavailable when the index cannot be read.

    Instances bring their metadata, unless that lies in a sidecar blob.
    """
    if request.scope is None:
        partitions = await index.partitions()
    else:
        partitions = [await index.partition_of(request.scope.study)]
    reader = SearchReader(table, partitions, scan_limit)
    descent = _Descent(index, reader, request, scan_limit)
    hits: list[Hit] = []
    position = 0
    async with aclosing(descent.matches()) as matches:
        async for hit in matches:
            position += 1
            if position > request.offset:
                hits.append(hit)
            if position >= request.end:
                break
    return Found(tuple(hits), reader.cut)


class _Descent:
    """One search on its way down the levels."""

    def __init__(self, index: Index, reader: SearchReader, request: SearchRequest, scan_limit: int) -> None:
        self._index = index
        self._reader = reader
        self._request = request
        self._scan_limit = scan_limit
        # At the level that is asked for the page says how many are enough; above it, nothing does.
        self._missed = 0
        self._wanted = {level: request.end if level is request.level else None for level in Level}

    async def matches(self) -> AsyncGenerator[Hit]:
        """All matches, in order."""
        levels = {Level.STUDY: self._studies, Level.SERIES: self._series, Level.INSTANCE: self._instances}
        async with aclosing(levels[self._request.level]()) as hits:
            async for hit in hits:
                yield hit

    def _starts_at(self, level: Level) -> bool:
        """Whether the search starts from search rows of this level rather than from the studies above."""
        if _uids(self._request.at(level), _UID_OF[level]) is not None:
            return True
        above = any(self._request.at(each) for each in Level if each < level)
        return self._request.scope is None and not above and driver_at(level, self._request.at(level)) is not None

    async def _studies(self) -> AsyncGenerator[Hit]:
        predicates = self._request.at(Level.STUDY)
        scope = self._request.scope
        uids = [scope.study] if scope else _uids(predicates, STUDY_INSTANCE_UID)
        if uids is not None:
            found = [each for each in await in_parallel(self._index.get_study, uids) if each is not None]
            for study in sorted(found, key=lambda each: (-each.created, each.uid)):
                if _satisfied(predicates, search_values(study)):
                    yield Hit(study)
            return
        driver = driver_at(Level.STUDY, predicates)
        wanted = self._wanted[Level.STUDY]
        async with aclosing(self._reader.rows(driver or ALL_STUDIES, predicates, wanted)) as rows:
            if driver is None:  # rows of the list hold the whole study
                async for row in rows:
                    yield Hit(study_of(_uids_in(row)[0], row.columns))
                return
            async for chunk in _chunks(rows):
                for found_study in await in_parallel(self._index.get_study, [_uids_in(row)[0] for row in chunk]):
                    if found_study is not None:
                        yield Hit(found_study)

    async def _series(self) -> AsyncGenerator[Hit]:
        predicates = self._request.at(Level.SERIES)
        scope = self._request.scope
        if scope is not None and scope.series is not None:
            sources = self._named_series([(scope.study, scope.series)])
        elif scope is not None and (uids := _uids(predicates, SERIES_INSTANCE_UID)) is not None:
            sources = self._named_series([(scope.study, uid) for uid in uids])
        elif self._starts_at(Level.SERIES):
            sources = self._series_by_rows(predicates)
        else:
            sources = self._series_of_studies()
        studies = self._request.at(Level.STUDY)
        async with aclosing(sources) as hits:
            async for hit in hits:
                assert hit.series is not None
                if _satisfied(predicates, series_values(hit.series)) and _satisfied(studies, search_values(hit.study)):
                    yield hit
                    continue
                self._missed += 1
                if self._missed >= self._scan_limit:
                    self._reader.cut = True
                    return

    async def _series_by_rows(self, predicates: Sequence[Predicate]) -> AsyncGenerator[Hit]:
        driver = driver_at(Level.SERIES, predicates)
        assert driver is not None
        async with aclosing(self._reader.rows(driver, [], None)) as rows:
            async for chunk in _chunks(rows):
                async for hit in self._named_series([_uids_in(row)[:2] for row in chunk]):
                    yield hit

    async def _named_series(self, names: Sequence[Sequence[str]]) -> AsyncGenerator[Hit]:
        for hit in await in_parallel(self._parents_of, names):
            if hit is not None:
                yield hit

    async def _parents_of(self, uids: Sequence[str]) -> Hit | None:
        """The study and series that the first two of some UIDs name."""
        study, series = await asyncio.gather(self._index.get_study(uids[0]), self._index.get_series(uids[0], uids[1]))
        return Hit(study, series) if study is not None and series is not None else None

    async def _series_of_studies(self) -> AsyncGenerator[Hit]:
        async with aclosing(self._studies()) as studies:
            async for chunk in _chunks(studies):
                all_series = await in_parallel(self._index.list_series, [hit.study.uid for hit in chunk])
                for hit, found in zip(chunk, all_series, strict=True):
                    for series in sorted(found, key=lambda each: (-each.created, each.uid)):
                        yield Hit(hit.study, series)

    async def _instances(self) -> AsyncGenerator[Hit]:
        predicates = self._request.at(Level.INSTANCE)
        sources = self._instances_by_rows(predicates) if predicates else self._instances_of_series()
        async with aclosing(sources) as hits:
            async for hit in hits:
                yield hit

    async def _instances_by_rows(self, predicates: Sequence[Predicate]) -> AsyncGenerator[Hit]:
        """Instances by their UIDs, the only attribute of theirs that can be searched."""
        scope = self._request.scope
        series_predicates, study_predicates = self._request.at(Level.SERIES), self._request.at(Level.STUDY)
        driver = driver_at(Level.INSTANCE, predicates)
        assert driver is not None
        async with aclosing(self._reader.rows(driver, [], None)) as rows:
            async for chunk in _chunks(rows):
                named = [_uids_in(row) for row in chunk if _within(scope, _uids_in(row))]
                parents = await in_parallel(self._parents_of, named)
                instances = await in_parallel(self._with_metadata, [InstanceKey(*uids) for uids in named])
                for hit, instance in zip(parents, instances, strict=True):
                    if (
                        instance is not None
                        and _names_instance(predicates, instance.key)
                        and hit is not None
                        and hit.series is not None
                        and _satisfied(series_predicates, series_values(hit.series))
                        and _satisfied(study_predicates, search_values(hit.study))
                    ):
                        yield Hit(hit.study, hit.series, instance)

    async def _instances_of_series(self) -> AsyncGenerator[Hit]:
        skipped = 0
        async with aclosing(self._series()) as parents:
            async for hit in parents:
                assert hit.series is not None
                if skipped + hit.series.instances <= self._request.offset:
                    # The whole series lies before the page, and its row says how many that are. Instead of reading
                    # them they are passed over as so many equal hits.
                    skipped += hit.series.instances
                    for _ in range(hit.series.instances):
                        yield hit
                    continue
                first = max(0, self._request.offset - skipped)
                for instance in await self._newest_instances(hit.series, first, self._request.end - skipped):
                    skipped += 1
                    yield Hit(hit.study, hit.series, instance)

    async def _newest_instances(self, series: Series, first: int, wanted: int) -> list[StoredInstance]:
        """The newest instances of a series, at most `wanted`, with their metadata from the one at `first` on."""
        # Where most are wanted one listing brings all; where few are, their metadata is read row by row.
        columns = ("metadata",) if series.instances <= 2 * (wanted - first) else ()
        found: list[StoredInstance] = []
        async for page in self._index.list_instances(series.study, series.uid, columns):
            found += page
            found.sort(key=lambda each: (-each.created, each.key))
            del found[wanted:]
        if columns:
            return found
        whole = await in_parallel(self._with_metadata, [each.key for each in found[first:]])
        return found[:first] + [each for each in whole if each is not None]

    async def _with_metadata(self, key: InstanceKey) -> StoredInstance | None:
        return await self._index.get_instance(key, ("metadata",))


#: The attribute that names an entity of each level.
_UID_OF = {Level.STUDY: STUDY_INSTANCE_UID, Level.SERIES: SERIES_INSTANCE_UID, Level.INSTANCE: SOP_INSTANCE_UID}


def _uids(predicates: Iterable[Predicate], tag: str) -> list[str] | None:
    """The UIDs that conditions ask for by value; None when there is no such condition."""
    for predicate in predicates:
        if predicate.attribute.tag == tag and isinstance(predicate.test, Exact):
            return list(dict.fromkeys(predicate.test.values))
    return None


def _names_instance(predicates: Iterable[Predicate], key: InstanceKey) -> bool:
    """Whether conditions on instances, which can only be on their UIDs, are satisfied by a key."""
    return all(satisfies(each.test, each.attribute, (key.instance,)) for each in predicates)


def _uids_in(row: Row) -> tuple[str, ...]:
    return keys.key_of_search_row(row.key).uids


def _within(scope: Scope | None, uids: Sequence[str]) -> bool:
    return scope is None or (scope.study == uids[0] and scope.series in (None, uids[1]))


def _satisfied(predicates: Iterable[Predicate], attributes: JsonDataSet) -> bool:
    return all(satisfies(each.test, each.attribute, folded_values(attributes, each.attribute)) for each in predicates)


async def _chunks[T](items: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    """Items in lists that grow from one to `PARALLEL_CALLS`: the first is not kept waiting, the rest go together."""
    chunk: list[T] = []
    size = 1
    async for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk, size = [], min(2 * size, PARALLEL_CALLS)
    if chunk:
        yield chunk
