"""An index made anew from the blobs is the index that was."""

import asyncio
import base64
import secrets
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from shared.dicomweb.query import ALL_INSTANCES, ALL_SERIES, STUDIES
from shared.errors import SettingError, Unavailable
from shared.model import InstanceKey, NewInstance, Scope
from shared.services.rebuild import COMMIT_AFTER, SETTLED_AFTER, Rebuilding
from shared.storage import keys
from shared.storage.commit import CommitResult
from shared.storage.notes import Garbage, Orphan
from shared.storage.table import Operation
from tests.admin.conftest import index_rows, rebuild
from tests.builders import encapsulated, instance
from tests.services.conftest import Services, odd_instance, scope_of

ONE, TWO, THREE = "1.2.1", "1.2.2", "1.2.3"
LATEST = 16**13 - 1


def requested(identifier: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID = identifier
    return item


def of(study: str, series: int, number: int, **elements: Any) -> bytes:
    return instance(study=study, series=f"{study}.{series}", sop=f"{study}.{series}.{number}", **elements)


@cache
def archive_of_all_kinds() -> tuple[bytes, ...]:
    """Files of every kind that becomes different rows: large and small, in sidecars and not, odd and well formed."""
    long_text = base64.b64encode(secrets.token_bytes(120_000)).decode()
    return (
        of(
            ONE,
            1,
            1,
            PatientName="Yamada^Tarou=山田^太郎",
            StudyDescription="First words",
            Modality="CT",
            InstanceNumber=7,
        ),
        of(
            ONE, 1, 2, PatientName="Yamada^Tarou", Modality="CT", SeriesDescription="Head / neck", AccessionNumber="A-7"
        ),
        of(ONE, 2, 1, Modality="MR", ManufacturerModelName="Model *?", StudyDescription="Second words"),
        of(ONE, 2, 2, Modality="MR", rows=1024, columns=1024, frames=18),
        of(ONE, 3, 1, TextValue=long_text, RequestAttributesSequence=[requested("S1"), requested("S2")]),
        of(TWO, 1, 1, PatientID="P2", transfer_syntax=ImplicitVRLittleEndian),
        of(TWO, 1, 2, PatientID="P2", transfer_syntax=DeflatedExplicitVRLittleEndian, StudyDate="20200101"),
        encapsulated(
            [[bytes(2 * secrets.randbelow(60) + 2)] for _ in range(90_000)],
            study=TWO,
            series=f"{TWO}.2",
            sop=f"{TWO}.2.1",
        ),
        odd_instance(study=TWO, series=f"{TWO}.3", sop=f"{TWO}.3.1", PatientBirthDate="yesterday", Modality="XA"),
        *(of(THREE, 1, number, InstanceNumber=number) for number in range(60)),
    )


async def fill(services: Services) -> tuple[bytes, ...]:
    """Store all kinds of files, each study in a request of its own."""
    files = archive_of_all_kinds()
    for part in (slice(0, 5), slice(5, 9), slice(9, None)):
        await services.put_well(*files[part])
    return files


class Equal:
    """Rows of two indexes, comparable: times by their order, and without the tags that are random."""

    def __init__(self, rows: dict[str, dict[str, Any]]) -> None:
        # Times of versions and times of commits are not the same, but they follow one another in the same order.
        self._order = {
            time: f"<{place}>"
            for place, time in enumerate(sorted({r["created"] for r in rows.values() if "created" in r}))
        }
        self._spelt = {f"{LATEST - time:013x}": place for time, place in self._order.items()}
        self.rows = {self._key(key): self._columns(columns) for key, columns in rows.items()}

    def _key(self, key: str) -> str:
        for spelt, place in self._spelt.items():
            key = key.replace(spelt, place)
        return key

    def _columns(self, columns: dict[str, Any]) -> dict[str, Any]:
        return {
            name: self._order[value] if name == "created" else value for name, value in columns.items() if name != "tag"
        }


async def everything(services: Services) -> dict[str, Any]:
    """What clients can ask for: every study's metadata and files, and searches by all means."""
    found: dict[str, Any] = {}
    for study in (ONE, TWO, THREE):
        if await services.count(study):
            found[study] = [await services.metadata(Scope(study)), await services.files(Scope(study))]
    for condition in (
        {},
        {"PatientName": "yamada^tarou"},
        {"PatientName": "*mad*"},
        {"PatientName": "tarou", "fuzzymatching": "true"},
        {"StudyDescription": "*words"},
        {"ModalitiesInStudy": "M*"},
        {"StudyDate": "20200101-20241231"},
    ):
        results = await services.find(STUDIES, **condition)
        found[f"studies {condition}"] = results.data_sets
    for resource in (ALL_SERIES, ALL_INSTANCES):
        found[f"all of {resource.level}"] = (await services.find(resource, limit=200)).data_sets
    return found


async def test_an_index_made_anew_has_the_rows_that_were(services: Services, anew: Services) -> None:
    files = await fill(services)
    assert any(name.endswith(".metadata") for name in await services.bench.blobs())
    assert any(name.endswith(".frames") for name in await services.bench.blobs())
    before, blobs = await index_rows(services), await services.bench.blobs()
    assert {key.split(" ")[1][0] for key in before} == set("seixv")

    assert await rebuild(anew, idle=True) == {Rebuilding.ADDED: len(files)}

    assert Equal(await index_rows(anew)).rows == Equal(before).rows
    assert await services.bench.blobs() == blobs
    assert await everything(anew) == await everything(services)


async def test_of_replaced_and_deleted_instances_only_what_is_there_comes_back(
    services: Services, anew: Services
) -> None:
    files = await fill(services)
    await services.put_well(of(ONE, 1, 1, PatientName="Yamada^Jirou", Modality="CT", rows=12), replaces=True)
    await services.delete.delete(Scope(ONE, f"{ONE}.3"))
    await services.delete.delete(Scope(THREE, f"{THREE}.1", f"{THREE}.1.7"))
    await services.delete.delete(Scope(TWO))

    found = await rebuild(anew, idle=True, old=services.archive.notes)

    assert found == {Rebuilding.ADDED: len(files) - 6, Rebuilding.DELETED: 7}
    assert await everything(anew) == await everything(services)
    assert await services.count(TWO) == await anew.count(TWO) == 0
    assert await anew.bench.rows("g!") == []


async def test_without_the_notes_of_the_old_index_what_was_deleted_comes_back_until_the_sweep_has_come(
    services: Services, anew: Services
) -> None:
    kept, _ = await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    await services.put_well(of(ONE, 1, 1, rows=12), replaces=True)
    await services.delete.delete(Scope(ONE, f"{ONE}.1", f"{ONE}.1.2"))
    old, gone, new = await services.bench.blobs()

    assert await rebuild(anew, idle=True) == {Rebuilding.ADDED: 2, Rebuilding.SUPERSEDED: 1}

    stored = await anew.archive.index.get_instance(kept)
    assert stored is not None and stored.version == new
    notes = [note async for _, _, note in anew.archive.notes.list_due(2**51)]
    assert notes == [Orphan((old,), old, kept)]
    anew.clock.now += anew.clock.grace + 1
    await anew.sweep.sweep()
    assert await services.bench.blobs() == [gone, new]


async def test_a_rebuild_that_died_is_gone_on_with(
    services: Services, anew: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await fill(services)
    before = await index_rows(services)
    store, turn, calls = anew.archive.committer.store, asyncio.Lock(), 0

    async def dying(instances: Sequence[NewInstance], *, replaces: bool) -> list[CommitResult]:
        nonlocal calls
        async with turn:  # the first has ended when the second dies
            calls += 1
            if calls == 2:
                raise Unavailable("the index answered 503")
            return await store(instances, replaces=replaces)

    with monkeypatch.context() as patched:
        patched.setattr(anew.archive.committer, "store", dying)
        with pytest.raises(Unavailable):
            await rebuild(anew, idle=True)
    assert 0 < len(await anew.bench.rows("i!")) < len(files)

    there = len(await anew.bench.rows("i!"))
    assert await rebuild(anew, idle=True) == {Rebuilding.PRESENT: there, Rebuilding.ADDED: len(files) - there}
    assert Equal(await index_rows(anew)).rows == Equal(before).rows
    assert await rebuild(anew, idle=True) == {Rebuilding.PRESENT: len(files)}
    assert Equal(await index_rows(anew)).rows == Equal(before).rows


async def test_a_large_study_is_committed_in_few_transactions(services: Services, anew: Services) -> None:
    number = COMMIT_AFTER + 70
    await services.put_well(*(of(ONE, 1, each) for each in range(number)))
    services.bench.calls.clear()
    assert await rebuild(anew, idle=True) == {Rebuilding.ADDED: number}
    assert await anew.count(ONE) == number
    assert services.bench.calls["table transaction"] <= number / 40 + 3
    assert services.bench.calls["table query"] <= 4 + 4 + 2
    assert services.bench.calls["blob read"] == number
    assert services.bench.calls["blob put"] == 0


async def test_lost_sidecars_are_written_again(services: Services, anew: Services) -> None:
    await fill(services)
    wanted = await everything(services)
    blobs = await services.bench.blobs()
    await services.archive.blobs.delete([name for name in blobs if "." in name])
    await rebuild(anew, idle=True)
    assert await services.bench.blobs() == blobs
    assert await everything(anew) == wanted


# In an index that is there


async def test_rows_that_are_right_are_left_alone_and_lost_ones_come_back(services: Services) -> None:
    await fill(services)
    before = await index_rows(services)
    lost = InstanceKey(ONE, f"{ONE}.2", f"{ONE}.2.1")
    await services.archive.committer.delete(ONE, [lost])
    for note in await services.bench.rows("g!"):
        for partition in await services.archive.index.partitions():
            await services.archive.notes.delete(partition, note)
    assert await rebuild(services, idle=True) == {Rebuilding.PRESENT: 68, Rebuilding.ADDED: 1}
    after = await index_rows(services)
    assert after.keys() == before.keys()
    assert {key for key in after if after[key] != before[key]} <= {key for key in before if ONE in key}
    assert await services.bench.rows("g!") == []


async def test_what_is_deleted_while_a_rebuild_runs_stays_deleted(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    list_instances = services.archive.index.list_instances

    async def after_a_delete(study: str, *rest: Any) -> Any:
        await services.delete.delete(Scope(ONE, f"{ONE}.1", f"{ONE}.1.1"))
        async for page in list_instances(study, *rest):
            yield page

    monkeypatch.setattr(services.archive.index, "list_instances", after_a_delete)
    assert await rebuild(services, idle=True) == {Rebuilding.PRESENT: 1, Rebuilding.DELETED: 1}
    assert await services.count(ONE) == 1


async def test_what_a_store_may_be_busy_with_is_left_for_another_run(services: Services, anew: Services) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    services.clock.now += SETTLED_AFTER
    await services.put_well(of(ONE, 1, 2, rows=12), replaces=True)
    # The old version of the second must not come back in place of the young one, nor be taken for superfluous.
    assert await rebuild(anew) == {Rebuilding.ADDED: 1, Rebuilding.YOUNG: 1}
    assert await anew.bench.rows("g!") == []
    services.clock.now += SETTLED_AFTER
    assert await rebuild(anew) == {Rebuilding.PRESENT: 1, Rebuilding.ADDED: 1, Rebuilding.SUPERSEDED: 1}
    assert await anew.files(Scope(ONE)) == await services.files(Scope(ONE))


async def test_a_second_run_takes_over_what_happened_to_the_old_index_after_the_first(
    services: Services, anew: Services
) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2), of(ONE, 1, 3))
    assert await rebuild(anew, idle=True) == {Rebuilding.ADDED: 3}
    await services.put_well(of(ONE, 1, 1, rows=12), replaces=True)
    await services.delete.delete(Scope(ONE, f"{ONE}.1", f"{ONE}.1.2"))
    await services.put_well(of(TWO, 1, 1))
    found = await rebuild(anew, idle=True, old=services.archive.notes)
    assert found == {Rebuilding.PRESENT: 1, Rebuilding.REMOVED: 2, Rebuilding.ADDED: 2, Rebuilding.DELETED: 2}
    for study in (ONE, TWO):
        assert await anew.files(Scope(study)) == await services.files(Scope(study))


async def test_a_row_whose_blob_is_gone_stays_unless_another_version_is_there_or_it_is_to_go(
    services: Services,
) -> None:
    alone, replaced = await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    older = keys.version_id(1_600_000_000_000_000, 1)
    await services.archive.blobs.put(older, of(ONE, 1, 2, rows=12), replaced)
    rows = [await services.archive.index.get_instance(each) for each in (alone, replaced)]
    await services.archive.blobs.delete([row.version for row in rows if row])

    found = await rebuild(services, idle=True)
    assert found == {Rebuilding.ROW_ALONE: 1, Rebuilding.REMOVED: 1, Rebuilding.ADDED: 1}
    assert await services.files(scope_of(replaced)) == [("1.2.840.10008.1.2.1", of(ONE, 1, 2, rows=12))]
    assert await rebuild(services, idle=True, removes=True) == {Rebuilding.PRESENT: 1, Rebuilding.REMOVED: 1}
    assert await services.count(ONE) == 1


async def test_rows_are_not_removed_for_a_container_that_is_another_one(services: Services) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2), of(TWO, 1, 1))
    blobs = await services.bench.blobs()
    before = await index_rows(services)
    await services.archive.blobs.delete(blobs[:2])
    with pytest.raises(SettingError, match="DICOM_CONTAINER: 2 of 3 rows name blobs that it does not hold"):
        await rebuild(services, idle=True, removes=True)
    assert await index_rows(services) == before


