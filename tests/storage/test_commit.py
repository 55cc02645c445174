"""Committing over the real table service: what becomes visible, lost races, lost answers, large batches."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError

from local.azurite import Azurite
from shared.model import InstanceKey, NewInstance
from shared.storage import keys
from shared.storage.commit import BATCH, CommitResult
from shared.storage.search_rows import MAX_MODALITIES
from shared.storage.table import Clash, CommitAnswer, Committed, Operation, Stale
from tests.storage.conftest import Bench, another_bench
from tests.storage.instances import instance

STORED, EXISTS = CommitResult.STORED, CommitResult.EXISTS


async def store(bench: Bench, *instances: NewInstance, replaces: bool = False) -> list[CommitResult]:
    return await bench.archive.store(list(instances), replaces=replaces)


async def counts(bench: Bench, study: str = "1.2.3") -> tuple[int, int, dict[str, int]] | None:
    found = await bench.archive.index.get_study(study)
    return (found.instances, found.series, dict(found.modalities)) if found else None


async def listed(bench: Bench, study: str = "1.2.3") -> set[str]:
    return {each.version async for page in bench.archive.index.list_instances(study) for each in page}


async def test_a_first_store_makes_every_row_of_the_study_at_once(bench: Bench) -> None:
    new = instance("1.2.3", "1.2.3.1", "1.2.3.1.1")
    assert await store(bench, new) == [STORED]
    assert await counts(bench) == (1, 1, {"CT": 1})
    rows = await bench.rows()
    time = keys.newest_first(bench.clock.now)
    others = ["e!1.2.3!1.2.3.1", "i!1.2.3!1.2.3.1!1.2.3.1.1", "s!1.2.3", "v!00080060!ct"]
    assert [row for row in rows if row[0] != "x"] == others
    assert f"x!studies!{time}!1.2.3" in rows
    assert f"x!00100010!doe_5ejane!{time}!1.2.3" in rows
    assert f"x!00100010t!-20jane!{time}!1.2.3" in rows
    assert f"x!00100020!p1!{time}!1.2.3" in rows
    assert f"x!00080020!79799898!{time}!1.2.3" in rows
    assert f"x!00080061!ct!{time}!1.2.3" in rows
    assert f"x!00080018!1.2.3.1.1!{time}{time}!1.2.3!1.2.3.1!1.2.3.1.1" in rows


async def test_an_instance_that_exists_is_not_stored_again_and_its_neighbours_are(bench: Bench) -> None:
    first = instance(sop="1.2.3.1.7")
    await store(bench, first)
    again, other = instance(sop="1.2.3.1.7"), instance(sop="1.2.3.1.8")
    assert await store(bench, again, other) == [EXISTS, STORED]
    assert await listed(bench) == {first.version, other.version}
    assert await counts(bench) == (2, 1, {"CT": 1})


async def test_of_the_same_instance_twice_in_one_batch_the_first_is_stored(bench: Bench) -> None:
    first, second = instance(sop="1.2.3.1.7"), instance(sop="1.2.3.1.7")
    assert await store(bench, first, second) == [STORED, EXISTS]
    assert await listed(bench) == {first.version}


async def test_a_replaced_instance_keeps_the_count_and_leaves_its_old_blob_to_the_sweep(bench: Bench) -> None:
    old, new = instance(sop="1.2.3.1.7", name="Doe^Jane"), instance(sop="1.2.3.1.7", name="Roe^Jane")
    await store(bench, old)
    assert await store(bench, new, replaces=True) == [STORED]
    assert await listed(bench) == {new.version}
    assert await counts(bench) == (1, 1, {"CT": 1})
    rows = await bench.rows("x!00100010!")
    assert [row.split("!")[2] for row in rows] == ["roe_5ejane"]
    notes = [note async for _, _, note in bench.archive.notes.list_due(bench.clock.now + bench.clock.grace)]
    assert [note.blobs for note in notes if hasattr(note, "blobs")] == [(old.version,)]


async def test_replacing_the_same_instance_twice_in_one_batch_leaves_the_last(bench: Bench) -> None:
    first, second = instance(sop="1.2.3.1.7"), instance(sop="1.2.3.1.7")
    assert await store(bench, first, second, replaces=True) == [STORED, STORED]
    assert await listed(bench) == {second.version}
    assert await counts(bench) == (1, 1, {"CT": 1})


async def test_the_newest_values_of_a_study_win_but_empty_ones_do_not(bench: Bench) -> None:
    await store(bench, instance(patient_id="P1", name="Doe^Jane"))
    await store(bench, instance(name="Roe^Jane", **{"00100020": {"vr": "LO"}}))
    found = await bench.archive.index.get_study("1.2.3")
    assert found is not None
    assert found.attributes["00100010"]["Value"] == [{"Alphabetic": "Roe^Jane"}]
    assert found.attributes["00100020"]["Value"] == ["P1"]


async def test_concurrent_stores_of_one_study_share_transactions(bench: Bench) -> None:
    new = [instance() for _ in range(200)]
    results = await asyncio.gather(*(store(bench, each) for each in new))
    assert [result for (result,) in results] == [STORED] * 200
    assert await counts(bench) == (200, 1, {"CT": 1})
    assert bench.calls["table transaction"] <= 200 / 40 + 2


async def test_two_processes_storing_one_study_lose_no_instance_and_no_count(azurite: Azurite) -> None:
    name = f"t{secrets.token_hex(8)}"
    async with another_bench(azurite, name) as one, another_bench(azurite, name) as two:
        new = [instance(series=f"1.2.3.{number % 3}") for number in range(60)]

        async def store_half(bench: Bench, half: Sequence[NewInstance]) -> None:
            for each in half:
                assert await store(bench, each) == [STORED]

        await asyncio.gather(store_half(one, new[::2]), store_half(two, new[1::2]))
        assert await counts(one) == (60, 3, {"CT": 3})
        assert await listed(two) == {each.version for each in new}


async def test_the_same_instance_stored_by_two_processes_exists_once(azurite: Azurite) -> None:
    name = f"t{secrets.token_hex(8)}"
    async with another_bench(azurite, name) as one, another_bench(azurite, name) as two:
        for number in range(10):
            sop = f"1.2.3.1.{number}"
            results = await asyncio.gather(store(one, instance(sop=sop)), store(two, instance(sop=sop)))
            assert sorted(result.value for (result,) in results) == ["exists", "stored"]
        assert await counts(one) == (10, 1, {"CT": 1})


async def test_a_study_of_ever_more_modalities_can_be_stored_to_renamed_and_deleted(bench: Bench) -> None:
    new = [instance(series=f"1.2.3.{number}", modality=f"M{number}") for number in range(250)]
    for start in range(0, 250, 50):
        assert set(await store(bench, *new[start : start + 50])) == {STORED}
    assert await store(bench, instance(name="Another^Name", modality="ZZ")) == [STORED]
    found = await bench.archive.index.get_study("1.2.3")
    assert found is not None and found.instances == 251 and len(found.modalities) <= 200
    for start in range(0, 250, BATCH):
        await bench.archive.committer.delete("1.2.3", [each.key for each in new[start : start + BATCH]])
    found = await bench.archive.index.get_study("1.2.3")
    assert found is not None and found.instances == 1


async def test_an_instance_the_index_cannot_take_fails_alone(bench: Bench) -> None:
    # A sequence of characters beyond the BMP takes twice the space its length suggests.
    huge = {f"0010{number:04X}": {"vr": "LT", "Value": ["\U00020000" * 10_000]} for number in (0x4000, 0x21B0, 0x2180)}
    assert await store(bench, instance(sop="1.2.3.1.1", **huge)) == [STORED]
    bench.clock.now += 1
    impossible = replace(instance(sop="1.2.3.1.2"), transfer_syntax="x" * 40_000)
    good = [instance(sop=f"1.2.3.1.{number}") for number in range(3, 9)]
    assert await store(bench, *good[:3], impossible, *good[3:]) == [STORED] * 3 + [CommitResult.REFUSED] + [STORED] * 3
    assert await counts(bench) == (7, 1, {"CT": 1})


class BreakingConnection:
    """Runs a transaction and then breaks the connection before its answer arrives, so many times."""

    def __init__(self, bench: Bench, times: int) -> None:
        self._submit = bench.table._client.submit_transaction
        self.left = times

    async def __call__(self, operations: Any, **options: Any) -> Any:
        answer = await self._submit(operations, **options)
        if self.left:
            self.left -= 1
            raise ServiceResponseError("the connection was closed")
        return answer


@pytest.mark.parametrize("replaces", [False, True], ids=["post", "put"])
async def test_a_commit_whose_connection_broke_is_success_and_counts_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    await store(bench, instance(sop="1.2.3.1.1"))
    breaking = BreakingConnection(bench, 1)
    monkeypatch.setattr(bench.table._client, "submit_transaction", breaking)
    new = [instance(sop="1.2.3.1.1" if replaces else "1.2.3.1.2"), instance(sop="1.2.3.1.3")]
    assert await store(bench, *new, replaces=replaces) == [STORED, STORED]
    assert breaking.left == 0
    assert await counts(bench) == (2 if replaces else 3, 1, {"CT": 1})
    monkeypatch.setattr(bench.table._client, "submit_transaction", BreakingConnection(bench, 1))
    await bench.archive.committer.delete("1.2.3", [new[0].key])
    assert await counts(bench) == (1 if replaces else 2, 1, {"CT": 1})


async def test_copies_of_one_instance_in_one_request_take_no_transaction_each(bench: Bench) -> None:
    results = await store(bench, *(instance(sop="1.2.3.1.1") for _ in range(100)))
    assert results == [STORED] + [EXISTS] * 99
    assert bench.calls["table transaction"] == 2  # the commit, and the study's text rows


class LosingAnswers:
    """Runs every transaction and then says that it failed, as a retry whose first answer was lost finds it."""

    def __init__(self, bench: Bench, answer: Any, times: int) -> None:
        self._commit = bench.table.commit
        self._answer = answer
        self.left = times

    async def __call__(self, partition: str, operations: Sequence[Operation]) -> Committed | Clash | Stale:
        result = await self._commit(partition, operations)
        if self.left:
            self.left -= 1
            assert isinstance(result, Committed)
            answer: Clash | Stale = self._answer
            return answer
        return result


@pytest.mark.parametrize("answer", [Clash(0), Stale()], ids=["clash", "stale"])
@pytest.mark.parametrize("replaces", [False, True], ids=["post", "put"])
async def test_a_commit_whose_answer_was_lost_is_success_and_counts_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, answer: Clash | Stale, replaces: bool
) -> None:
    await store(bench, instance(sop="1.2.3.1.1"))
    losing = LosingAnswers(bench, answer, 1)
    monkeypatch.setattr(bench.table, "commit", losing)
    new = [instance(sop="1.2.3.1.1" if replaces else "1.2.3.1.2"), instance(sop="1.2.3.1.3")]
    assert await store(bench, *new, replaces=replaces) == [STORED, STORED]
    assert losing.left == 0
    assert await counts(bench) == (2 if replaces else 3, 1, {"CT": 1})
    assert {each.version for each in new} <= await listed(bench)


async def test_a_delete_whose_answer_was_lost_is_success(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await store(bench, instance(sop="1.2.3.1.1"), instance(sop="1.2.3.1.2"))
    monkeypatch.setattr(bench.table, "commit", LosingAnswers(bench, Stale(), 1))
    await bench.archive.committer.delete("1.2.3", [InstanceKey("1.2.3", "1.2.3.1", "1.2.3.1.1")])
    assert await counts(bench) == (1, 1, {"CT": 1})


async def test_a_study_of_many_series_takes_as_many_transactions_as_it_needs(bench: Bench) -> None:
    new = [instance(series=f"1.2.3.{number}", modality=f"M{number}") for number in range(60)]
    assert set(await store(bench, *new)) == {STORED}
    found = await bench.archive.index.get_study("1.2.3")
    assert found is not None
    assert (found.instances, found.series, len(found.modalities)) == (60, 60, 60)
    assert len(await bench.rows("x!00080061!")) == MAX_MODALITIES


async def test_rows_that_together_pass_the_size_limit_are_spread_over_transactions(bench: Bench) -> None:
    new = [instance(metadata=secrets.token_bytes(59_000)) for _ in range(BATCH + 5)]
    assert set(await store(bench, *new)) == {STORED}
    assert await counts(bench) == (BATCH + 5, 1, {"CT": 1})
    assert bench.calls["table transaction"] >= 2


async def test_a_caller_that_goes_away_interrupts_nobody_else(bench: Bench) -> None:
    leaving = asyncio.create_task(store(bench, instance(sop="1.2.3.1.1")))
    staying = asyncio.create_task(store(bench, instance(sop="1.2.3.1.2")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == [STORED]
    await asyncio.gather(leaving, return_exceptions=True)


async def test_a_failing_commit_fails_its_own_callers_and_not_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = bench.table.commit

    async def failing(partition: str, operations: Sequence[Operation]) -> Committed | Clash | Stale:
        monkeypatch.setattr(bench.table, "commit", commit)
        raise RuntimeError("the network is gone")

    monkeypatch.setattr(bench.table, "commit", failing)
    with pytest.raises(RuntimeError):
        await store(bench, instance())
    assert await store(bench, instance()) == [STORED]
    assert await counts(bench) == (1, 1, {"CT": 1})


async def test_deleting_the_last_instance_leaves_no_row_but_the_note_of_its_blob(bench: Bench) -> None:
    new = [instance(series="1.2.3.1", modality="CT"), instance(series="1.2.3.2", modality="MR")]
    await store(bench, *new)
    await bench.archive.committer.delete("1.2.3", [new[0].key])
    assert await counts(bench) == (1, 1, {"MR": 1})
    assert await bench.archive.index.get_series("1.2.3", "1.2.3.1") is None
    assert [row.split("!")[2] for row in await bench.rows("x!00080061!")] == ["mr"]
    await bench.archive.committer.delete("1.2.3", [new[1].key])
    assert [row[0] for row in await bench.rows()] == ["g", "g", "v", "v"]


async def test_a_search_row_that_is_missing_does_not_make_a_study_immortal(bench: Bench) -> None:
    new = instance()
    await store(bench, new)
    (row,) = await bench.rows("x!00100020!")
    partition = await bench.archive.index.partition_of("1.2.3")
    assert isinstance(await bench.table.commit(partition, [Operation("delete", row)]), Committed)
    await bench.archive.committer.delete("1.2.3", [new.key])
    assert [each[0] for each in await bench.rows()] == ["g", "v"]


@pytest.mark.parametrize("replaces", [False, True], ids=["post", "put"])
async def test_hostile_names_in_place_of_hostile_names_are_committed_in_one_transaction_each(
    bench: Bench, replaces: bool
) -> None:
    for turn in "ab":
        name = "=".join(" ".join(f"{turn}{group}{word}" for word in range(20)) for group in range(3))
        referring = {"00080090": {"vr": "PN", "Value": [{"Alphabetic": name + "x"}]}}
        others = {
            "00100030": {"vr": "DA", "Value": ["19700101" if turn == "a" else "19700102"]},
            "00080050": {"vr": "SH", "Value": [f"A{turn}"]},
            "00081030": {"vr": "LO", "Value": [f"D{turn}"]},
        }
        sop = "1.2.3.1.1" if replaces else f"1.2.3.1.{turn == 'a':d}"
        new = instance(
            sop=sop, name=name, patient_id=turn, modality=turn, date=f"2020010{turn == 'a':d}", **referring, **others
        )
        assert await store(bench, new, replaces=replaces) == [STORED]
    found = await counts(bench)
    assert found is not None and found[:2] == (1 if replaces else 2, 1)
    # Two commits; then 406 text rows to write, and 406 to write and 400 to remove, 99 at a time.
    assert bench.calls["table transaction"] <= 2 + 5 + 9
    assert not await bench.rows("x!backlog!")
    await bench.archive.committer.delete("1.2.3", [instance(sop="1.2.3.1.1").key])


@pytest.mark.parametrize(("number", "series"), [(45, 1), (30, 30), (90, 1), (100, 7)])
async def test_a_whole_study_can_be_deleted_whatever_its_shape(bench: Bench, number: int, series: int) -> None:
    new = [instance(series=f"1.2.3.{each % series}", modality=f"M{each % series}") for each in range(number)]
    await store(bench, *new)
    for start in range(0, number, BATCH):
        await bench.archive.committer.delete("1.2.3", [each.key for each in new[start : start + BATCH]])
    assert {row[0] for row in await bench.rows()} == {"g", "v"}


async def test_the_number_of_buckets_is_the_one_the_table_was_made_with(azurite: Azurite) -> None:
    name = f"t{secrets.token_hex(8)}"
    async with another_bench(azurite, name, buckets=2) as first:
        await store(first, instance())
    async with another_bench(azurite, name, buckets=64) as second:
        assert len(await second.archive.index.partitions()) == 2
        assert await counts(second) == (1, 1, {"CT": 1})


async def test_what_was_handed_over_can_be_waited_for_though_whoever_did_so_has_gone_away(bench: Bench) -> None:
    new = [instance() for _ in range(2 * BATCH)]
    task = asyncio.create_task(store(bench, *new))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.archive.committer.finish()
    assert await counts(bench) == (2 * BATCH, 1, {"CT": 1})
    await bench.archive.committer.finish()


async def test_an_instance_may_say_when_it_was_stored(bench: Bench) -> None:
    await store(bench, replace(instance(sop="1.2.3.1.1"), created=17), instance(sop="1.2.3.1.2"))
    study = await bench.archive.index.get_study("1.2.3")
    assert study is not None and study.created == 17
    found = {
        each.key.instance: each.created async for page in bench.archive.index.list_instances("1.2.3") for each in page
    }
    assert found["1.2.3.1.1"] == 17 < found["1.2.3.1.2"]


@pytest.mark.parametrize("moment", ["before it begins", "while it writes"])
async def test_a_program_that_is_stopped_while_it_commits_comes_to_an_end(bench: Bench, moment: str) -> None:
    table, committer = bench.table, bench.archive.committer
    writes = asyncio.Event()

    async def hang(*_: object) -> CommitAnswer:
        writes.set()
        return await asyncio.Future()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "commit", hang)
        waiting = [asyncio.create_task(committer.store([instance()], replaces=False)) for _ in range(BATCH + 5)]
        await (asyncio.sleep(0) if moment == "before it begins" else writes.wait())
        for task in asyncio.all_tasks() - {asyncio.current_task(), *waiting}:
            task.cancel()  # as the second Ctrl-C does
        told = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert [str(each) for each in told] == ["the commit was broken off"] * len(waiting)
    await asyncio.wait_for(committer.finish(), 5)
    assert await committer.store([instance()], replaces=False) == [STORED]
