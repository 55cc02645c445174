"""An archive of its own for each test, on the session's Azurite, with every storage call counted."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableClient
from azure.storage.blob.aio import ContainerClient

from local.azurite import Azurite
from shared.model import DEFAULT_PARTITION
from shared.storage import keys
from shared.storage.archive import Archive
from shared.storage.blobs import BlobStore
from shared.storage.commit import Committer
from shared.storage.index import Index
from shared.storage.notes import Notes
from shared.storage.plan import Moment
from shared.storage.table import IndexTable


class Clock:
    """Time that the tests hold: every look at it is a millisecond later."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000
        self.grace = 3_600_000_000

    def __call__(self) -> Moment:
        self.now += 1000
        return Moment(self.now, f"{self.now:x}", self.now + self.grace)


class CountingTransport(AioHttpTransport):
    """The SDKs' own transport, which also counts what it sends; the sessions of two clients can share the counter."""

    def __init__(self, calls: Counter[str]) -> None:
        super().__init__()
        self.calls = calls

    async def send(self, request: Any, **options: Any) -> Any:
        self.calls[_name_of(request.method, request.url)] += 1
        return await super().send(request, **options)


def _name_of(method: str, url: str) -> str:
    """What a storage call is called in docs/storage-format.md."""
    parts = urlsplit(url)
    path = unquote(parts.path).split("/")[2:]
    if path == ["$batch"]:
        return "table transaction"
    if "(" in path[0]:
        return "table query" if path[0].endswith("()") else "table row"
    if method == "PUT" and len(path) > 1:
        return {"block": "blob block", "blocklist": "blob block list"}.get(_option(parts.query), "blob put")
    if len(path) > 1:
        return {"GET": "blob read", "HEAD": "blob length", "DELETE": "blob delete"}[method]
    return "other"


def _option(query: str) -> str:
    return next((each.partition("=")[2] for each in query.split("&") if each.startswith("comp=")), "")


class Bench:
    """An archive with what a test wants to hold of it."""

    def __init__(self, archive: Archive, clock: Clock, calls: Counter[str], table: IndexTable) -> None:
        self.archive = archive
        self.clock = clock
        self.calls = calls
        self.table = table

    async def rows(self, kind: str = "") -> list[str]:
        """The RowKeys of every row of a kind (the letter before the first `!`), of all kinds when empty."""
        found = []
        for partition in await self.archive.index.partitions():
            async for page in self.table.pages(partition, keys.KeyRange("!", "~")):
                found += [row.key for row in page if row.key.startswith(kind)]
        return sorted(found)

    async def blobs(self) -> list[str]:
        """The names of every blob."""
        return [blob.name async for blob in self.archive.blobs.list_names("")]


@pytest.fixture
async def bench(azurite: Azurite) -> AsyncIterator[Bench]:
    async with another_bench(azurite, f"t{secrets.token_hex(8)}") as made:
        yield made


class another_bench:
    """An archive in a container and table of a given name; a second one of the same name is another process."""

    def __init__(self, azurite: Azurite, name: str, clock: Clock | None = None, buckets: int = 4) -> None:
        self.calls: Counter[str] = Counter()
        self._table = TableClient.from_connection_string(
            azurite.connection_string, name, transport=CountingTransport(self.calls)
        )
        self._container = ContainerClient.from_connection_string(
            azurite.connection_string, name, transport=CountingTransport(self.calls)
        )
        self.clock = clock or Clock()
        self._buckets = buckets

    async def __aenter__(self) -> Bench:
        await self._table.__aenter__()
        await self._container.__aenter__()
        table = IndexTable(self._table)
        index = Index(table, DEFAULT_PARTITION, self._buckets)
        committer = Committer(table, index.partition_of, self.clock, lambda: 0.5)
        archive = Archive(BlobStore(self._container), index, table, committer, Notes(table, index), 1000)
        await archive.open()
        self.calls.clear()
        return Bench(archive, self.clock, self.calls, table)

    async def __aexit__(self, *_: object) -> None:
        await self._table.__aexit__()
        await self._container.__aexit__()
        await asyncio.sleep(0)  # aiohttp closes its sockets in the next turn of the loop
