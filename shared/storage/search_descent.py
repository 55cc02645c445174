"""Going down the levels: from the conditions of a search to matches, in the order of the answer.

Facts:
- The cost of a search grows with its answer, not with the archive. Where so many studies match each condition that no
  range of rows is narrow (search_plan.py), they are compared newest first until the page is full or `scan_limit` rows
  did not match; then the answer is `cut`.
- Series and instances are found by going down from their studies: newest study first, in it newest series first, in it
  newest instance first. A search that asks nothing of studies, or names a series or instance by its UID, starts from
  the search rows of those instead.
- SOPClassUID and InstanceNumber are compared with the rows of instances. Only series that have, or had, instances of
  the class are looked into; InstanceNumber alone looks into one series after the other, up to the same limit.
- A range of StudyDate or PerformedProcedureStepStartDate is answered latest date first, everything else in order of
  creation, latest first; PS3.18 §10.6.3 leaves the order open.
- Where rows come in the order of the answer, reading starts at the cursor; candidates are all read for each page.
- What a search row names may be gone a moment later; such a hit is left out.

Left out: which key ranges are read (search_plan.py), reading and merging them (search_read.py).
"""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

from shared.dicom.attributes import (
    INSTANCE_NUMBER,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    SearchAttribute,
)
from shared.dicom.matching import Exact, Predicate, Range, folded_values, satisfies
from shared.model import InstanceKey, JsonDataSet, Level, Scope, StoredInstance
from shared.storage import keys
from shared.storage.index import Index
from shared.storage.keys import KeyRange
from shared.storage.parallel import PARALLEL_CALLS, in_parallel
from shared.storage.rows import study_of
from shared.storage.search_order import (
    Hit,
    Order,
    Place,
    by_names,
    by_series,
    by_studies,
    date_key,
    order_of,
    row_order,
)
from shared.storage.search_plan import ALL_STUDIES, Driver, SearchPlan, plan_at
from shared.storage.search_read import SearchReader
from shared.storage.search_request import SearchRequest
from shared.storage.search_rows import search_values, series_values
from shared.storage.table import Row