async def test_what_a_removed_row_named_is_not_swept_away_if_it_comes_back(services: Services) -> None:
    gone, _ = await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    row = await services.archive.index.get_instance(gone)
    assert row is not None
    await services.archive.blobs.delete([row.version])
    assert await rebuild(services, idle=True, removes=True) == {Rebuilding.PRESENT: 1, Rebuilding.REMOVED: 1}
    await services.archive.blobs.put(row.version, of(ONE, 1, 1), gone)
    services.clock.now += services.clock.grace + 1
    await services.sweep.sweep()
    assert await rebuild(services, idle=True) == {Rebuilding.PRESENT: 1, Rebuilding.ADDED: 1}


async def test_a_blob_that_is_not_what_it_says_gets_no_row_and_is_not_swept_away(
    services: Services, anew: Services
) -> None:
    (key,) = await services.put_well(of(ONE, 1, 1))
    services.clock.now += 1000
    for owner, data in ((key, b"rubbish"), (InstanceKey(TWO, "1.2", "1.3"), of(ONE, 1, 9))):
        await services.archive.blobs.put(services.version(), data, owner)
    await services.archive.blobs.put("a-name-of-another-form", b"", key)
    found = await rebuild(anew, idle=True)
    assert found == {Rebuilding.UNREADABLE: 2, Rebuilding.FOREIGN: 1}
    assert await anew.bench.rows("i!") == await anew.bench.rows("g!") == []


