"""One very large instance stored and retrieved, and what the host process holds in memory meanwhile (Linux)."""

import argparse
import io
import os
import secrets
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom

from tests.builders import ct_slice

MIB = 1024 * 1024
FRAME = 512 * 512 * 2


def resident(pid: int) -> int:
    """Bytes a process has in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} says nothing of its memory")


def host_listening_on(port: int) -> int:
    """The process id of the local host: the one that holds the listening socket of a port."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        pieces = line.split()
        if pieces[3] == "0A" and int(pieces[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{pieces[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(each) in inodes for each in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue
    raise ValueError(f"nothing listens on port {port}")


def instance(study: str, frames: int) -> tuple[bytes, int]:
    """The bytes before the pixel data, and the length of the whole."""
    data_set = pydicom.dcmread(io.BytesIO(ct_slice(1, study, f"{study}.1")))
    data_set.NumberOfFrames = frames
    del data_set.PixelData
    out = io.BytesIO()
    data_set.save_as(out)
    head = out.getvalue() + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, frames * FRAME)
    return head, len(head) + frames * FRAME


def body(head: bytes, frames: int) -> Iterator[bytes]:
    """The instance in pieces; it is never held whole."""
    frame = secrets.token_bytes(FRAME)
    yield head
    for _ in range(frames):
        yield frame


def main() -> None:
    """Read the options and run."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--url", default="http://localhost:7071/v2")
    options.add_argument("--mib", type=int, default=1024)
    chosen = options.parse_args()
    frames = chosen.mib * MIB // FRAME
    study = f"1.2.826.0.1.3680043.10.1.{secrets.randbits(48)}"
    pid = host_listening_on(httpx.URL(chosen.url).port or 80)
    idle = peak = resident(pid)
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    head, length = instance(study, frames)
    with httpx.Client(base_url=chosen.url, timeout=600) as client:
        started = time.perf_counter()
        headers = {
            "Content-Type": "application/dicom",
            "Accept": "application/dicom+json",
            "Content-Length": str(length),
        }
        client.post("/studies", content=body(head, frames), headers=headers).raise_for_status()
        stored = time.perf_counter()
        received = 0
        accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        with client.stream("GET", f"/studies/{study}", headers=accept) as answer:
            for piece in answer.iter_raw(MIB):
                received += len(piece)
        retrieved = time.perf_counter()
        client.delete(f"/studies/{study}").raise_for_status()
    done.set()
    watcher.join()
    print(f"instance       {length / MIB:8.0f} MiB, {received / MIB:.0f} MiB received")
    print(f"store          {stored - started:8.1f} s")
    print(f"retrieve       {retrieved - stored:8.1f} s")
    print(f"host, idle     {idle / MIB:8.0f} MiB")
    print(f"host, peak     {peak / MIB:8.0f} MiB, {(peak - idle) / MIB:.0f} above idle")


if __name__ == "__main__":
    main()