class Descent:
    """One search on its way down the levels."""

    def __init__(self, index: Index, reader: SearchReader, request: SearchRequest, scan_limit: int) -> None:
        self._index = index
        self._reader = reader
        self._request = request
        self._scan_limit = scan_limit
        self._missed = 0
        # At the level that is asked for the page says how many are enough; above it, nothing does. One more tells
        # whether there are more; after a cursor the match that it names comes along.
        enough = request.end + (1 if request.after is None else 2)
        self._wanted = {level: enough if level is request.level else None for level in Level}
        #: What the matches are sorted by; known when the first comes.
        self.order = Order(by_studies)
        #: The rows of which each is one match, if there are such; known when the first comes.
        self.counted: KeyRange | None = None

    async def matches(self) -> AsyncGenerator[Hit]:
        """All matches behind the cursor, in order."""
        levels = {Level.STUDY: self._studies, Level.SERIES: self._series, Level.INSTANCE: self._instances}
        after = self._request.after
        async with aclosing(levels[self._request.level]()) as hits:
            async for hit in hits:
                if after is None or self._place(hit) > self.order.place(after):
                    yield hit

    def _place(self, hit: Hit) -> Place:
        return self.order.place(self.order.position(hit))

    def _start(self, level: Level) -> tuple[str, str] | None:
        """The date and the order at which the search rows of a level need to be read from."""
        after = self._request.after
        return None if after is None else (after.date, order_of(level, after))

    def _count_by(self, level: Level, plan: SearchPlan, driver: Driver | None) -> None:
        """Remember the rows to count, if the search is for just what they stand for."""
        if level is not self._request.level or driver is None or len(driver.ranges) != 1:
            return
        match [each.test for each in self._request.predicates]:
            case []:
                self.counted = ALL_STUDIES.ranges[0] if driver is ALL_STUDIES else None
            # A long value shares its key with others.
            case [Exact((value,))] if driver is plan.stream and len(value) < keys.MAX_KEY_TEXT:
                self.counted = driver.ranges[0]
            case [Range()] if driver is plan.stream:
                self.counted = driver.ranges[0]

    def _starts_at(self, level: Level) -> bool:
        """Whether the search starts from search rows of this level rather than from the studies above."""
        if _uids(self._request.at(level), _UID_OF[level]) is not None:
            return True
        above = any(self._request.at(each) for each in Level if each < level)
        return self._request.scope is None and not above and not plan_at(level, self._request.at(level)).is_empty

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
        plan = plan_at(Level.STUDY, predicates)
        self.order = Order(by_studies, plan.dates)
        start = self._start(Level.STUDY)
        candidates = await self._reader.candidates(plan)
        if candidates is not None:
            studies = self._candidate_studies(_from(candidates, start, plan.dates), predicates)
            async with aclosing(_by_dates(studies, plan.dates)) as hits:
                async for hit in hits:
                    yield hit
            return
        driver = await self._reader.stream(plan)
        wanted = self._wanted[Level.STUDY]
        self._count_by(Level.STUDY, plan, driver or ALL_STUDIES)
        async with aclosing(self._reader.rows(driver or ALL_STUDIES, predicates, wanted, start)) as rows:
            if driver is None:  # rows of the list hold the whole study
                async for row in rows:
                    yield Hit(study_of(_uids_in(row)[0], row.columns))
                return
            async for chunk in _chunks(rows):
                for found_study in await in_parallel(self._index.get_study, [_uids_in(row)[0] for row in chunk]):
                    if found_study is not None:
                        yield Hit(found_study)

    async def _candidate_studies(
        self, candidates: Sequence[str], predicates: Sequence[Predicate]
    ) -> AsyncGenerator[Hit]:
        """Those of the candidates that satisfy the conditions, in their order."""
        async for chunk in _chunks(_each(candidates)):
            uids = [keys.uids_of_order(order)[0] for order in chunk]
            for order, study in zip(chunk, await in_parallel(self._index.get_study, uids), strict=True):
                # One that was deleted and stored again is found under both orders for a while.
                if study is None or order != row_order(study):
                    continue
                if _satisfied(predicates, search_values(study)):
                    yield Hit(study)

    async def _series(self) -> AsyncGenerator[Hit]:
        predicates = self._request.at(Level.SERIES)
        scope = self._request.scope
        if scope is not None and scope.series is not None:
            sources = self._named_series([(scope.study, scope.series)])
        elif scope is not None and (uids := _uids(predicates, SERIES_INSTANCE_UID)) is not None:
            sources = self._sorted_series([(scope.study, uid) for uid in uids])
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
        plan = plan_at(Level.SERIES, predicates)
        start = self._start(Level.SERIES)
        candidates = await self._reader.candidates(plan)
        driver = None if candidates is not None else await self._reader.stream(plan)
        if candidates is not None:
            self.order = Order(by_series, plan.dates)
            found = _by_dates(self._candidate_series(_from(candidates, start, plan.dates)), plan.dates)
        elif driver is not None:
            self.order = Order(by_series, driver.dates)
            self._count_by(Level.SERIES, plan, driver)
            found = self._series_in(self._reader.rows(driver, [], None, start))
        else:
            found = self._series_of_studies()
        async with aclosing(found) as hits:
            async for hit in hits:
                yield hit

    async def _candidate_series(self, candidates: Sequence[str]) -> AsyncGenerator[Hit]:
        async for chunk in _chunks(_each(candidates)):
            hits = await in_parallel(self._parents_of, [keys.uids_of_order(order) for order in chunk])
            for order, hit in zip(chunk, hits, strict=True):
                if hit is not None and order == row_order(hit.study, hit.series):
                    yield hit

    async def _series_in(self, rows: AsyncGenerator[Row]) -> AsyncGenerator[Hit]:
        async with aclosing(rows):
            async for chunk in _chunks(rows):
                async for hit in self._named_series([_uids_in(row)[:2] for row in chunk]):
                    yield hit

    async def _named_series(self, names: Sequence[Sequence[str]]) -> AsyncGenerator[Hit]:
        for hit in await in_parallel(self._parents_of, names):
            if hit is not None:
                yield hit

    async def _sorted_series(self, names: Sequence[Sequence[str]]) -> AsyncGenerator[Hit]:
        hits = [hit for hit in await in_parallel(self._parents_of, names) if hit is not None]
        for hit in sorted(hits, key=self._place):
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

    def _instances(self) -> AsyncGenerator[Hit]:
        by_uid = _uids(self._request.at(Level.INSTANCE), SOP_INSTANCE_UID) is not None
        return self._instances_by_rows() if by_uid else self._instances_of_series()

    async def _instances_by_rows(self) -> AsyncGenerator[Hit]:
        """Instances by their UIDs."""
        request = self._request
        driver = plan_at(Level.INSTANCE, request.at(Level.INSTANCE)).stream
        assert driver is not None
        self.order = Order(by_names)
        async with aclosing(self._reader.rows(driver, [], None, self._start(Level.INSTANCE))) as rows:
            async for chunk in _chunks(rows):
                named = [_uids_in(row) for row in chunk if _within(request.scope, _uids_in(row))]
                parents = await in_parallel(self._parents_of, named)
                instances = await in_parallel(self._with_metadata, [InstanceKey(*uids) for uids in named])
                for hit, instance in zip(parents, instances, strict=True):
                    if (
                        instance is not None
                        and _instance_satisfies(request.at(Level.INSTANCE), instance)
                        and hit is not None
                        and hit.series is not None
                        and _satisfied(request.at(Level.SERIES), series_values(hit.series))
                        and _satisfied(request.at(Level.STUDY), search_values(hit.study))
                    ):
                        yield Hit(hit.study, hit.series, instance)

    async def _instances_of_series(self) -> AsyncGenerator[Hit]:
        request = self._request
        filtered = bool(request.at(Level.INSTANCE))
        passed = 0
        async with aclosing(self._series()) as parents:
            async for hit in parents:
                assert hit.series is not None
                if self._is_passed(hit):
                    continue
                whole = not filtered and self._cursor_in(hit) is None
                if whole and passed + hit.series.instances <= request.offset:
                    # The whole series lies before the page, and its row says how many that are. Instead of reading
                    # them they are passed over as so many equal hits.
                    passed += hit.series.instances
                    for _ in range(hit.series.instances):
                        yield hit
                    continue
                if whole and passed >= request.end:
                    yield hit  # there is more, which is all that is asked of it
                    return
                for instance in await self._newest_instances(hit, passed):
                    passed += 1
                    yield Hit(hit.study, hit.series, instance)
                if self._missed >= self._scan_limit:
                    self._reader.cut = True
                    return

    def _is_passed(self, hit: Hit) -> bool:
        """Whether a whole series lies before the cursor."""
        after = self._request.after
        return after is not None and self._place(hit) < self.order.place(replace(after, instance=None))

    def _cursor_in(self, hit: Hit) -> tuple[int, str] | None:
        """The instance of a series that the cursor names, as `_age` has it."""
        after = self._request.after
        if after is None or after.instance is None or hit.series is None:
            return None
        created, uid = after.instance
        same = (after.study[1], after.series and after.series[1]) == (hit.study.uid, hit.series.uid)
        return (-created, uid) if same else None

    async def _newest_instances(self, hit: Hit, passed: int) -> list[StoredInstance]:
        """Instances of a series that match, newest first, as many as the page needs after `passed` and one more.

        Those of the page bring their metadata.
        """
        assert hit.series is not None
        request = self._request
        predicates, cursor = request.at(Level.INSTANCE), self._cursor_in(hit)
        first, wanted = max(0, request.offset - passed), max(0, request.end - passed)
        # Where most are wanted one listing brings all; where few are, their metadata is read row by row.
        together = not predicates and cursor is None and hit.series.instances <= 2 * (wanted - first)
        columns = ("metadata",) if together else ()
        found: list[StoredInstance] = []
        async for page in self._index.list_instances(hit.study.uid, hit.series.uid, columns):
            matching = [each for each in page if _instance_satisfies(predicates, each)]
            self._missed += len(page) - len(matching)
            found += [each for each in matching if cursor is None or _age(each) > cursor]
            found.sort(key=_age)
            del found[wanted + 1 :]
        if columns:
            return found
        whole = await in_parallel(self._with_metadata, [each.key for each in found[first:wanted]])
        return found[:first] + [each for each in whole if each is not None] + found[wanted:]

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


