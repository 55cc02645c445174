"""The services over an archive of their own, with a clock that the tests hold."""

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pydicom
import pytest

from shared.dicom.instance import Instance, read_instance
from shared.dicom.part10 import Part10Scanner
from shared.dicomweb.media_types import MediaRange
from shared.dicomweb.negotiation import Choice, Resource, acceptable, choose
from shared.dicomweb.query import SearchResource, parse_query
from shared.model import InstanceKey, Position, Scope
from shared.services.bulkdata import BulkdataService
from shared.services.content import whole
from shared.services.delete import DeleteService
from shared.services.judging import Outcome, StoreRequest
from shared.services.pixels import PixelReader
from shared.services.retrieve import RetrieveService
from shared.services.search import SearchService
from shared.services.store import StoreLimits, StoreService
from shared.services.sweep import SweepService
from shared.services.transcoding import Transcoder
from shared.storage import keys
from tests import builders
from tests.storage import conftest as storage
from tests.storage.conftest import Bench

bench = storage.bench

#: The transfer syntax to ask for when the stored one is wanted.
AS_STORED = "*"

MIB = 1024 * 1024
DAY = 86_400_000_000


@dataclass(frozen=True)
class Page:
    """The results of a search, all of them at hand; the rest as in `SearchResults`."""

    data_sets: list[dict[str, Any]]
    cut: bool
    last: Position | None
    total: int | None


class Services:
    """Every service, on one archive."""

    def __init__(self, bench: Bench, parsing: ThreadPoolExecutor) -> None:
        self.bench = bench
        self.archive = bench.archive
        self.clock = bench.clock
        self._random = itertools.count(1)
        self.store = StoreService(bench.archive, StoreLimits(64 * MIB, MIB, 4), self.version, parsing)
        self.pixels = PixelReader(bench.archive, 8 * MIB, parsing)
        self.retrieve = RetrieveService(self.pixels, Transcoder(self.pixels))
        self.bulkdata = BulkdataService(self.retrieve, self.pixels)
        self.search = SearchService(bench.archive, parsing)
        self.delete = DeleteService(bench.archive, bench.clock)
        self.sweep = SweepService(bench.archive, self.delete, bench.clock, orphan_age=DAY)

    def version(self) -> str:
        return keys.version_id(self.clock().time, next(self._random))

    async def put(
        self, *files: bytes, replaces: bool = False, lenient: bool = True, study: str | None = None, size: int = MIB
    ) -> list[Outcome]:
        """Store some files, each of which arrives in pieces of `size` bytes."""

        async def pieces(file: bytes) -> AsyncIterator[bytes]:
            for start in range(0, len(file), size):
                yield file[start : start + size]

        async def parts() -> AsyncIterator[AsyncIterator[bytes]]:
            for file in files:
                yield pieces(file)

        return await self.store.store(parts(), StoreRequest(study, replaces, lenient))

    async def put_well(self, *files: bytes, replaces: bool = False) -> list[InstanceKey]:
        """Store files that must all be stored; their keys."""
        found = []
        for outcome in await self.put(*files, replaces=replaces):
            assert outcome.failure is None and outcome.key is not None, outcome
            found.append(outcome.key)
        return found

    async def files(self, scope: Scope, transfer_syntax: str = AS_STORED) -> list[tuple[str, bytes]]:
        """Transfer syntax and bytes of every instance below a scope."""
        found = []
        choice = choosing(Resource.STUDY, transfer_syntax)
        async for part in await self.retrieve.instances(scope, choice, certain=transfer_syntax == AS_STORED):
            data = await whole(part.content)
            assert part.content.length in (None, len(data))
            assert part.transfer_syntax is not None
            found.append((part.transfer_syntax, data))
        return found

    async def frames(self, key: InstanceKey, *numbers: int, transfer_syntax: str = AS_STORED) -> list[bytes]:
        """The bytes of some frames."""
        found = []
        choice = choosing(Resource.FRAMES, transfer_syntax)
        frames = await self.retrieve.frames(key, choice, greatest=max(numbers))
        for number in numbers:
            part = await frames.made(number)
            data = await whole(part.content)
            assert part.content.length == len(data)
            assert part.name == f"frames/{number}"
            found.append(data)
        return found

    async def metadata(self, scope: Scope) -> bytes:
        found = await self.retrieve.metadata(scope, url_of)
        return b"".join([chunk async for chunk in found.chunks])

    async def find(self, resource: SearchResource, scope: Scope | None = None, **parameters: Any) -> Page:
        """One page of a search; a parameter whose value is a list is repeated."""
        pairs = [
            (name, str(each))
            for name, value in parameters.items()
            for each in (value if isinstance(value, list) else [value])
        ]
        found = await self.search.search(parse_query(pairs, resource), scope, url_of)
        data_sets = [json.loads(each) async for each in found.results]
        assert len(data_sets) == found.count
        return Page(data_sets, found.cut, found.last, found.total)

    async def count(self, study: str) -> int:
        found = await self.archive.index.get_study(study)
        return found.instances if found else 0


def choosing(resource: Resource, transfer_syntax: str) -> Callable[[str], Choice]:
    """What a client chooses who asks for multipart/related; type=*/* in a transfer syntax."""
    candidates = acceptable(resource, [MediaRange("*/*", True, transfer_syntax)])
    return lambda stored: choose(candidates, stored)


def url_of(scope: Scope) -> str:
    return "/".join(["url", scope.study, *(each for each in (scope.series, scope.instance) if each)])


def scope_of(key: InstanceKey) -> Scope:
    return Scope(key.study, key.series, key.instance)


def odd_instance(**elements: Any) -> bytes:
    """As `builders.instance`, with values that break the rules of their VR."""
    with pydicom.config.disable_value_validation():
        return builders.instance(**elements)


def read(file: bytes) -> Instance:
    """A file as the store service reads it."""
    scanner = Part10Scanner()
    scanner.feed(file)
    return read_instance(scanner.finish())


@pytest.fixture
def services(bench: Bench) -> Iterator[Services]:
    with ThreadPoolExecutor(2) as parsing:
        yield Services(bench, parsing)
