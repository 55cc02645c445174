"""The archive is one that others can read, and is written piece by piece."""

import io
import zipfile

from shared.dicomweb.zip_stream import ZipStream

FILES = {"1.2/3.4.dcm": [b"abc", b"", bytes(100_000)], "1.2/3.5.dcm": [], "1.3/3.6.dcm": [b"\xff" * 5]}


def archive_of(files: dict[str, list[bytes]]) -> bytes:
    written = b""
    with ZipStream() as archive:
        for name, chunks in files.items():
            written += archive.begin(name)
            written += b"".join(archive.add(chunk) for chunk in chunks)
            written += archive.end()
        written += archive.finish()
    return written


def test_every_entry_comes_back() -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(FILES))) as found:
        assert found.testzip() is None
        assert found.namelist() == list(FILES)
        assert {name: found.read(name) for name in FILES} == {name: b"".join(chunks) for name, chunks in FILES.items()}


def test_bytes_leave_at_once() -> None:
    with ZipStream() as archive:
        assert b"one.dcm" in archive.begin("one.dcm")
        assert archive.add(b"12345") == b"12345"
        assert archive.add(b"") == b""


def test_an_empty_archive_is_an_archive() -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of({}))) as found:
        assert found.namelist() == []


def test_a_stream_that_is_broken_off_can_be_left() -> None:
    with ZipStream() as archive:
        archive.begin("one.dcm")
        archive.add(b"12345")
