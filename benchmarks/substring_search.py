"""What a search inside texts costs in a small archive and in a larger one: storage calls, rows and time.

The studies have no files: they are committed straight to a table, in an Azurite of its own that keeps nothing.
"""

import argparse
import asyncio
import itertools
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from azure.data.tables.aio import TableClient

from local.azurite import Azurite
from shared.dicom.attributes import SEARCHABLE
from shared.dicom.matching import Fuzzy, Predicate, Test, Wildcard
from shared.model import DEFAULT_PARTITION, Level
from shared.storage import search_read
from shared.storage.commit import Committer
from shared.storage.index import Index
from shared.storage.keys import KeyRange
from shared.storage.plan import Moment
from shared.storage.search import SearchRequest, search
from shared.storage.table import IndexTable, Row
from tests.storage.conftest import CountingTransport
from tests.storage.instances import instance

#: Studies stored at a time.
CLIENTS = 8
#: Patients whose names hold what is searched for. They come first, and so are the oldest in the larger archive.
NEEDLES = 5

_SYLLABLES = "an ber cor den el fi gra hol in jo ka lin mar nor ol pet quin ros sten tor ul var wes yan zel".split()
_REGIONS = "head chest abdomen pelvis knee shoulder spine hip ankle wrist".split()

QUESTIONS: list[tuple[str, str, Test]] = [
    ("PatientName=*bcde*", "PatientName", Wildcard("*bcde*")),
    ("PatientName=*bc?ef*", "PatientName", Wildcard("*bc?ef*")),
    ("PatientName=abcd, fuzzy", "PatientName", Fuzzy("abcd")),
    ("PatientName=*an*", "PatientName", Wildcard("*an*")),
    ("StudyDescription=*knee*", "StudyDescription", Wildcard("*knee*")),
]


class CountingTable(IndexTable):
    """An index table that counts the rows it brings."""

    rows = 0

    async def get(self, partition: str, key: str, *, select: Sequence[str] | None = None) -> Row | None:
        self.rows += 1
        return await super().get(partition, key, select=select)

    async def pages(self, partition: str, keys: KeyRange, **options: Any) -> AsyncIterator[list[Row]]:
        async for page in super().pages(partition, keys, **options):
            self.rows += len(page)
            yield page


class Clock:
    """A microsecond later at each look."""

    def __init__(self) -> None:
        self._times = itertools.count(1_700_000_000_000_000)

    def __call__(self) -> Moment:
        now = next(self._times)
        return Moment(now, f"{now:x}", now)


def _study(number: int, chance: random.Random) -> Any:
    def word() -> str:
        return "".join(chance.choices(_SYLLABLES, k=3)).capitalize()

    name = f"Abcdef{number}^Ann" if number < NEEDLES else f"{word()}^{word()}"
    return instance(
        f"1.2.826.0.1.3680043.10.1.{number}",
        name=name,
        patient_id=f"P{chance.randrange(10**8):08}",
        **{
            "00080050": {"vr": "SH", "Value": [f"ACC{number:09}"]},
            "00080090": {"vr": "PN", "Value": [{"Alphabetic": f"{word()}^{word()}^^Dr"}]},
            "00081030": {
                "vr": "LO",
                "Value": [f"{chance.choice(('CT', 'MR'))} {chance.choice(_REGIONS)} with contrast"],
            },
        },
    )


async def _fill(committer: Committer, studies: list[Any]) -> None:
    async def store() -> None:
        while studies:
            await committer.store([studies.pop()], replaces=False)

    studies.reverse()
    await asyncio.gather(*(store() for _ in range(CLIENTS)))


async def _ask(table: CountingTable, index: Index, calls: Counter[str], size: int) -> None:
    """Ask every question, once with the text rows and once without them."""
    for text, keyword, test in QUESTIONS:
        (attribute,) = (each for each in SEARCHABLE if each.keyword == keyword)
        request = SearchRequest(Level.STUDY, None, (Predicate(attribute, test),), 0, 25)
        for way, candidates in (("text rows", search_read.CANDIDATES), ("list scan", -1)):
            calls.clear()
            table.rows = 0
            kept, search_read.CANDIDATES = search_read.CANDIDATES, candidates
            started = time.perf_counter()
            try:
                found = await search(table, index, request, scan_limit=100_000)
            finally:
                search_read.CANDIDATES = kept
            took = (time.perf_counter() - started) * 1000
            queries, rows = calls["table query"], calls["table row"]
            print(f"{size:8} {text:26} {way:10} {len(found.hits):5} {queries:8} {rows:6} {table.rows:8} {took:8.0f}")


async def measure(connection: str, sizes: Sequence[int]) -> None:
    """Fill a table to each of the sizes and ask every question."""
    calls: Counter[str] = Counter()
    chance = random.Random(7)
    client = TableClient.from_connection_string(
        connection, f"bench{secrets.token_hex(8)}", transport=CountingTransport(calls)
    )
    async with client:
        table = CountingTable(client)
        index = Index(table, DEFAULT_PARTITION, 4)
        committer = Committer(table, index.partition_of, Clock(), random.random)
        await index.open()
        stored = 0
        print(
            f"{'studies':>8} {'question':26} {'way':10} {'found':>5} {'queries':>8} {'reads':>6} {'rows':>8} {'ms':>8}"
        )
        for size in sizes:
            started = time.perf_counter()
            await _fill(committer, [_study(number, chance) for number in range(stored, size)])
            transactions, stored_now = calls["table transaction"], size - stored
            print(
                f"{size:8} {stored_now} stored with {transactions / stored_now:.1f} transactions each, "
                f"{(time.perf_counter() - started) / stored_now * 1000:.0f} ms each"
            )
            stored = size
            await _ask(table, index, calls, size)
            calls.clear()
        rows = 0
        for partition in await index.partitions():
            async for page in table.pages(partition, KeyRange("!", "~"), select=["PartitionKey"]):
                rows += len(page)
        print(f"{rows / stored:.1f} rows a study")


def main() -> None:
    """Read the options and run."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--studies", type=int, nargs="+", default=[200, 1000], help="sizes of the archive, ascending")
    chosen = options.parse_args()
    with Azurite() as azurite:
        azurite.wait_ready()
        asyncio.run(measure(azurite.connection_string, chosen.studies))


if __name__ == "__main__":
    main()