def _instance_satisfies(predicates: Iterable[Predicate], instance: StoredInstance) -> bool:
    values = {
        SOP_INSTANCE_UID: instance.key.instance,
        SOP_CLASS_UID: instance.sop_class,
        INSTANCE_NUMBER: instance.number,
    }
    return all(satisfies(each.test, each.attribute, (values[each.attribute.tag],)) for each in predicates)


def _age(instance: StoredInstance) -> tuple[int, str]:
    return (-instance.created, instance.key.instance)


def _from(candidates: Sequence[str], start: tuple[str, str] | None, dates: SearchAttribute | None) -> Sequence[str]:
    """Those of the candidates that a cursor leaves, as far as their order tells."""
    return candidates if start is None or dates else candidates[bisect_left(candidates, start[1]) :]


def _uids_in(row: Row) -> tuple[str, ...]:
    return keys.key_of_search_row(row.key).uids


def _within(scope: Scope | None, uids: Sequence[str]) -> bool:
    return scope is None or (scope.study == uids[0] and scope.series in (None, uids[1]))


def _satisfied(predicates: Iterable[Predicate], attributes: JsonDataSet) -> bool:
    return all(satisfies(each.test, each.attribute, folded_values(attributes, each.attribute)) for each in predicates)


async def _by_dates(hits: AsyncGenerator[Hit], dates: SearchAttribute | None) -> AsyncGenerator[Hit]:
    """Hits with the latest dates of an attribute first, in their order within a date; as they come without one."""
    async with aclosing(hits):
        if dates is None:
            async for hit in hits:
                yield hit
            return
        for hit in sorted([hit async for hit in hits], key=lambda hit: date_key(hit, dates)):
            yield hit


async def _each[T](items: Iterable[T]) -> AsyncGenerator[T]:
    for item in items:
        yield item


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
