"""The viewer's package is unpacked only when it is the one that was pinned."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from local import viewer
from local.settings import LocalError

FILES = {
    "package/LICENSE": b"The licence",
    "package/package.json": b"{}",
    "package/dist/index.html": b"<html>",
    "package/dist/assets/LICENSE": b"Another licence",
    "package/src/index.js": b"source",
}


def package(folder: Path, files: dict[str, bytes]) -> Path:
    made = folder / "package.tgz"
    with tarfile.open(made, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 499162500
            archive.addfile(member, io.BytesIO(content))
    return made


def pin(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    monkeypatch.setattr(viewer, "INTEGRITY", f"sha512-{digest}")


def test_the_pages_and_the_licence_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = package(tmp_path, FILES)
    pin(monkeypatch, file)
    folder = viewer.unpack(file, tmp_path / "out")
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "LICENSE": b"The licence",
        "index.html": b"<html>",
        "assets/LICENSE": b"Another licence",
    }
    # A date of 1985 on every file of every version would make the same ETag of different files.
    assert (folder / "index.html").stat().st_mtime > 1_700_000_000


def test_a_package_with_another_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="is not the package that was published"):
        viewer.unpack(package(tmp_path, FILES), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_would_land_outside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = package(tmp_path, {"package/dist/../../../../outside.txt": b"evil"})
    pin(monkeypatch, file)
    with pytest.raises(tarfile.OutsideDestinationError):
        viewer.unpack(file, tmp_path / "a" / "b")
    assert not (tmp_path / "outside.txt").exists()


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    there = tmp_path / f"ohif-{viewer.VERSION}"
    there.mkdir()
    (there / "index.html").write_text("<html>")
    assert viewer.viewer_files(tmp_path) == there
