"""An instance larger than the memory it may take: stored and retrieved as a stream."""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import instance
from tests.e2e.service import Api, Place, new_uid
from tests.local.hosting import RunningHost

MIB = 1024 * 1024
FRAMES = 320
ALLOWED_MIB = 250


def memory_of(host: RunningHost, field: str) -> float:
    """VmRSS or VmHWM, the peak of it, in MiB."""
    status = Path(f"/proc/{host.process.pid}/status").read_text()
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(kilobytes) / 1024


def frame(number: int) -> bytes:
    """The pixels of a frame, counted from 1; no other frame has the same."""
    return struct.pack("<I", number * 0x9E3779B1 % 2**32) * (MIB // 4)


def pieces(study: str) -> Iterator[bytes]:
    """A file of as many MiB as frames, a frame at a time."""
    uids = {"study": study, "series": f"{study}.1", "sop": f"{study}.1.1"}
    empty = instance(**uids, rows=1024, columns=1024, frames=FRAMES, PixelData=b"")
    assert empty.endswith(b"OB\0\0\0\0\0\0")
    yield empty[:-4] + struct.pack("<I", FRAMES * MIB)
    for number in range(1, FRAMES + 1):
        yield frame(number)


def same(got: Iterator[bytes], expected: Iterator[bytes]) -> bool:
    """Whether two streams hold the same bytes, however they are cut."""
    waiting = bytearray()
    for piece in got:
        waiting += piece
        while len(waiting) >= MIB + 4096:
            wanted = next(expected, None)
            if wanted is None or waiting[: len(wanted)] != wanted:
                return False
            del waiting[: len(wanted)]
    return bytes(waiting) == b"".join(expected)


@pytest.mark.parametrize("multipart", [False, True], ids=["single part", "multipart"])
def test_an_instance_larger_than_the_memory_allowed_streams_in_and_out(
    place: Place, tmp_path: Path, multipart: bool
) -> None:
    assert sys.platform == "linux", "peak memory is read from /proc"
    study, warm = new_uid(), new_uid()
    path = f"studies/{study}/series/{study}.1/instances/{study}.1.1"
    single, boundary = "application/dicom", "large"
    head, tail = b"", b""
    content_type = single
    if multipart:
        head = f"--{boundary}\r\nContent-Type: {single}\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        content_type = f'multipart/related; type="{single}"; boundary={boundary}'

    def body() -> Iterator[bytes]:
        yield head
        yield from pieces(study)
        yield tail

    with place.host(tmp_path / "log") as host, Api(host.url) as api:
        uids = {"study": warm, "series": f"{warm}.1", "sop": f"{warm}.1.1"}
        assert api.store(instance(**uids)).status_code == 200
        assert len(api.files(f"studies/{warm}")) == 1
        idle = memory_of(host, "VmRSS")

        headers = {"Accept": "application/dicom+json", "Content-Type": content_type}
        answer = api.http.post("/studies", content=body(), headers=headers)
        assert answer.status_code == 200, answer.text
        after_store = memory_of(host, "VmHWM") - idle

        accept = {"Accept": f"{single}; transfer-syntax=*"}
        with api.http.stream("GET", f"/{path}", headers=accept) as download:
            assert download.status_code == 200
            assert same(download.iter_raw(), pieces(study))

        one_frame = {"Accept": "application/octet-stream; transfer-syntax=*"}
        for number in (1, 177, FRAMES):
            assert api.http.get(f"/{path}/frames/{number}", headers=one_frame).content == frame(number)
        assert api.http.get(f"/{path}/frames/{FRAMES + 1}", headers=one_frame).status_code == 404
        after_retrieve = memory_of(host, "VmHWM") - idle

    assert after_store < ALLOWED_MIB
    assert after_retrieve < ALLOWED_MIB
