"""Reading search rows: the key ranges of a plan, in every bucket at once, newest first.

Memory is bounded: a stream holds one page of rows per range and bucket, of what is narrow the keys of at most
`CANDIDATES` rows are held, per condition.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from itertools import batched

from shared.dicom.matching import Predicate, satisfies
from shared.storage import keys
from shared.storage.keys import KeyRange
from shared.storage.parallel import PARALLEL_CALLS, in_parallel
from shared.storage.search_plan import ALL_STUDIES, Driver, Narrow, SearchPlan, equal_to, pushed_down
from shared.storage.search_rows import VOCABULARY, column_names, values_in_columns
from shared.storage.table import IndexTable, Row
from shared.storage.text_writer import BACKLOG_PAGE
from shared.storage.texts import Texts, added_texts

#: Rows the table returns in one call at most.
FULL_PAGE = 1000
#: Rows of one condition, in all buckets together, up to which it is narrow. Reading them takes some calls; where more
#: match, so many of the newest studies do that reading those is no worse.
CANDIDATES = 4000
#: Candidates of which each is better looked at than compared with those of another condition.
FEW = PARALLEL_CALLS
#: Values of a vocabulary that are compared with a pattern, in all buckets together, and those of them searched for.
VOCABULARY_READ, VOCABULARY_FOUND = 4000, 100
#: Studies whose text rows are not all written yet that a search looks at.
BACKLOGS = 1000


class SearchReader:
    """Reads the search rows of some partitions for one search.

    `cut` becomes true when rows that might match were left unread, after `scan_limit` rows that did not match.
    """

    def __init__(self, table: IndexTable, partitions: Sequence[str], scan_limit: int) -> None:
        self._table = table
        self._partitions = partitions
        self._scan_limit = scan_limit
        self._missed = 0
        self.cut = False

    async def candidates(self, plan: SearchPlan) -> list[str] | None:
        """The order (`keys.search_order`) of all that may satisfy the conditions of a plan; None if that is too much.

        What is named may be gone, and each has to be compared with all conditions: text rows outlive their texts.
        """
        if not plan.narrow:
            return None
        # Before the text rows, never after: a backlog goes when they are complete.
        backlog = await self._backlog() if any(each.texts_of for each in plan.narrow) else []
        if backlog is None:
            return None
        found: set[str] | None = None
        for narrow in plan.narrow:
            read = await self._orders(narrow)
            if read is None:
                continue
            read |= {texts.order for texts in backlog if texts.tag == narrow.texts_of}
            found = read if found is None else found & read
            if len(found) <= FEW:
                break
        return None if found is None else sorted(found)

    async def stream(self, plan: SearchPlan) -> Driver | None:
        """The stream of a plan, or that of the values its vocabulary condition matches; None if there is neither."""
        if plan.stream is not None or plan.vocabulary is None:
            return plan.stream
        attribute, test = plan.vocabulary.attribute, plan.vocabulary.test
        rows = await self._read_whole(keys.vocabulary_rows(VOCABULARY[attribute.tag]), "value", VOCABULARY_READ)
        if rows is None:
            return None
        # Of a long value only the beginning is there: it may match.
        found = {
            keys.key_of_vocabulary_row(row.key)
            for row in rows
            if len(row.columns["value"]) >= keys.MAX_KEY_TEXT or satisfies(test, attribute, (row.columns["value"],))
        }
        return equal_to(attribute, sorted(found)) if len(found) <= VOCABULARY_FOUND else None

    async def _orders(self, narrow: Narrow) -> set[str] | None:
        """What the entities of a narrow range are sorted by; None if it is not narrow."""
        rows = await self._read_whole(narrow.range, "PartitionKey", CANDIDATES)
        return None if rows is None else {keys.key_of_search_row(row.key).order for row in rows}

    async def _backlog(self) -> list[Texts] | None:
        """The texts whose rows may be missing; None if there are too many."""
        rows = await self._read_whole(keys.backlog_rows(), "add", BACKLOGS, page_size=BACKLOG_PAGE)
        return None if rows is None else [texts for row in rows for texts in added_texts(row.columns)]

    async def _read_whole(
        self, key_range: KeyRange, column: str, limit: int, page_size: int = FULL_PAGE
    ) -> list[Row] | None:
        """All rows of a range in all buckets, with one of their columns; None if there are more than a limit."""
        found: list[Row] = []

        async def read(partition: str) -> None:
            if len(found) > limit:
                return
            async for page in self._table.pages(partition, key_range, select=[column], page_size=page_size):
                found.extend(page)
                if len(found) > limit:
                    return

        await in_parallel(read, self._partitions)
        return found if len(found) <= limit else None

    async def count(self, key_range: KeyRange) -> int | None:
        """How many rows a range has; None if there are more than a page of them in each bucket."""
        rows = await self._read_whole(key_range, "PartitionKey", FULL_PAGE * len(self._partitions))
        return None if rows is None else len(rows)

    async def rows(
        self,
        driver: Driver,
        predicates: Sequence[Predicate],
        wanted: int | None,
        start: tuple[str, str] | None = None,
    ) -> AsyncGenerator[Row]:
        """The driver's rows that satisfy all `predicates`, newest first, each entity once.

        The predicates are on search columns, which only the rows of studies have. `wanted` is how many rows are enough;
        None when that is not known, because the level below decides. `start`, a date and an order, is where to begin.
        """
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(aclosing(stream))
                for stream in self._streams(driver, predicates, wanted, start)
            ]
            # All are awaited even when one fails: a stream that is still being read cannot be closed.
            heap: list[tuple[str, int, Row]] = []
            for batch in batched(enumerate(streams), PARALLEL_CALLS, strict=False):
                # All of a batch are waited for, for a stream cannot be closed while it is being read.
                heads = await asyncio.gather(*(anext(stream, None) for _, stream in batch), return_exceptions=True)
                for (number, _), head in zip(batch, heads, strict=True):
                    if isinstance(head, BaseException):
                        raise head
                    if head is not None:
                        heap.append((head[0], number, head[1]))
            heapq.heapify(heap)
            last = None
            while heap:
                order, number, row = heap[0]
                if order != last:  # a study may be found under two of several keys asked for
                    yield row
                    last = order
                head = await anext(streams[number], None)
                if head is None:
                    heapq.heappop(heap)
                else:
                    heapq.heapreplace(heap, (head[0], number, head[1]))

    def _streams(
        self,
        driver: Driver,
        predicates: Sequence[Predicate],
        wanted: int | None,
        start: tuple[str, str] | None,
    ) -> list[AsyncGenerator[tuple[str, Row]]]:
        where = pushed_down(predicates)
        # A page need not be larger than the answer, unless some of its rows will not be part of it.
        size = FULL_PAGE if wanted is None or predicates else min(wanted, FULL_PAGE)
        return [
            self._stream(driver, partition, each, predicates, where, size)
            for partition in self._partitions
            for each in (driver.starting_at(*start) if start else driver.ranges)
        ]

    async def _stream(
        self,
        driver: Driver,
        partition: str,
        key_range: KeyRange,
        predicates: Sequence[Predicate],
        where: str,
        page_size: int,
    ) -> AsyncGenerator[tuple[str, Row]]:
        """Rows of one range in one partition that satisfy the predicates, with what they are merged by."""
        columns = (
            None if driver is ALL_STUDIES else [name for each in predicates for name in column_names(each.attribute)]
        )
        pages = self._table.pages(partition, key_range, where=where, select=columns, page_size=page_size)
        async for page in pages:
            for row in page:
                if all(_satisfied(each, row) for each in predicates):
                    yield driver.order(keys.key_of_search_row(row.key)), row
                else:
                    self._missed += 1
            if self._missed >= self._scan_limit:
                self.cut = True
                return


def _satisfied(predicate: Predicate, row: Row) -> bool:
    return satisfies(predicate.test, predicate.attribute, values_in_columns(row.columns, predicate.attribute))
