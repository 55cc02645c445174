"""Verifying finds each thing that can be wrong, and nothing where nothing is."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import NotFound
from shared.model import InstanceKey, Scope
from shared.services.examining import FAULTS, Verified
from shared.services.verify import VerifyService
from shared.storage import keys
from shared.storage.notes import Garbage
from shared.storage.rows import series_columns, study_columns
from shared.storage.table import Operation
from shared.storage.texts import backlog_of
from tests.admin.conftest import Silence, Tally, rebuild
from tests.admin.test_rebuild import ONE, fill, of
from tests.services.conftest import DAY, Services

SERIES = f"{ONE}.1"
KEY = InstanceKey(ONE, SERIES, f"{SERIES}.1")


async def verify(services: Services) -> tuple[dict[Verified, int], list[tuple[str, ...]]]:
    """What is wrong, and what it is called."""
    silence = Silence()
    tally = Tally[Verified](silence)
    await VerifyService(services.archive, services.clock, orphan_age=DAY).verify(silence, tally)
    return {kind: count for kind, count in tally.counts.items() if count and kind in FAULTS}, silence.details


async def change(services: Services, *operations: Operation) -> None:
    """Change rows of study ONE behind everybody's back."""
    partition = await services.archive.index.partition_of(ONE)
    answer = await services.bench.table.commit(partition, list(operations))
    assert type(answer).__name__ == "Committed", answer


async def test_nothing_is_wrong_with_what_the_service_does(services: Services, anew: Services) -> None:
    files = await fill(services)
    await services.put_well(of(ONE, 1, 1, rows=12, PatientName="Other"), replaces=True)
    await services.delete.delete(Scope(ONE, f"{ONE}.2"))
    silence = Silence()
    tally = Tally[Verified](silence)
    await VerifyService(services.archive, services.clock, orphan_age=DAY).verify(silence, tally)
    blobs = len(await services.bench.blobs())
    assert dict(tally.counts) == {
        Verified.STUDIES: 3,
        Verified.INSTANCES: len(files) - 2,
        Verified.BLOBS: blobs,
        Verified.NOTED: 3,
        Verified.FOREIGN: 0,
    }
    assert silence.details == []
    services.clock.now += services.clock.grace + 1
    await services.sweep.sweep()
    assert await verify(services) == ({}, [])
    await rebuild(anew, idle=True)
    assert await verify(anew) == ({}, [])


async def test_an_empty_archive_is_in_order(services: Services) -> None:
    assert await verify(services) == ({}, [])


# Rows and their blobs


async def version_of(services: Services, key: InstanceKey = KEY) -> str:
    found = await services.archive.index.get_instance(key)
    assert found is not None
    return found.version


async def test_a_row_without_its_blob(services: Services) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    version = await version_of(services)
    await services.archive.blobs.delete([version])
    assert await verify(services) == (
        {Verified.BLOB_GONE: 1},
        [("blob-gone", KEY.study, KEY.series, KEY.instance, version)],
    )


async def test_a_blob_of_another_length_and_one_of_another_instance(services: Services) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    other = InstanceKey(ONE, SERIES, f"{SERIES}.2")
    length = len(of(ONE, 1, 2))
    await services.archive.blobs.put(await version_of(services), b"short", KEY)
    await services.archive.blobs.put(await version_of(services, other), bytes(length), KEY)
    found, _ = await verify(services)
    assert found == {Verified.BLOB_LENGTH: 1, Verified.BLOB_OWNER: 1}


async def test_a_sidecar_that_is_missing_and_one_too_many(services: Services) -> None:
    await fill(services)
    metadata, frames = [name for name in await services.bench.blobs() if "." in name][:2]
    await services.archive.blobs.delete([metadata])
    version = await version_of(services)
    await services.archive.blobs.put(keys.bulk_blob(version), b"{}", KEY)
    services.clock.now += 2 * DAY
    found, details = await verify(services)
    assert found == {Verified.SIDECAR_GONE: 1, Verified.SIDECAR_SURPLUS: 1}
    assert details[1] == ("sidecar-surplus", version)
    assert metadata in details[0] and frames not in details[0]


async def test_a_blob_without_a_row_once_it_is_too_old_for_a_store_under_way(services: Services) -> None:
    version = services.version()
    await services.archive.blobs.put(version, b"left over", KEY)
    assert await verify(services) == ({}, [])
    services.clock.now += DAY + 1000
    assert await verify(services) == ({Verified.NO_ROW: 1}, [("no-row", version)])
    await services.sweep.find_orphans()
    assert await verify(services) == ({}, [])


