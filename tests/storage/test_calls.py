"""How many storage calls each operation takes: the table of docs/storage-format.md, counted at the transport."""

import pytest

from shared.dicom.attributes import SEARCHABLE
from shared.dicom.matching import Exact, Fuzzy, Predicate, Test, Wildcard
from shared.model import InstanceKey, Level, Scope
from shared.storage.search import SearchRequest
from tests.storage.conftest import Bench
from tests.storage.instances import instance

BUCKETS = 4


@pytest.mark.parametrize(("number", "transactions"), [(1, 1), (30, 1), (45, 2), (90, 3), (500, 13)])
async def test_storing_n_instances_of_a_new_study_takes_about_n_45ths_transactions_and_one_for_its_text_rows(
    bench: Bench, number: int, transactions: int
) -> None:
    await bench.archive.store([instance() for _ in range(number)], replaces=False)
    assert bench.calls["table transaction"] <= transactions + 1
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


async def test_a_page_that_others_follow_takes_one_query_more_for_each_bucket_to_count_them(bench: Bench) -> None:
    for number in range(30):
        await bench.archive.store([instance(f"1.{number}")], replaces=False)
    bench.calls.clear()
    # No bucket has a second page of keys to read, and few studies more than one of the list.
    found = await bench.archive.search(SearchRequest(Level.STUDY, None, (), 0, 25))
    assert (len(found.hits), found.total) == (25, 30)
    assert dict(bench.calls) == {"table query": 2 * BUCKETS}


async def test_the_number_below_a_study_or_series_takes_no_call_at_all(bench: Bench) -> None:
    await bench.archive.store([instance() for _ in range(30)], replaces=False)
    for scope in (Scope("1.2.3"), Scope("1.2.3", "1.2.3.1")):
        bench.calls.clear()
        found = await bench.archive.search(SearchRequest(Level.INSTANCE, scope, (), 0, 20))
        assert (len(found.hits), found.total) == (20, 30)
        assert dict(bench.calls) == {
            "table query": 2 if scope.series is None else 1,
            "table row": 1 if scope.series is None else 2,
        }


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


@pytest.mark.parametrize(
    ("test", "queries"),
    [
        (Wildcard("*bra^a*"), 2 * BUCKETS),
        (Wildcard("*bra*n ?"), 2 * BUCKETS),
        (Fuzzy("an"), 2 * BUCKETS),
        (Wildcard("zebra*"), BUCKETS),  # search rows, which are there from the commit on
    ],
    ids=["piece", "pieces", "word", "prefix"],
)
async def test_a_search_inside_texts_takes_as_many_calls_however_many_studies_there_are(
    bench: Bench, test: Test, queries: int
) -> None:
    (attribute,) = (each for each in SEARCHABLE if each.keyword == "PatientName")
    request = SearchRequest(Level.STUDY, None, (Predicate(attribute, test),), 0, 100)
    for studies in (range(20), range(20, 300)):
        for number in studies:
            name = f"Zebra^Ann {number}" if number < 10 else f"Quagga{number}^Bob"
            await bench.archive.store([instance(f"1.{number}", name=name)], replaces=False)
        bench.calls.clear()
        found = await bench.archive.search(request)
        assert [hit.study.uid for hit in found.hits] == [f"1.{number}" for number in range(9, -1, -1)]
        assert (dict(bench.calls), found.cut) == ({"table query": queries, "table row": 10}, False)


async def test_a_pattern_on_modalities_takes_a_query_for_the_values_and_one_for_each_that_matches(bench: Bench) -> None:
    (attribute,) = (each for each in SEARCHABLE if each.keyword == "ModalitiesInStudy")
    request = SearchRequest(Level.STUDY, None, (Predicate(attribute, Wildcard("*r*")),), 0, 100)
    for number in range(40):
        modality = ("MR", "CR", "CT", "US")[min(number, 3)]
        await bench.archive.store([instance(f"1.{number}", modality=modality)], replaces=False)
    bench.calls.clear()
    found = await bench.archive.search(request)
    assert [hit.study.uid for hit in found.hits] == ["1.1", "1.0"]
    assert dict(bench.calls) == {"table query": BUCKETS + 2 * BUCKETS, "table row": 2}


async def test_storing_what_changes_no_text_pays_nothing_for_text_rows(bench: Bench) -> None:
    await bench.archive.store([instance(modality="CT")], replaces=False)
    bench.calls.clear()
    await bench.archive.store([instance(series="1.2.3.9", modality="MR")], replaces=False)
    assert dict(bench.calls) == {"table transaction": 1, "table row": 2}


async def test_a_changed_text_takes_one_transaction_more(bench: Bench) -> None:
    await bench.archive.store([instance()], replaces=False)
    bench.calls.clear()
    await bench.archive.store([instance(name="Roe^Jane")], replaces=False)
    assert dict(bench.calls) == {"table transaction": 2, "table row": 2}


async def test_deleting_n_instances_takes_n_45ths_transactions(bench: Bench) -> None:
    new = [instance() for _ in range(45)]
    await bench.archive.store(new, replaces=False)
    bench.calls.clear()
    await bench.archive.committer.delete("1.2.3", [each.key for each in new[:40]])
    assert bench.calls["table transaction"] == 1
    assert bench.calls["table row"] == 2 + 40
    bench.calls.clear()
    await bench.archive.committer.delete("1.2.3", [each.key for each in new[40:]])
    assert bench.calls["table transaction"] == 2  # with the study go its text rows


async def test_a_frame_takes_one_ranged_read(bench: Bench) -> None:
    owner = InstanceKey("1.2", "1.2.3", "1.2.3.4")
    await bench.archive.blobs.put("frames", bytes(range(256)) * 64, owner)
    bench.calls.clear()
    assert await bench.archive.blobs.read("frames", 512, 4) == bytes([0, 1, 2, 3])
    assert dict(bench.calls) == {"blob read": 1}
