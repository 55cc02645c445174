"""How many storage calls each operation takes: the table of docs/storage-format.md, counted at the transport."""

import pytest

from shared.dicom.attributes import SEARCHABLE
from shared.dicom.matching import Exact, Predicate
from shared.model import InstanceKey, Level, Scope
from shared.storage.search import SearchRequest
from tests.storage.conftest import Bench
from tests.storage.instances import instance

BUCKETS = 4


@pytest.mark.parametrize(("number", "transactions"), [(1, 1), (30, 1), (45, 2), (90, 3), (500, 13)])
async def test_storing_n_instances_of_a_study_takes_about_n_45ths_transactions(
    bench: Bench, number: int, transactions: int
) -> None:
    await bench.archive.store([instance() for _ in range(number)], replaces=False)
    assert bench.calls["table transaction"] <= transactions
    assert bench.calls["table row"] == 2  # the study and the series, read once
    assert set(bench.calls) == {"table transaction", "table row"}


async def test_storing_into_a_study_that_exists_takes_one_transaction_for_45_instances(bench: Bench) -> None:
    await bench.archive.store([instance()], replaces=False)
    bench.calls.clear()
    await bench.archive.store([instance() for _ in range(45)], replaces=False)
    assert dict(bench.calls) == {"table transaction": 1, "table row": 2}


async def test_storing_duplicates_takes_one_look_at_each_and_not_a_transaction_for_each(bench: Bench) -> None:
    new = [instance(sop=f"1.2.3.1.{number}") for number in range(40)]
    await bench.archive.store(new, replaces=False)
    bench.calls.clear()
    await bench.archive.store([instance(sop=each.key.instance) for each in new], replaces=False)
    assert dict(bench.calls) == {"table transaction": 1, "table row": 2 + 40}


async def test_the_metadata_of_a_thousand_instances_takes_two_pages_and_no_blob(bench: Bench) -> None:
    await bench.archive.store([instance() for _ in range(1000)], replaces=False)
    bench.calls.clear()
    scope = Scope("1.2.3", "1.2.3.1")
    pages = [page async for page in bench.archive.index.pages_of(scope, ("metadata",))]
    assert sum(map(len, pages)) == 1000
    assert set(bench.calls) == {"table query"} and bench.calls["table query"] <= 2


async def test_one_instance_takes_one_row(bench: Bench) -> None:
    new = instance()
    await bench.archive.store([new], replaces=False)
    bench.calls.clear()
    assert await bench.archive.index.get_instance(new.key, ("frames", "metadata")) is not None
    assert dict(bench.calls) == {"table row": 1}


async def test_the_newest_studies_take_one_query_for_each_bucket_and_nothing_else(bench: Bench) -> None:
    for number in range(30):
        await bench.archive.store([instance(f"1.{number}")], replaces=False)
    bench.calls.clear()
    found = await bench.archive.search(SearchRequest(Level.STUDY, None, (), 0, 100))
    assert len(found.hits) == 30
    assert dict(bench.calls) == {"table query": BUCKETS}


async def test_a_search_takes_one_query_for_each_bucket_and_the_rows_of_its_page(bench: Bench) -> None:
    for number in range(60):
        await bench.archive.store([instance(f"1.{number}", patient_id=f"P{number % 20}")], replaces=False)
    bench.calls.clear()
    (attribute,) = (each for each in SEARCHABLE if each.keyword == "PatientID")
    found = await bench.archive.search(
        SearchRequest(Level.STUDY, None, (Predicate(attribute, Exact(("p7",))),), 0, 100)
    )
    assert len(found.hits) == 3
    assert dict(bench.calls) == {"table query": BUCKETS, "table row": 3}


async def test_deleting_n_instances_takes_n_45ths_transactions(bench: Bench) -> None:
    new = [instance() for _ in range(45)]
    await bench.archive.store(new, replaces=False)
    bench.calls.clear()
    await bench.archive.committer.delete("1.2.3", [each.key for each in new[:40]])
    assert bench.calls["table transaction"] == 1
    assert bench.calls["table row"] == 2 + 40


async def test_a_frame_takes_one_ranged_read(bench: Bench) -> None:
    owner = InstanceKey("1.2", "1.2.3", "1.2.3.4")
    await bench.archive.blobs.put("frames", bytes(range(256)) * 64, owner)
    bench.calls.clear()
    assert await bench.archive.blobs.read("frames", 512, 4) == bytes([0, 1, 2, 3])
    assert dict(bench.calls) == {"blob read": 1}
