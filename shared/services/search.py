"""Search (PS3.18 §10.6): from a query to the data sets of its results.

Query --storage.search--> Hits --attributes of rows, and of an instance where rows do not hold them--> results

Results are made while they are sent: the metadata of one instance can be as large as `MAX_HEADER_BYTES` allows.
"""

import asyncio
import gzip
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from shared.dicom.attributes import COMPUTED, SEARCHABLE, SERIES_ATTRIBUTES, SOP_CLASS_UID, STUDY_ATTRIBUTES
from shared.dicom.bulk import resolved
from shared.dicomweb.query import Query
from shared.dicomweb.search_response import INSTANCE_AVAILABILITY, RETRIEVE_URL, computed_of, result, wanted_tags
from shared.model import InstanceKey, JsonDataSet, Level, Position, Scope, StoredInstance
from shared.storage.archive import Archive
from shared.storage.parallel import PARALLEL_CALLS
from shared.storage.search_order import Hit
from shared.storage.search_request import SearchRequest

#: Of a study these are the latest stored values; they overrule what an older instance says of it.
_OVERRULING = frozenset(attribute.tag for attribute in SEARCHABLE if attribute.level is Level.STUDY)
#: Results that are made ahead of the one being sent, where each may hold all metadata of an instance.
LARGE_AHEAD = 4
_COMPUTED = COMPUTED | {RETRIEVE_URL, INSTANCE_AVAILABILITY}


@dataclass(frozen=True, slots=True)
class SearchResults:
    """One page of results: `count` of them, each a data set as JSON, in UTF-8. Close them if they are not used up.

    `cut`: there may be matches that were not looked at. `last` is where the page ends if others follow, `total` how
    many results all pages have, if that is known.
    """

    results: AsyncGenerator[bytes]
    count: int
    cut: bool
    last: Position | None
    total: int | None


class SearchService:
    """Searches one archive."""

    def __init__(self, archive: Archive, parsing: Executor) -> None:
        """`parsing` runs what takes CPU, and bounds how much of it runs at once."""
        self._archive = archive
        self._parsing = parsing

    async def search(self, query: Query, scope: Scope | None, url_of: Callable[[Scope], str]) -> SearchResults:
        """The page of results of a query. `url_of` gives the retrieve URL of a match.

        Raises Unavailable; the results, when they are made, raise it too.
        """
        request = SearchRequest(query.resource.level, scope, query.predicates, query.offset, query.limit, query.after)
        found = await self._archive.search(request)
        return SearchResults(
            self._results(query, found.hits, url_of), len(found.hits), found.cut, found.last, found.total
        )

    async def _results(
        self, query: Query, hits: Sequence[Hit], url_of: Callable[[Scope], str]
    ) -> AsyncGenerator[bytes]:
        ahead = LARGE_AHEAD if _may_be_large(query) else PARALLEL_CALLS
        making: deque[asyncio.Task[bytes]] = deque()
        try:
            for hit in hits:
                making.append(asyncio.create_task(self._result(query, hit, url_of)))
                if len(making) > ahead:
                    yield await making[0]
                    making.popleft()
            while making:
                yield await making[0]
                making.popleft()
        finally:
            for task in making:
                task.cancel()
            await asyncio.gather(*making, return_exceptions=True)

    async def _result(self, query: Query, hit: Hit, url_of: Callable[[Scope], str]) -> bytes:
        scope = Scope(
            hit.study.uid,
            hit.series.uid if hit.series else None,
            hit.instance.key.instance if hit.instance else None,
        )
        computed = computed_of(hit.study, hit.series, hit.instance, url_of(scope))
        data_set = dict(result(query, await self._attributes(query, hit, url_of), computed))
        if not _may_be_large(query):
            return _written(data_set)
        return await asyncio.get_running_loop().run_in_executor(self._parsing, _written, data_set)

    async def _attributes(self, query: Query, hit: Hit, url_of: Callable[[Scope], str]) -> JsonDataSet:
        """What is known of a match, as far as the query wants it."""
        with_study = Level.STUDY in query.resource.returned_of
        study = hit.study.attributes if with_study else {}
        if hit.instance is not None:
            metadata = await self._metadata(hit.instance, url_of)
            overruling = {tag: element for tag, element in study.items() if tag in _OVERRULING and "Value" in element}
            return {**metadata, **overruling}
        if hit.series is not None:
            # Of SOPClassUID the row has those of all instances, which is no attribute of a series.
            known = {**study, **{tag: each for tag, each in hit.series.attributes.items() if tag != SOP_CLASS_UID}}
            remembered = SERIES_ATTRIBUTES | (STUDY_ATTRIBUTES if with_study else frozenset())
            example = InstanceKey(hit.study.uid, hit.series.uid, hit.series.newest)
        else:
            known = dict(study)
            remembered = STUDY_ATTRIBUTES
            example = InstanceKey(hit.study.uid, *hit.study.newest)
        unknown = {
            tag for tag in wanted_tags(query) - _COMPUTED if tag not in remembered or "cut" in known.get(tag, {})
        }
        if unknown & (query.include | {tag for tag in known if "cut" in known[tag]}):
            metadata = await self._example(example, hit, url_of)
            known |= {tag: metadata[tag] for tag in unknown if tag in metadata}
        return known

    async def _example(self, key: InstanceKey, hit: Hit, url_of: Callable[[Scope], str]) -> JsonDataSet:
        """The metadata of the newest instance of a study or series, or of any when that has been deleted."""
        instance = await self._archive.index.get_instance(key, ("metadata",))
        if instance is None:
            series = hit.series.uid if hit.series else None
            async for page in self._archive.index.list_instances(hit.study.uid, series):
                if page:
                    instance = await self._archive.index.get_instance(page[0].key, ("metadata",))
                    break
        return await self._metadata(instance, url_of) if instance else {}

    async def _metadata(self, instance: StoredInstance, url_of: Callable[[Scope], str]) -> JsonDataSet:
        packed = await self._archive.packed_metadata(instance)
        url = url_of(Scope(instance.key.study, instance.key.series, instance.key.instance))
        return await asyncio.get_running_loop().run_in_executor(self._parsing, _unpack, packed, url)


def _may_be_large(query: Query) -> bool:
    """Whether a result may hold what an instance has, and not only what the rows of studies and series remember."""
    return query.resource.level is Level.INSTANCE or query.include_all or bool(query.include)


def _written(data_set: dict[str, Any]) -> bytes:
    # Half a surrogate pair is no text that UTF-8 could hold.
    return json.dumps(data_set, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _unpack(packed: bytes, instance_url: str) -> JsonDataSet:
    data_set: JsonDataSet = json.loads(resolved(gzip.decompress(packed), instance_url))
    return data_set
