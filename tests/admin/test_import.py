"""Files come into the archive as they are, once, whatever lies beside them and whenever it is interrupted."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob.aio import ContainerClient

from admin.importing import GROUP_FILES, Imported, Importer
from admin.journal import Journal
from admin.sources import ContainerSource, ContainerUrl, FolderSource, Source, SourceFile, Unreadable, container_url
from local.azurite import Azurite
from shared.errors import SettingError, Unavailable
from shared.model import Scope
from shared.storage.blobs import BlobStore
from tests.admin.conftest import Silence, Tally
from tests.admin.test_rebuild import ONE, TWO, of
from tests.services.conftest import Services, odd_instance

LIMIT = 2**20


async def import_all(
    services: Services,
    source: Source,
    journal: Path | None = None,
    *,
    replaces: bool = False,
    limit: int = LIMIT,
) -> dict[Imported, int]:
    """What became of the files."""
    tally = Tally[Imported](Silence())
    with Journal(journal, "archive") as opened:
        await Importer(services.store, opened, replaces, limit, Silence(), tally).run(source)
    return {kind: count for kind, count in tally.counts.items() if count}


def folder_of(tmp_path: Path, files: dict[str, bytes]) -> FolderSource:
    for name, data in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return FolderSource(tmp_path / "in")


async def test_a_folder_is_imported_with_all_below_it(services: Services, tmp_path: Path) -> None:
    source = folder_of(
        tmp_path,
        {
            "a.dcm": of(ONE, 1, 1),
            "below/no extension": of(ONE, 1, 2),
            "below/further/c.IMA": of(TWO, 1, 1, PatientID=""),
            "below/again": of(ONE, 1, 1),
            "below/bad.dcm": odd_instance(study="no uid"),
            "below/cut.dcm": of(ONE, 1, 3)[:140],
            "odd": odd_instance(study=TWO, sop="1.2.9", PatientBirthDate="yesterday"),
            "DICOMDIR": of(ONE, 1, 4),
            "notes.txt": b"nothing of interest",
            "empty": b"",
            "large": of(TWO, 2, 1, rows=1024, columns=1024),
        },
    )
    assert await import_all(services, source) == {
        Imported.STORED: 2,
        Imported.STORED_IN_PART: 2,
        Imported.EXISTS: 1,
        Imported.NO_DICOM: 2,
        Imported.DIRECTORY: 1,
        Imported.CANNOT_UNDERSTAND: 2,
        Imported.TOO_LARGE: 1,
    }
    stored = await services.files(Scope(ONE))
    assert [data for _, data in stored] == [of(ONE, 1, 1), of(ONE, 1, 2)]
    assert len(await services.files(Scope(TWO))) == 2


async def test_what_is_stored_already_stays_unless_it_is_to_be_replaced(services: Services, tmp_path: Path) -> None:
    await services.put_well(of(ONE, 1, 1))
    source = folder_of(tmp_path, {"new": of(ONE, 1, 1, rows=12)})
    assert await import_all(services, source) == {Imported.EXISTS: 1}
    assert await services.files(Scope(ONE)) == [("1.2.840.10008.1.2.1", of(ONE, 1, 1))]
    assert await import_all(services, source, replaces=True) == {Imported.STORED: 1}
    assert await services.files(Scope(ONE)) == [("1.2.840.10008.1.2.1", of(ONE, 1, 1, rows=12))]


async def test_files_are_committed_in_groups(services: Services, tmp_path: Path) -> None:
    number = GROUP_FILES + 20
    source = folder_of(tmp_path, {f"{each:04}": of(ONE, 1, each) for each in range(number)})
    services.bench.calls.clear()
    assert await import_all(services, source) == {Imported.STORED: number}
    assert await services.count(ONE) == number
    assert services.bench.calls["table transaction"] <= number / 40 + 4


async def test_a_file_that_cannot_be_read_or_changes_harms_no_other(services: Services, tmp_path: Path) -> None:
    source = folder_of(tmp_path, {name: of(ONE, 1, number) for number, name in enumerate("abcd")})
    listed = [file async for file in source.files()]

    class AsListed:
        """The files as they were before one was deleted, one cut and one became longer."""

        async def files(self) -> AsyncIterator[SourceFile | Unreadable]:
            yield Unreadable("a folder that may not be listed")
            for file in listed:
                yield file

    (tmp_path / "in" / "a").unlink()
    (tmp_path / "in" / "b").write_bytes(of(ONE, 1, 1)[:-2])
    (tmp_path / "in" / "d").write_bytes(of(ONE, 1, 3) + b"more")
    assert await import_all(services, AsListed()) == {Imported.STORED: 1, Imported.UNREADABLE: 4}
    assert [data for _, data in await services.files(Scope(ONE))] == [of(ONE, 1, 2)]
    assert len(await services.bench.blobs()) == 1


async def test_an_entry_nobody_can_look_at_is_told_by_name_and_harms_no_other(
    services: Services, tmp_path: Path
) -> None:
    source = folder_of(tmp_path, {"a": of(ONE, 1, 1), "below/b": of(ONE, 1, 2)})
    (tmp_path / "in" / "circle").symlink_to("circle")
    (tmp_path / "in" / "through").symlink_to("a/x")
    found = [each async for each in source.files()]
    assert [Path(each.name).name for each in found if isinstance(each, Unreadable)] == ["circle", "through"]
    assert await import_all(services, source) == {Imported.STORED: 2, Imported.UNREADABLE: 2}


async def test_links_to_files_are_followed_and_links_to_folders_are_not(services: Services, tmp_path: Path) -> None:
    source = folder_of(tmp_path, {"real/a": of(ONE, 1, 1), "b": of(ONE, 1, 2)})
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "in" / "b")
    (tmp_path / "in" / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "in" / "pipe")
    assert await import_all(services, source) == {Imported.STORED: 2, Imported.EXISTS: 1}


# Journal


async def test_what_the_journal_has_is_not_read_again(services: Services, tmp_path: Path) -> None:
    files = {"a": of(ONE, 1, 1), "b": of(ONE, 1, 2), "c": b"no DICOM", "d": odd_instance(study="no uid")}
    source, journal = folder_of(tmp_path, files), tmp_path / "journal"
    first = await import_all(services, source, journal)
    assert first == {Imported.STORED: 2, Imported.NO_DICOM: 1, Imported.CANNOT_UNDERSTAND: 1}
    # What failed is tried again, and so is what has changed.
    (tmp_path / "in" / "a").write_bytes(of(ONE, 1, 3))
    services.bench.calls.clear()
    second = await import_all(services, source, journal)
    assert second == {Imported.STORED: 1, Imported.DONE_BEFORE: 2, Imported.CANNOT_UNDERSTAND: 1}
    assert services.bench.calls["blob put"] == 1


async def test_a_journal_names_nothing(services: Services, tmp_path: Path) -> None:
    await import_all(services, folder_of(tmp_path, {"DOE^JANE.dcm": of(ONE, 1, 1)}), tmp_path / "journal")
    data = (tmp_path / "journal").read_bytes()
    assert b"DOE" not in data and ONE.encode() not in data


def test_a_journal_is_of_one_archive_and_of_one_import_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, "one") as journal:
        journal.add([b"a"])
        assert b"a" in journal and b"b" not in journal
        with pytest.raises(SettingError, match="locked"):
            Journal(path, "one")
    with pytest.raises(SettingError, match="another archive"):
        Journal(path, "two")
    with Journal(path, "one") as journal:
        assert b"a" in journal
    path.write_bytes(b"a file of another kind, which is left as it is")
    with pytest.raises(SettingError, match="cannot be used"):
        Journal(path, "one")
    assert path.read_bytes().startswith(b"a file")
    with pytest.raises(SettingError, match="cannot be used"):
        Journal(tmp_path / "nowhere" / "journal", "one")


@pytest.mark.parametrize("error", [Unavailable("busy"), asyncio.CancelledError()], ids=["storage", "interrupted"])
async def test_an_import_that_stopped_is_gone_on_with(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    number = 2 * GROUP_FILES
    source = folder_of(tmp_path, {f"{each:04}": of(ONE, 1, each) for each in range(number)})
    store, calls = services.archive.committer.store, iter(range(100))

    async def stopping(*arguments: Any, **options: Any) -> Any:
        if next(calls):
            raise error
        return await store(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr("admin.importing.GROUPS_AT_ONCE", 1)
        patched.setattr(services.archive.committer, "store", stopping)
        with pytest.raises(type(error)):
            await import_all(services, source, tmp_path / "journal")
    assert await services.count(ONE) == GROUP_FILES
    result = await import_all(services, source, tmp_path / "journal")
    assert result == {Imported.DONE_BEFORE: GROUP_FILES, Imported.STORED: GROUP_FILES}
    assert await services.count(ONE) == number


# Containers


async def test_a_container_is_imported_as_a_folder_is(
    services: Services, azurite: Azurite, name: str, tmp_path: Path
) -> None:
    files = {"p/a.dcm": of(ONE, 1, 1), "p/q/b": of(ONE, 1, 2), "p/c": b"no DICOM", "other/d": of(TWO, 1, 1)}
    async with ContainerClient.from_connection_string(azurite.connection_string, f"{name}in") as client:
        await client.create_container()
        for path, data in files.items():
            await client.upload_blob(path, data)
        source = ContainerSource(BlobStore(client), client.url, "p/")
        journal = tmp_path / "journal"
        assert await import_all(services, source, journal) == {Imported.STORED: 2, Imported.NO_DICOM: 1}
        await client.upload_blob("p/a.dcm", of(ONE, 1, 5), overwrite=True)
        assert await import_all(services, source, journal) == {Imported.STORED: 1, Imported.DONE_BEFORE: 2}
    assert await services.count(ONE) == 3
    assert await services.count(TWO) == 0


def test_a_container_url_is_taken_apart() -> None:
    account = "https://account.blob.core.windows.net"
    assert container_url(f"{account}/in") == ContainerUrl(account, "in", "")
    assert container_url(f"{account}/in/2024/A%20B") == ContainerUrl(account, "in", "2024/A B")


@pytest.mark.parametrize(
    "url",
    [
        "in",
        "http://account.blob.core.windows.net/in",
        "https://account.blob.core.windows.net/",
        "https:///in",
        "https://account.blob.core.windows.net/in?sv=2024&sig=secret",
        "https://user:secret@account.blob.core.windows.net/in",
    ],
)
def test_a_container_url_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingError) as refused:
        container_url(url)
    assert "secret" not in str(refused.value)
