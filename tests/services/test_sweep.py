"""Deleting, and what the sweep does afterwards: garbage, deletes that died, orphans."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.dicomweb.negotiation import Resource
from shared.errors import NotFound, Unavailable
from shared.model import InstanceKey, Scope
from shared.services.delete import UNFINISHED_AFTER
from shared.services.sweep import Swept
from shared.storage import keys
from shared.storage.notes import UnfinishedDelete
from shared.storage.table import Operation
from shared.storage.text_writer import LEFT_AFTER
from tests.builders import INSTANCE, SERIES, STUDY, instance
from tests.services.conftest import AS_STORED, DAY, Services, choosing, scope_of
from tests.storage.instances import instance as row_only


async def store_rows(services: Services, number: int, study: str = STUDY) -> None:
    """Instances without blobs, of two series."""
    await services.archive.store(
        [row_only(study, f"{study}.{each % 2}", f"{study}.{each % 2}.{each}") for each in range(number)],
        replaces=False,
    )


# Delete


@pytest.mark.parametrize(
    "scope", [Scope("1.9"), Scope(STUDY, "1.9"), Scope(STUDY, SERIES, "1.9"), Scope("1.9", SERIES, INSTANCE)]
)
async def test_deleting_what_is_not_there_is_not_found_and_harms_nothing(services: Services, scope: Scope) -> None:
    await services.put_well(instance())
    with pytest.raises(NotFound):
        await services.delete.delete(scope)
    assert await services.count(STUDY) == 1


async def test_a_delete_takes_what_it_names_and_what_that_leaves_empty(services: Services) -> None:
    one, two, other = await services.put_well(
        instance(sop=f"{INSTANCE}.1"), instance(sop=f"{INSTANCE}.2"), instance(series=f"{STUDY}.7")
    )
    await services.delete.delete(scope_of(one))
    assert await services.count(STUDY) == 2
    await services.delete.delete(scope_of(two))
    assert [each.uid for each in await services.archive.index.list_series(STUDY)] == [f"{STUDY}.7"]
    await services.delete.delete(scope_of(other))
    assert await services.archive.index.get_study(STUDY) is None
    for scope in (scope_of(one), Scope(STUDY, SERIES), Scope(STUDY)):
        with pytest.raises(NotFound):
            await services.delete.delete(scope)
    assert {row[0] for row in await services.bench.rows()} == {"g", "v"}


async def test_a_large_study_and_a_series_of_it_are_deleted_whole(services: Services) -> None:
    await store_rows(services, 200)
    await services.delete.delete(Scope(STUDY, f"{STUDY}.1"))
    assert await services.count(STUDY) == 100
    await services.delete.delete(Scope(STUDY))
    assert {row[0] for row in await services.bench.rows()} == {"g", "v"}
    notes = [note async for _, _, note in services.archive.notes.list_due(2**51)]
    assert not [note for note in notes if isinstance(note, UnfinishedDelete)]


class DyingCommitter:
    """Lets some deletes through and then fails, as a process does that is killed."""

    def __init__(self, services: Services, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self._delete = services.archive.committer.delete
        self.left = left
        monkeypatch.setattr(services.archive.committer, "delete", self)

    async def __call__(self, study: str, instances: Sequence[InstanceKey], note: object = None) -> None:
        if not self.left:
            raise Unavailable("the process has died")
        self.left -= 1
        await self._delete(study, instances, note)  # type: ignore[arg-type]


@pytest.mark.parametrize("series", [None, f"{STUDY}.1"], ids=["study", "series"])
async def test_a_delete_that_died_is_finished_by_the_sweep_but_not_before_its_time(
    services: Services, series: str | None
) -> None:
    await store_rows(services, 260)
    with pytest.MonkeyPatch.context() as patched:
        DyingCommitter(services, patched, 2)
        with pytest.raises(Unavailable):
            await services.delete.delete(Scope(STUDY, series))
    left = await services.count(STUDY)
    assert 0 < left < 260
    later = row_only(STUDY, f"{STUDY}.1", f"{STUDY}.1.9999")
    await services.archive.store([later], replaces=False)

    assert (await services.sweep.sweep()).notes == 0
    assert await services.count(STUDY) == left + 1
    services.clock.now += UNFINISHED_AFTER
    done = await services.sweep.sweep()
    assert (done.notes, done.failed) == (1, 0)
    # What was stored after the delete stays.
    assert await services.count(STUDY) == (1 if series is None else 131)
    assert await services.archive.index.get_instance(later.key) is not None
    services.clock.now += UNFINISHED_AFTER
    assert not [
        note async for _, _, note in services.archive.notes.list_due(2**51) if isinstance(note, UnfinishedDelete)
    ]


async def test_a_delete_that_died_can_be_repeated(services: Services) -> None:
    await store_rows(services, 200)
    with pytest.MonkeyPatch.context() as patched:
        DyingCommitter(services, patched, 1)
        with pytest.raises(Unavailable):
            await services.delete.delete(Scope(STUDY))
    await services.delete.delete(Scope(STUDY))
    assert await services.count(STUDY) == 0
    services.clock.now += 2 * UNFINISHED_AFTER
    assert (await services.sweep.sweep()).failed == 0


# Text rows


async def test_text_rows_that_were_left_are_written_by_the_sweep_but_not_before_their_time(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("shared.storage.commit.write_texts", lambda *_: asyncio.sleep(0))
        await store_rows(services, 1)
        await store_rows(services, 1, f"{STUDY}.7")
    assert len(await services.bench.rows("x!backlog!")) == 2
    assert (await services.sweep.sweep()).texts == 0
    services.clock.now += LEFT_AFTER
    assert await services.sweep.sweep() == Swept(texts=2)
    assert await services.bench.rows("x!backlog!") == []
    assert await services.bench.rows("x!00100020t!1!")
    assert await services.sweep.sweep() == Swept()


async def test_text_rows_that_cannot_be_written_are_tried_again_and_stop_no_others(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("shared.storage.commit.write_texts", lambda *_: asyncio.sleep(0))
        await store_rows(services, 1)
        await store_rows(services, 1, f"{STUDY}.7")
    services.clock.now += LEFT_AFTER
    commit, failed = services.bench.table.commit, []

    async def failing_once(*arguments: Any) -> Any:
        if not failed:
            failed.append(arguments)
            raise Unavailable("busy")
        return await commit(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(services.bench.table, "commit", failing_once)
        assert await services.sweep.sweep() == Swept(failed=1, texts=1)
    assert await services.sweep.sweep() == Swept(texts=1)


# Garbage


async def test_a_deleted_blob_stays_for_the_grace_time_and_then_goes(services: Services) -> None:
    kept, gone = await services.put_well(instance(sop=f"{INSTANCE}.1"), instance(sop=f"{INSTANCE}.2"))
    await services.delete.delete(scope_of(gone))
    due = services.clock.now + services.clock.grace
    assert await services.sweep.sweep() == Swept()
    services.clock.now = due - 60_000_000
    assert await services.sweep.sweep() == Swept()
    assert len(await services.bench.blobs()) == 2
    services.clock.now = due + 1
    assert await services.sweep.sweep() == Swept(notes=1, blobs=1)
    stored = await services.archive.index.get_instance(kept)
    assert stored is not None
    assert await services.bench.blobs() == [stored.version]
    assert await services.sweep.sweep() == Swept()


async def test_a_download_that_has_begun_ends_well_though_its_instance_is_replaced(services: Services) -> None:
    old = instance(rows=1024, columns=1024, frames=12)
    await services.put_well(old)
    parts = await services.retrieve.instances(Scope(STUDY), choosing(Resource.STUDY, AS_STORED), certain=True)
    part = await anext(parts)
    chunks = part.content.read()
    begun = await anext(chunks)
    await services.put_well(instance(), replaces=True)
    await services.sweep.sweep()
    rest = b"".join([chunk async for chunk in chunks])
    assert begun + rest == old
    await parts.aclose()


async def test_garbage_that_cannot_be_deleted_is_tried_again_and_stops_no_other(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.put_well(instance(study="1.1", sop="1.1.1"), instance(study="1.2", sop="1.2.1"))
    for study in ("1.1", "1.2"):
        await services.delete.delete(Scope(study))
    services.clock.now += services.clock.grace
    delete, failed = services.archive.blobs.delete, []

    async def failing_once(names: Sequence[str]) -> None:
        if not failed:
            failed.append(names)
            raise Unavailable("busy")
        await delete(names)

    with monkeypatch.context() as patched:
        patched.setattr(type(services.archive.blobs), "delete", lambda _, names: failing_once(names))
        assert await services.sweep.sweep() == Swept(notes=1, failed=1, blobs=1)
    assert await services.sweep.sweep() == Swept(notes=1, blobs=1)
    assert await services.bench.blobs() == []


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ("g!0000000000000!a", {"kind": "zork"}),
        ("g!0000000000000!a", {}),
        ("g!0000000000000!a", {"kind": "orphan", "blobs": "", "version": "", "owner": "i!1.1"}),
        ("x!backlog!0!1.1", {}),
        ("x!backlog!0!1.1", {"since": "then", "add": "[]", "drop": "[]", "kept": 0}),
    ],
)
async def test_work_that_nobody_can_read_stays_and_stops_no_other(
    services: Services, row: str, columns: dict[str, Any]
) -> None:
    await services.put_well(instance(study="1.2", sop="1.2.1"))
    await services.delete.delete(Scope("1.2"))
    services.clock.now += services.clock.grace
    first, *_ = await services.archive.index.partitions()
    await services.bench.table.commit(first, [Operation("put", row, columns)])
    assert await services.sweep.sweep() == Swept(notes=1, failed=1, blobs=1)
    assert await services.sweep.sweep() == Swept(failed=1)
    assert await services.bench.table.get(first, row) is not None


# Orphans


async def orphan(services: Services, name: str = INSTANCE) -> str:
    """A blob as a store leaves it that dies before its commit; its name."""
    version = services.version()
    await services.archive.blobs.put(version, b"left over", InstanceKey(STUDY, SERIES, name))
    return version


async def test_orphans_are_found_once_they_are_old_and_then_deleted(services: Services) -> None:
    (live,) = await services.put_well(instance(sop=f"{INSTANCE}.1"))
    stored = await services.archive.index.get_instance(live)
    assert stored is not None
    # One claims an instance that is not stored, one an instance that another blob belongs to; one has sidecars.
    left = [await orphan(services), await orphan(services, live.instance)]
    await services.archive.blobs.put(keys.metadata_blob(left[0]), b"{}", InstanceKey(STUDY, SERIES, INSTANCE))

    assert (await services.sweep.find_orphans()).orphans == 0
    services.clock.now += DAY
    assert (await services.sweep.find_orphans()).orphans == 2
    assert len(await services.bench.blobs()) == 4
    services.clock.now += services.clock.grace + 1
    assert await services.sweep.sweep() == Swept(notes=2, blobs=3)
    assert await services.bench.blobs() == [stored.version]
    assert (await services.sweep.find_orphans()).orphans == 0


async def test_the_blobs_of_an_instance_whose_row_cannot_be_read_are_no_orphans(services: Services) -> None:
    (key,) = await services.put_well(instance())
    broken = Operation("put", keys.instance_row(key), {"version": "x"})
    await services.bench.table.commit(await services.archive.index.partition_of(key.study), [broken])
    await orphan(services, "1.2.9")
    services.clock.now += DAY
    assert (await services.sweep.find_orphans()).orphans == 1
    assert len(await services.bench.blobs()) == 2


async def test_a_blob_whose_store_was_only_slow_is_kept(services: Services) -> None:
    version = await orphan(services)
    services.clock.now += DAY
    assert (await services.sweep.find_orphans()).orphans == 1
    slow = row_only(STUDY, SERIES, INSTANCE)
    await services.archive.store(
        [type(slow)(**{field: getattr(slow, field) for field in slow.__slots__} | {"version": version})], replaces=False
    )
    services.clock.now += services.clock.grace + 1
    assert await services.sweep.sweep() == Swept(notes=1)
    assert await services.bench.blobs() == [version]


async def test_blobs_that_are_not_ours_are_left_alone_and_what_an_interrupted_undo_left_is_not(
    services: Services,
) -> None:
    upload = services.archive.blobs._container.upload_blob
    await upload("readme.txt", b"somebody's")
    await upload(services.version(), b"without an owner")
    services.clock.now += DAY
    assert (await services.sweep.find_orphans()).orphans == 1
    services.clock.now += services.clock.grace
    await services.sweep.sweep()
    assert await services.bench.blobs() == ["readme.txt"]


async def test_the_first_search_for_orphans_goes_on_where_it_was_interrupted(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.services.sweep.CHECKED_AT_ONCE", 2)
    left = [await orphan(services, f"{INSTANCE}.{number}") for number in range(7)]
    services.clock.now += DAY
    add_note, added = services.archive.notes.add, 0

    async def interrupted(*arguments: Any) -> None:
        nonlocal added
        added += 1
        if added == 6:
            raise Unavailable("the index answered 503")
        await add_note(*arguments)

    monkeypatch.setattr(services.archive.notes, "add", interrupted)
    with pytest.raises(Unavailable):
        await services.sweep.find_orphans()
    assert await services.archive.notes.orphans_checked() > 0
    assert (await services.sweep.find_orphans()).orphans < len(left)
    services.clock.now += services.clock.grace
    await services.sweep.sweep()
    assert await services.bench.blobs() == []


async def test_a_study_is_deleted_whole_by_a_process_whose_clock_is_behind(services: Services) -> None:
    await services.put_well(*(instance(sop=f"{INSTANCE}.{number}") for number in range(60)))
    services.clock.now -= DAY
    await services.delete.delete(Scope(STUDY))
    assert await services.count(STUDY) == 0
    assert {row[0] for row in await services.bench.rows()} == {"g", "v"}


async def test_every_orphan_is_found_once_over_many_runs(services: Services) -> None:
    found = made = 0
    for _ in range(6):
        await orphan(services)
        made += 1
        # Some runs see the rest of a span of names, others several spans.
        services.clock.now += DAY // 5
        found += (await services.sweep.find_orphans()).orphans
    services.clock.now += 2 * DAY
    found += (await services.sweep.find_orphans()).orphans
    assert (made, found) == (6, 6)
    services.clock.now += services.clock.grace + 1
    assert (await services.sweep.sweep()).blobs == 6
    assert await services.bench.blobs() == []


async def test_sweeps_at_the_same_time_do_not_disturb_one_another(services: Services) -> None:
    await services.put_well(*(instance(sop=f"{INSTANCE}.{number}") for number in range(8)))
    await services.delete.delete(Scope(STUDY, SERIES, f"{INSTANCE}.3"))
    await services.delete.delete(Scope(STUDY, SERIES, f"{INSTANCE}.4"))
    services.clock.now += services.clock.grace + DAY
    runs = await asyncio.gather(*(services.sweep.sweep() for _ in range(3)), services.sweep.find_orphans())
    assert [each.failed for each in runs] == [0] * 4
    services.clock.now += services.clock.grace
    await services.sweep.sweep()
    assert len(await services.bench.blobs()) == 6
    assert len(await services.files(Scope(STUDY))) == 6
