"""The services of the tests of services, and others on the same blobs with another table."""

import secrets
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from azure.data.tables.aio import TableClient

from local.azurite import Azurite
from shared.model import DEFAULT_PARTITION
from shared.services.progress import Tally
from shared.services.rebuild import Rebuilding, RebuildOptions, RebuildService
from shared.storage import keys
from shared.storage.commit import Committer
from shared.storage.index import Index
from shared.storage.notes import Notes
from shared.storage.table import IndexTable
from tests.services.conftest import Services
from tests.storage.conftest import Bench, CountingTransport, another_bench


class Silence:
    """Nobody who is told anything, but for the details, which it keeps."""

    def __init__(self) -> None:
        self.details: list[tuple[str, ...]] = []
        self.steps = 0

    def begin(self, what: str, total: int | None = None) -> None:
        self.steps = 0

    def advance(self, steps: int = 1) -> None:
        self.steps += steps

    def add(self, kind: str, *names: str) -> None:
        self.details.append((kind, *names))


@pytest.fixture
def name() -> str:
    """What container and table are called."""
    return f"t{secrets.token_hex(8)}"


@pytest.fixture
async def bench(azurite: Azurite, name: str) -> AsyncIterator[Bench]:
    async with another_bench(azurite, name) as made:
        yield made


@pytest.fixture
def parsing() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def services(bench: Bench, parsing: ThreadPoolExecutor) -> Services:
    return Services(bench, parsing)


@pytest.fixture
async def anew(services: Services, parsing: ThreadPoolExecutor, azurite: Azurite, name: str) -> AsyncIterator[Services]:
    """Services on the same blobs, with a table that does not exist yet."""
    transport = CountingTransport(services.bench.calls)
    async with TableClient.from_connection_string(azurite.connection_string, f"{name}b", transport=transport) as client:
        table = IndexTable(client)
        index = Index(table, DEFAULT_PARTITION, 4)
        committer = Committer(table, index.partition_of, services.clock, lambda: 0.5)
        archive = replace(services.archive, index=index, table=table, committer=committer, notes=Notes(table, index))
        yield Services(Bench(archive, services.clock, services.bench.calls, table), parsing)


async def rebuild(services: Services, **options: Any) -> dict[Rebuilding, int]:
    """Rebuild the index of some services; what that met."""
    silence = Silence()
    tally = Tally[Rebuilding](silence)
    with ThreadPoolExecutor(2) as parsing:
        service = RebuildService(services.archive, services.clock, parsing, max_header_bytes=1024 * 1024)
        await service.rebuild(RebuildOptions(**options), silence, tally)
    return {kind: count for kind, count in tally.counts.items() if count}


async def index_rows(services: Services) -> dict[str, dict[str, Any]]:
    """Every row of what is stored and how it is found: all kinds but notes."""
    found = {}
    for partition in await services.archive.index.partitions():
        async for page in services.bench.table.pages(partition, keys.KeyRange("!", "~")):
            found.update({f"{partition} {row.key}": dict(row.columns) for row in page if row.key[0] != "g"})
    return found
