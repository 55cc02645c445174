"""Instances come out as they went in, whole or not at all, and nowhere but in the folder."""

from pathlib import Path

import pydicom
import pytest

from admin.exporting import Exported, Exporter
from admin.sources import FolderSource
from shared.errors import NotFound, Unavailable
from shared.model import InstanceKey, NewInstance, Scope
from shared.storage import keys
from shared.storage.table import Operation
from tests.admin.conftest import Silence, Tally
from tests.admin.test_import import import_all
from tests.admin.test_rebuild import ONE, THREE, TWO, fill, of
from tests.builders import encapsulated
from tests.services.conftest import Services
from tests.storage.instances import instance as row_only

RLE = "1.2.840.10008.1.2.5"


async def export(
    services: Services, folder: Path, scope: Scope | None, transfer_syntax: str | None = None
) -> dict[Exported, int]:
    """Export a study or series, or everything."""
    tally = Tally[Exported](Silence())
    exporter = Exporter(services.archive, services.retrieve, folder, transfer_syntax, Silence(), tally)
    if scope is None:
        await exporter.export_all()
    else:
        await exporter.export(scope)
    return {kind: count for kind, count in tally.counts.items() if count}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_study_or_series_is_written_byte_for_byte(services: Services, tmp_path: Path) -> None:
    one, two = of(ONE, 1, 1, rows=1024, columns=1024, frames=9), of(ONE, 2, 1)
    await services.put_well(one, two, of(TWO, 1, 1))
    assert await export(services, tmp_path / "a" / "b", Scope(ONE)) == {Exported.WRITTEN: 2}
    assert tree(tmp_path / "a" / "b") == {f"{ONE}.1/{ONE}.1.1.dcm": one, f"{ONE}.2/{ONE}.2.1.dcm": two}
    assert await export(services, tmp_path / "c", Scope(ONE, f"{ONE}.2")) == {Exported.WRITTEN: 1}
    assert tree(tmp_path / "c") == {f"{ONE}.2/{ONE}.2.1.dcm": two}
    with pytest.raises(NotFound):
        await export(services, tmp_path, Scope(ONE, "1.9"))


async def test_a_row_that_cannot_be_read_costs_only_its_study(services: Services, tmp_path: Path) -> None:
    broken, _ = await services.put_well(of(ONE, 1, 1), of(TWO, 1, 1))
    partition = await services.archive.index.partition_of(ONE)
    await services.bench.table.commit(partition, [Operation("put", keys.instance_row(broken), {"version": "x"})])
    assert await export(services, tmp_path, None) == {Exported.WRITTEN: 1, Exported.MALFORMED: 1}
    assert tree(tmp_path) == {f"{TWO}/{TWO}.1/{TWO}.1.1.dcm": of(TWO, 1, 1)}


async def test_what_is_exported_and_imported_again_is_the_same(
    services: Services, anew: Services, tmp_path: Path
) -> None:
    files = await fill(services)
    assert await export(services, tmp_path, None) == {Exported.WRITTEN: len(files)}
    assert sorted(tree(tmp_path).values()) == sorted(files)
    assert {name.split("/")[0] for name in tree(tmp_path)} == {ONE, TWO, THREE}
    await anew.archive.index.open()
    await import_all(anew, FolderSource(tmp_path), limit=2**26)
    for study in (ONE, TWO, THREE):
        assert await anew.files(Scope(study)) == await services.files(Scope(study))


async def test_what_is_there_is_left_alone_and_what_is_not_whole_is_written_again(
    services: Services, tmp_path: Path
) -> None:
    await services.put_well(*(of(ONE, 1, number) for number in range(1, 4)))
    await export(services, tmp_path, Scope(ONE))
    series = tmp_path / f"{ONE}.1"
    (series / f"{ONE}.1.2.dcm").write_bytes(b"cut")
    (series / f"{ONE}.1.3.dcm").unlink()
    (series / f"{ONE}.1.3.dcm.part").write_bytes(b"left over")
    services.bench.calls.clear()
    assert await export(services, tmp_path, Scope(ONE)) == {Exported.WRITTEN: 2, Exported.THERE: 1}
    assert services.bench.calls["blob read"] == 2
    assert tree(tmp_path) == {f"{ONE}.1/{ONE}.1.{n}.dcm": of(ONE, 1, n) for n in range(1, 4)}