async def test_a_blob_that_is_about_to_be_deleted_though_a_row_names_it(services: Services) -> None:
    await services.put_well(of(ONE, 1, 1))
    version = await version_of(services)
    await services.archive.notes.add(ONE, services.clock.now, "x", Garbage((version,)))
    assert (await verify(services))[0] == {Verified.BLOB_DOOMED: 1}


# Counts


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"instances": 3}, 1),
        ({"series": 2}, 1),
        ({"modalities": {"CT": 1}}, 1),
    ],
)
async def test_a_study_with_wrong_counts(services: Services, changed: dict[str, Any], found: int) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    study = await services.archive.index.get_study(ONE)
    assert study is not None
    await change(services, Operation("put", keys.study_row(ONE), study_columns(replace(study, **changed))))
    assert (await verify(services))[0][Verified.COUNT] == found


async def test_a_series_with_a_wrong_count(services: Services) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    series = await services.archive.index.get_series(ONE, SERIES)
    assert series is not None
    columns = series_columns(replace(series, instances=1))
    await change(services, Operation("put", keys.series_row(ONE, SERIES), columns))
    assert await verify(services) == ({Verified.COUNT: 1}, [("count", ONE, SERIES)])


async def test_rows_without_the_rows_above_them(services: Services) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 2, 1))
    await change(services, Operation("delete", keys.series_row(ONE, SERIES)))
    found, details = await verify(services)
    assert found[Verified.ROW_ALONE] == 1 and found[Verified.COUNT] == 1
    assert ("row-alone", *vars_of(KEY)) in details
    await change(services, Operation("delete", keys.study_row(ONE)))
    found, details = await verify(services)
    assert found[Verified.ROW_ALONE] == 3 and Verified.COUNT not in found


def vars_of(key: InstanceKey) -> tuple[str, str, str]:
    return key.study, key.series, key.instance


# Search rows, text rows and vocabularies


async def one_row(services: Services, prefix: str) -> str:
    """The first row that begins so, which is of study ONE."""
    return (await services.bench.rows(prefix))[0]


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        ("x!studies!", Verified.SEARCH_MISSING),
        ("x!00100010!", Verified.SEARCH_MISSING),
        ("x!0020000E!", Verified.SEARCH_MISSING),
        ("x!00080018!", Verified.SEARCH_MISSING),
        ("x!00100010t!", Verified.TEXT_MISSING),
        ("x!00081090!", Verified.SEARCH_MISSING),
        ("v!00080060!", Verified.VOCABULARY_MISSING),
    ],
)
async def test_a_row_to_search_by_that_is_missing(services: Services, prefix: str, kind: Verified) -> None:
    await services.put_well(of(ONE, 1, 1, ManufacturerModelName="Model"), of(ONE, 1, 2))
    row = await one_row(services, prefix)
    await change(services, Operation("delete", row))
    assert await verify(services) == ({kind: 1}, [(kind.name.lower().replace("_", "-"), row)])


@pytest.mark.parametrize(
    ("tag", "uids", "kind"),
    [
        ("00100010", (ONE,), Verified.SEARCH_SURPLUS),
        ("0020000E", (ONE, "1.9"), Verified.SEARCH_SURPLUS),
        ("00080060", (ONE, SERIES), Verified.SEARCH_SURPLUS),
        ("00080018", (ONE, SERIES, "1.9"), Verified.SEARCH_SURPLUS),
        ("00100010", ("1.9",), Verified.SEARCH_SURPLUS),
        ("00100010t", (ONE,), Verified.TEXT_SURPLUS),
        ("00100010t", ("1.9",), Verified.TEXT_SURPLUS),
    ],
)
async def test_a_row_to_search_by_that_nothing_implies(
    services: Services, tag: str, uids: tuple[str, ...], kind: Verified
) -> None:
    await services.put_well(of(ONE, 1, 1))
    row = keys.search_row(tag, "nobody", keys.newest_first(1), *uids)
    await change(services, Operation("insert", row, {}))
    assert await verify(services) == ({kind: 1}, [(kind.name.lower().replace("_", "-"), row)])


async def test_a_search_row_that_says_something_else_than_its_study(services: Services) -> None:
    await services.put_well(of(ONE, 1, 1))
    row = await one_row(services, "x!00100010!")
    await change(services, Operation("put", row, {"PatientName": "somebody^else"}))
    assert await verify(services) == ({Verified.SEARCH_COLUMNS: 1}, [("search-columns", row)])