async def test_rows_and_notes_that_cannot_be_read_leave_the_rest_to_be_rebuilt(
    services: Services, anew: Services
) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2), of(TWO, 1, 1))
    broken = InstanceKey(ONE, f"{ONE}.1", f"{ONE}.1.1")
    table, partition = services.bench.table, await services.archive.index.partition_of(ONE)
    await table.commit(partition, [Operation("put", keys.instance_row(broken), {"length": 1})])
    await table.commit(partition, [Operation("put", "g!0000000000001!a", {"kind": "zork"})])
    row = await services.archive.index.get_instance(InstanceKey(TWO, f"{TWO}.1", f"{TWO}.1.1"))
    assert row is not None
    other = await services.archive.index.partition_of(TWO)
    await table.commit(other, [Operation("delete", keys.instance_row(row.key))])
    blobs = await services.bench.blobs()
    assert await rebuild(services, idle=True, removes=True) == {Rebuilding.ADDED: 1, Rebuilding.MALFORMED: 2}
    found = await rebuild(anew, idle=True, old=services.archive.notes)
    assert found == {Rebuilding.ADDED: 3, Rebuilding.MALFORMED: 1}
    assert await services.bench.blobs() == blobs
    assert await services.bench.rows("g!") == ["g!0000000000001!a"]


async def test_a_surplus_sidecar_is_left_to_the_sweep(services: Services, anew: Services) -> None:
    (key,) = await services.put_well(of(ONE, 1, 1))
    (version,) = await services.bench.blobs()
    await services.archive.blobs.put(keys.metadata_blob(version), b"{}", key)
    assert await rebuild(anew, idle=True) == {Rebuilding.ADDED: 1, Rebuilding.SUPERSEDED: 1}
    notes = [note async for _, _, note in anew.archive.notes.list_due(2**51)]
    assert notes == [Garbage((keys.metadata_blob(version),))]
