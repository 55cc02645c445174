"""The index without its commits and searches: its layout, and reading studies, series and instances.

What changes a study is in commit.py, what searches is in search.py, what the sweep has to do in notes.py.
"""

import logging
from collections.abc import AsyncIterator, Sequence

from shared.errors import Unavailable
from shared.model import InstanceKey, Scope, Series, StoredInstance, Study
from shared.storage import keys
from shared.storage.once import Once
from shared.storage.rows import INSTANCE_COLUMNS, instance_of, series_of, study_of
from shared.storage.table import IndexTable, Operation

logger = logging.getLogger(__name__)

#: Version of the stored layout; a program must not touch an index of another version.
LAYOUT = 2
#: PartitionKey of what the index says of itself.
ABOUT_ITSELF = "!index"
_LAYOUT_ROW = "layout"


class Index:
    """One data partition of the index: its layout, and what is stored."""

    def __init__(self, table: IndexTable, data_partition: str, buckets: int) -> None:
        """`buckets` counts only when the table is new; an existing one keeps the number it was made with."""
        self._table = table
        self._data_partition = data_partition
        self._wanted_buckets = buckets
        self._buckets = Once[int]()

    async def open(self) -> int:
        """Make sure that the table exists and has a layout we know; returns its number of buckets.

        Raises Unavailable when the table cannot be reached or has another layout.
        """
        return await self._buckets.get(self._read_layout)

    async def _read_layout(self) -> int:
        row = await self._table.get(ABOUT_ITSELF, _LAYOUT_ROW)
        if row is None:
            await self._table.ensure()
            columns = {"version": LAYOUT, "buckets": self._wanted_buckets}
            # When another process was first this clashes, and its row is the one that counts.
            await self._table.commit(ABOUT_ITSELF, [Operation("insert", _LAYOUT_ROW, columns)])
            row = await self._table.get(ABOUT_ITSELF, _LAYOUT_ROW)
        if row is None or row.columns["version"] != LAYOUT:
            raise Unavailable(f"the index has another layout than {LAYOUT}")
        buckets: int = row.columns["buckets"]
        if buckets != self._wanted_buckets:
            logger.warning("the index was made with %d buckets; INDEX_BUCKETS is ignored", buckets)
        return buckets

    async def check(self) -> None:
        """Read a row. Raises Unavailable when the table does not answer."""
        await self.open()
        await self._table.get(ABOUT_ITSELF, _LAYOUT_ROW)

    async def partition_of(self, study: str) -> str:
        """PartitionKey of every row of a study."""
        return keys.partition_key(self._data_partition, keys.bucket_of(study, await self.open()))

    async def partitions(self) -> list[str]:
        """PartitionKeys of all buckets."""
        return [keys.partition_key(self._data_partition, bucket) for bucket in range(await self.open())]

    async def get_study(self, study: str) -> Study | None:
        """A study, or None."""
        row = await self._table.get(await self.partition_of(study), keys.study_row(study))
        return study_of(study, row.columns) if row else None

    async def get_series(self, study: str, series: str) -> Series | None:
        """A series, or None."""
        row = await self._table.get(await self.partition_of(study), keys.series_row(study, series))
        return series_of(study, series, row.columns) if row else None

    async def get_instance(self, key: InstanceKey, columns: Sequence[str] = ()) -> StoredInstance | None:
        """An instance with the columns of `INSTANCE_COLUMNS` and `columns`, which may be "metadata" and "frames"."""
        row = await self._table.get(
            await self.partition_of(key.study), keys.instance_row(key), select=[*INSTANCE_COLUMNS, *columns]
        )
        return instance_of(row) if row else None

    async def exists(self) -> bool:
        """Whether there is an index at all; unlike everything else here, this does not make one."""
        return await self._table.get(ABOUT_ITSELF, _LAYOUT_ROW) is not None

    async def list_studies(self) -> AsyncIterator[list[str]]:
        """The UIDs of every study, a page at a time; by bucket and, within one, in the order of UIDs."""
        for partition in await self.partitions():
            async for page in self._table.pages(partition, keys.study_rows(), select=["instances"]):
                yield [keys.study_of_row(row.key) for row in page]

    async def list_series(self, study: str) -> list[Series]:
        """Every series of a study, in the order of UIDs."""
        found: list[Series] = []
        async for page in self._table.pages(await self.partition_of(study), keys.series_rows(study)):
            found += [series_of(study, row.key.split("!")[2], row.columns) for row in page]
        return found

    async def list_instances(
        self, study: str, series: str | None = None, columns: Sequence[str] = ()
    ) -> AsyncIterator[list[StoredInstance]]:
        """The instances of a study or series, a page of up to 1000 at a time, in the order of UIDs."""
        partition = await self.partition_of(study)
        rows = keys.instance_rows(study, series)
        async for page in self._table.pages(partition, rows, select=[*INSTANCE_COLUMNS, *columns]):
            yield [instance_of(row) for row in page]

    async def pages_of(self, scope: Scope, columns: Sequence[str] = ()) -> AsyncIterator[list[StoredInstance]]:
        """The instances of any scope, in pages; a single one for an instance."""
        if scope.series is not None and scope.instance is not None:
            key = InstanceKey(scope.study, scope.series, scope.instance)
            instance = await self.get_instance(key, columns)
            if instance is not None:
                yield [instance]
            return
        async for page in self.list_instances(scope.study, scope.series, columns):
            yield page
