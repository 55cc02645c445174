"""Reading search rows: the key ranges of a driver, in every bucket at once, merged newest first.

Memory is bounded: an ordered driver holds one page of rows per range and bucket, an unordered one keeps only the newest
rows that are wanted, and never more than `scan_limit`.
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
from shared.storage.search_plan import ALL_STUDIES, Driver, pushed_down
from shared.storage.search_rows import values_in_columns
from shared.storage.table import IndexTable, Row

#: Rows the table returns in one call at most.
FULL_PAGE = 1000
#: Rows an unordered driver may hold beyond the wanted ones before it throws the oldest away.
_SLACK = 1000


class SearchReader:
    """Reads the search rows of some partitions for one search.

    `cut` becomes true when rows that might match were left unread: after `scan_limit` rows that did not match, or when
    more rows match than are kept.
    """

    def __init__(self, table: IndexTable, partitions: Sequence[str], scan_limit: int) -> None:
        self._table = table
        self._partitions = partitions
        self._scan_limit = scan_limit
        self._missed = 0
        self.cut = False

    async def rows(self, driver: Driver, predicates: Sequence[Predicate], wanted: int | None) -> AsyncGenerator[Row]:
        """The driver's rows that satisfy all `predicates`, newest first, each entity once.

        The predicates are on search columns, which only the rows of studies have. `wanted` is how many rows are enough;
        None when that is not known, because the level below decides.
        """
        if driver.ordered:
            async with aclosing(self._merged(driver, predicates, wanted)) as rows:
                async for row in rows:
                    yield row
        else:
            for row in await self._newest(driver, predicates, wanted):
                yield row

    async def _merged(self, driver: Driver, predicates: Sequence[Predicate], wanted: int | None) -> AsyncGenerator[Row]:
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(aclosing(stream))
                for stream in self._streams(driver, predicates, wanted)
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

    async def _newest(self, driver: Driver, predicates: Sequence[Predicate], wanted: int | None) -> list[Row]:
        kept: dict[str, Row] = {}
        enough = min(self._scan_limit, self._scan_limit if wanted is None else wanted)
        read = 0

        async def drain(stream: AsyncGenerator[tuple[str, Row]]) -> None:
            nonlocal read
            async with aclosing(stream):
                async for order, row in stream:
                    read += 1
                    kept[order] = row
                    if len(kept) >= enough + _SLACK:
                        for surplus in sorted(kept)[enough:]:
                            del kept[surplus]
                    if read >= self._scan_limit:
                        self.cut = True
                        return

        await in_parallel(drain, self._streams(driver, predicates, None))
        return [kept[order] for order in sorted(kept)[:enough]]

    def _streams(
        self, driver: Driver, predicates: Sequence[Predicate], wanted: int | None
    ) -> list[AsyncGenerator[tuple[str, Row]]]:
        where = pushed_down(predicates)
        # A page need not be larger than the answer, unless some of its rows will not be part of it.
        size = FULL_PAGE if wanted is None or predicates else min(wanted, FULL_PAGE)
        return [
            self._stream(driver, partition, each, predicates, where, size)
            for partition in self._partitions
            for each in driver.ranges
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
        columns = None if driver is ALL_STUDIES else [each.attribute.keyword for each in predicates]
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