async def test_a_file_that_was_interrupted_is_not_there(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.put_well(of(ONE, 1, 1))

    async def failing(*_: object) -> bytes:
        raise Unavailable("blob storage answered 503")

    with monkeypatch.context() as patched:
        patched.setattr(services.archive.blobs, "read", failing)
        with pytest.raises(Unavailable):
            await export(services, tmp_path, Scope(ONE))
    assert tree(tmp_path) == {}


async def test_instances_are_transcoded_where_that_can_be_done(services: Services, tmp_path: Path) -> None:
    broken = encapsulated([[b"no picture"]], study=ONE, series=f"{ONE}.1", sop=f"{ONE}.1.2")
    await services.put_well(of(ONE, 1, 1, rows=16, columns=16), broken)
    found = await export(services, tmp_path, Scope(ONE), RLE)
    assert found == {Exported.WRITTEN: 1, Exported.CANNOT_TRANSCODE: 1}
    (path,) = (tmp_path / f"{ONE}.1").iterdir()
    written = pydicom.dcmread(path)
    assert written.file_meta.TransferSyntaxUID == RLE
    assert written.pixel_array.tobytes() == bytes(range(256))
    assert await export(services, tmp_path, Scope(ONE), RLE) == {Exported.THERE: 1, Exported.CANNOT_TRANSCODE: 1}
    # As stored, it is another file.
    assert await export(services, tmp_path, Scope(ONE)) == {Exported.WRITTEN: 2}
    assert path.read_bytes() == of(ONE, 1, 1, rows=16, columns=16)


async def test_no_link_leads_out_of_the_folder(services: Services, tmp_path: Path) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 2, 1))
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    (folder / f"{ONE}.1").mkdir(parents=True)
    (folder / f"{ONE}.1" / f"{ONE}.1.1.dcm").symlink_to(outside / "precious")
    (folder / f"{ONE}.1" / f"{ONE}.1.1.dcm.part").symlink_to(outside / "precious")
    assert await export(services, folder, Scope(ONE)) == {Exported.WRITTEN: 2}
    assert not (folder / f"{ONE}.1" / f"{ONE}.1.1.dcm").is_symlink()
    assert tree(outside) == {"precious": b"precious"}

    other = tmp_path / "other"
    other.mkdir()
    (other / f"{ONE}.1").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        await export(services, other, Scope(ONE))
    assert tree(outside) == {"precious": b"precious"}


async def test_a_uid_that_would_lead_elsewhere_is_no_file_name(services: Services, tmp_path: Path) -> None:
    rows: list[NewInstance] = [row_only("1.2", "..", "1.3"), row_only("1.2", "1.2.1", "/etc/passwd")]
    assert rows[0].key == InstanceKey("1.2", "..", "1.3")
    await services.archive.store([rows[0]], replaces=False)
    assert await export(services, tmp_path / "folder", Scope("1.2")) == {Exported.NO_FILE_NAME: 1}
    assert tree(tmp_path) == {}


async def test_what_is_deleted_meanwhile_is_not_written_and_no_fault(services: Services, tmp_path: Path) -> None:
    (key,) = await services.put_well(of(ONE, 1, 1))
    listed = await services.archive.index.get_instance(key)
    assert listed is not None
    await services.archive.committer.delete(ONE, [key])
    await services.archive.blobs.delete(await services.bench.blobs())
    exporter = Exporter(services.archive, services.retrieve, tmp_path, None, Silence(), Tally[Exported](Silence()))
    assert await exporter._write(listed, tmp_path) == Exported.GONE
    assert tree(tmp_path) == {}


async def test_a_blob_that_is_not_there_though_its_row_is_is_a_fault(services: Services, tmp_path: Path) -> None:
    await services.put_well(of(ONE, 1, 1), of(ONE, 1, 2))
    gone = (await services.bench.blobs())[0]
    await services.archive.blobs.delete([gone])
    assert await export(services, tmp_path, Scope(ONE)) == {Exported.WRITTEN: 1, Exported.NO_BLOB: 1}
    assert len(tree(tmp_path)) == 1
