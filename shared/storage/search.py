"""Searching the index: a page of the studies, series or instances that satisfy some conditions, newest first.

How many matches there are in all is told where that is cheap: when the page holds the last one, when no condition
leaves out anything below a study or series, whose rows say it, and when search rows stand for the matches one by one
and are few enough to be counted by their keys, which is done only for a page that others follow or precede.

Left out: finding the matches (search_descent.py) and their order (search_order.py).
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from shared.model import Level, Position
from shared.storage.index import Index
from shared.storage.search_descent import Descent
from shared.storage.search_order import Hit
from shared.storage.search_read import SearchReader
from shared.storage.search_request import SearchRequest
from shared.storage.table import IndexTable


@dataclass(frozen=True, slots=True)
class Found:
    """The matches of one page, in order.

    `cut`: rows that might match were left unread. `last` is where the last match stands if more follow, `total` how
    many there are on all pages, if that is known.
    """

    hits: tuple[Hit, ...]
    cut: bool
    last: Position | None = None
    total: int | None = None


async def search(table: IndexTable, index: Index, request: SearchRequest, *, scan_limit: int) -> Found:
    """The page of matches that a request asks for. Raises Unavailable when the index cannot be read.

    Instances bring their metadata, unless that lies in a sidecar blob.
    """
    if request.scope is None:
        partitions = await index.partitions()
    else:
        partitions = [await index.partition_of(request.scope.study)]
    reader = SearchReader(table, partitions, scan_limit)
    descent = Descent(index, reader, request, scan_limit)
    hits: list[Hit] = []
    position = 0
    last = None
    async with aclosing(descent.matches()) as matches:
        async for hit in matches:
            position += 1
            if position > request.end:
                last = descent.order.position(hits[-1])
                break
            if position > request.offset:
                hits.append(hit)
    total = _total_below(request, hits)
    if total is None and last is None and request.after is None and not reader.cut:
        total = position
    if total is None and descent.counted is not None:
        total = await reader.count(descent.counted)
    return Found(tuple(hits), reader.cut, last, total)


def _total_below(request: SearchRequest, hits: Sequence[Hit]) -> int | None:
    """How many there are below a scope, where no condition leaves some out; None where its rows do not say."""
    if request.scope is None or request.predicates or not hits:
        return None
    study, series = hits[0].study, hits[0].series
    if request.scope.series is not None:
        return series.instances if series else None
    return study.series if request.level is Level.SERIES else study.instances