async def test_text_rows_that_a_backlog_speaks_of_are_in_order(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.put_well(of(ONE, 1, 1, PatientName="Old"))
    with monkeypatch.context() as patched:
        patched.setattr("shared.storage.commit.write_texts", lambda *_: asyncio.sleep(0))
        await services.put_well(of(ONE, 1, 1, PatientName="New"), replaces=True)
        await services.put_well(of("1.9", 1, 1))
        await services.delete.delete(Scope("1.9"))
    assert len(await services.bench.rows("x!backlog!")) >= 1
    assert await verify(services) == ({}, [])
    (row,) = [each for each in await services.bench.rows("x!backlog!") if each.endswith(ONE)]
    found = await services.bench.table.get(await services.archive.index.partition_of(ONE), row)
    assert found is not None and backlog_of(found).add
    await change(services, Operation("delete", row))
    assert (await verify(services))[0].keys() == {Verified.TEXT_MISSING, Verified.TEXT_SURPLUS}


# What nobody can read

TABLE_ROWS = {
    "the study": (f"s!{ONE}", {"attributes": "[1]"}),
    "a study without numbers": (f"s!{ONE}", {"instances": "two"}),
    "the series": (f"e!{ONE}!{SERIES}", {"attributes": "no JSON"}),
    "the instance": (keys.instance_row(KEY), {"length": "12"}),
    "a series of no study": (f"e!{ONE}", {}),
    "a note of no kind": ("g!0000000000001!a", {"kind": "zork"}),
    "a note without columns": ("g!0000000000001!b", {}),
    "a note of an owner without UIDs": (
        "g!0000000000001!c",
        {"kind": "orphan", "blobs": "x", "version": "x", "owner": "i!1"},
    ),
    "a search row of nothing": ("x!00100020", {}),
    "a search row without UIDs": ("x!00100020!p1!0", {}),
    "a search row of too many UIDs": ("x!00100020!p1!0!1!2!3!4", {}),
    "a value of no vocabulary": ("v!", {}),
    "a backlog without columns": (f"x!backlog!0!{ONE}", {}),
    "a backlog of no texts": (f"x!backlog!0!{ONE}", {"since": 1, "add": "[1]", "drop": "[]", "kept": 0}),
}


@pytest.mark.parametrize("what", TABLE_ROWS)
async def test_what_cannot_be_read_is_named_and_hides_nothing_of_other_studies(services: Services, what: str) -> None:
    row, columns = TABLE_ROWS[what]
    await services.put_well(of(ONE, 1, 1), of(ONE, 2, 1), of("1.9", 1, 1))
    await services.archive.blobs.delete([await version_of(services, InstanceKey("1.9", "1.9.1", "1.9.1.1"))])
    partition = await services.archive.index.partition_of(ONE)
    found = await services.bench.table.get(partition, row)
    await change(services, Operation("put", row, {**(found.columns if found else {}), **columns}))
    counts, details = await verify(services)
    assert counts == {Verified.MALFORMED: 1, Verified.BLOB_GONE: 1}
    assert ("malformed", row) in details


async def test_rows_in_another_bucket_than_their_study(services: Services) -> None:
    await services.put_well(of(ONE, 1, 1))
    index, table = services.archive.index, services.bench.table
    home = await index.partition_of(ONE)
    other = next(each for each in await index.partitions() if each != home)
    rows = [
        row
        for kinds in (keys.rows_of_studies(), keys.rows_of_searches())
        for each in kinds
        async for page in table.pages(home, each)
        for row in page
        if not row.key.startswith("v!")
    ]
    for row in rows:
        await table.commit(other, [Operation("put", row.key, row.columns)])
    counts, details = await verify(services)
    assert counts == {Verified.ASTRAY: len(rows)}
    assert {name for _, name in details} == {row.key for row in rows}


# Beside others


async def test_what_is_stored_and_deleted_while_it_is_verified_is_in_order(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.put_well(*(of(study, 1, number) for study in ("1.5", "1.6", "1.7") for number in range(3)))
    list_series, changes = services.archive.index.list_series, iter(range(100))

    async def with_changes(study: str) -> Any:
        number = next(changes)
        if number < 6:
            await services.put_well(of(study, 2, number, Modality="MR"), of(study, 1, 1, rows=12), replaces=True)
            with contextlib.suppress(NotFound):
                await services.delete.delete(Scope(study, f"{study}.1", f"{study}.1.{number % 3}"))
        return await list_series(study)

    monkeypatch.setattr(services.archive.index, "list_series", with_changes)
    assert await verify(services) == ({}, [])


async def test_a_study_that_never_holds_still_is_counted_as_not_checked(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    await services.archive.blobs.delete([await version_of(services)])
    list_series = services.archive.index.list_series

    async def with_changes(study: str) -> Any:
        await services.put_well(of(ONE, 1, 2), replaces=True)
        return await list_series(study)

    monkeypatch.setattr(services.archive.index, "list_series", with_changes)
    assert await verify(services) == ({Verified.BUSY: 1}, [("busy", ONE)])
