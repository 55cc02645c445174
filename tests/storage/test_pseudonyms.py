"""Names for studies in logs: the same for the same study, in every process, and telling nothing."""

import asyncio
import secrets

import pytest

from local.azurite import Azurite
from shared.errors import Unavailable
from shared.model import DEFAULT_PARTITION
from shared.storage.index import ABOUT_ITSELF, Index
from shared.storage.pseudonyms import DIGITS, KEY_BYTES, Pseudonyms
from shared.storage.table import Operation
from tests.storage.conftest import Bench, another_bench

UID = "1.2.840.113619.2.1"


def pseudonyms(bench: Bench) -> Pseudonyms:
    """As another process would have them: with a key of its own to offer."""
    return Pseudonyms(bench.table, bench.archive.index, lambda: secrets.token_bytes(KEY_BYTES))


async def test_a_study_has_one_name_in_all_processes(bench: Bench) -> None:
    several = [pseudonyms(bench) for _ in range(8)]
    names = await asyncio.gather(*(each.of(UID) for each in several for _ in range(3)))
    assert len(set(names)) == 1
    assert len(names[0]) == DIGITS
    assert UID not in names[0]
    assert await several[0].of(UID + "1") != names[0]


async def test_the_key_is_read_once(bench: Bench) -> None:
    one = pseudonyms(bench)
    await asyncio.gather(*(one.of(UID) for _ in range(5)))
    bench.calls.clear()
    await one.of(UID)
    assert not bench.calls


async def test_a_key_that_is_lost_is_drawn_anew(bench: Bench) -> None:
    first = await pseudonyms(bench).of(UID)
    row = await bench.table.get(ABOUT_ITSELF, "pseudonyms")
    assert row is not None
    assert len(row.columns["key"]) == KEY_BYTES
    await bench.table.commit(ABOUT_ITSELF, [Operation("delete", "pseudonyms")])
    assert await pseudonyms(bench).of(UID) != first


async def test_the_key_of_an_index_that_is_replaced_is_taken_over_where_there_is_none_yet(
    bench: Bench, azurite: Azurite
) -> None:
    async with another_bench(azurite, f"t{secrets.token_hex(8)}") as new:
        await pseudonyms(new).take_over(pseudonyms(bench))  # which has none: nothing to take
        assert await new.table.get(ABOUT_ITSELF, "pseudonyms") is None
        name = await pseudonyms(bench).of(UID)
        await pseudonyms(new).take_over(pseudonyms(bench))
        assert await pseudonyms(new).of(UID) == name
    async with another_bench(azurite, f"t{secrets.token_hex(8)}") as used:
        own = await pseudonyms(used).of(UID)
        await pseudonyms(used).take_over(pseudonyms(bench))
        assert await pseudonyms(used).of(UID) == own != name


async def test_without_an_index_that_can_be_read_there_is_no_name(bench: Bench) -> None:
    await bench.table.commit(ABOUT_ITSELF, [Operation("put", "layout", {"version": 99, "buckets": 4})])
    index = Index(bench.table, DEFAULT_PARTITION, 4)
    with pytest.raises(Unavailable):
        await Pseudonyms(bench.table, index, lambda: secrets.token_bytes(KEY_BYTES)).of(UID)
