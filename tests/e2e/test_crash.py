"""A host that is killed in the middle: what was answered is there, nothing is there by half, and the rest is swept."""

import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builders import instance
from tests.e2e.service import (
    BOUNDARY,
    EVERY_SECOND,
    Api,
    Place,
    assert_consistent,
    multipart_body,
    new_uid,
    value_of,
    wait_until,
)
from tests.local.hosting import RunningHost

MIB = 1024 * 1024
SWEEPING = {
    "ORPHAN_AGE_SECONDS": 0,
    "GARBAGE_GRACE_SECONDS": 0,
    "SWEEP_SCHEDULE": EVERY_SECOND,
    "ORPHAN_SCHEDULE": EVERY_SECOND,
}


def file_of(study: str, number: int, mebibytes: int = 0) -> bytes:
    side = 1024 if mebibytes else 16
    uids = {"study": study, "series": f"{study}.{number % 2}", "sop": f"{study}.{number % 2}.{number}"}
    return instance(**uids, rows=side, columns=side, frames=max(1, mebibytes), InstanceNumber=number)


def kill(host: RunningHost) -> None:
    """End the host as a power failure would."""
    host.process.kill()
    host.process.wait(10)


def live_blobs(place: Place) -> set[str]:
    """The blobs that rows of instances name."""
    return {row["version"] for row in place.rows("i")}


def assert_swept(place: Place, log: Path) -> None:
    """A host that sweeps leaves exactly the blobs that rows name, and no note."""
    with place.host(log, **SWEEPING):
        wait_until(lambda: place.blobs() == live_blobs(place) and not place.rows("g"))


def send_slowly(host: RunningHost, body: bytes, until: int, reached: threading.Event) -> socket.socket:
    """A store whose body stops after `until` bytes; the connection stays open."""
    connection = socket.create_connection(("127.0.0.1", host.port), timeout=10)
    head = (
        "POST /v2/studies HTTP/1.1\r\nHost: localhost\r\nAccept: application/dicom+json\r\n"
        f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n'
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode())
    for start in range(0, until, 65536):
        connection.sendall(body[start : min(start + 65536, until)])
    reached.set()
    return connection


def test_a_host_killed_in_the_middle_of_a_body_leaves_nothing_visible_and_the_sweep_takes_the_rest(
    place: Place, tmp_path: Path
) -> None:
    study = new_uid()
    before = file_of(study, 0)
    sent = [file_of(study, 1), file_of(study, 2), file_of(study, 3, 40)]
    body = multipart_body(*sent)
    reached = threading.Event()
    with place.host(tmp_path / "first.log") as host, Api(host.url) as api:
        assert api.store(before).status_code == 200
        with send_slowly(host, body, len(body) - 8 * MIB, reached):
            # The two small parts are blobs by now; the large one is blocks that nobody has committed.
            wait_until(lambda: len(place.blobs()) == 3)
            kill(host)

    with place.host(tmp_path / "second.log") as host, Api(host.url) as api:
        assert assert_consistent(api, study) == {f"{study}.0.0"}
        assert api.files(f"studies/{study}") == [before]
        orphans = place.blobs() - live_blobs(place)
        assert len(orphans) == 2
        # What was not answered can be sent again, and then it is there.
        assert api.store(*sent).status_code == 200
        assert set(api.files(f"studies/{study}")) == {before, *sent}

    assert_swept(place, tmp_path / "third.log")
    assert not orphans & place.blobs()
    with place.host(tmp_path / "fourth.log") as host, Api(host.url) as api:
        assert set(api.files(f"studies/{study}")) == {before, *sent}
        assert len(assert_consistent(api, study)) == 4


def burst(api: Api, files: Iterator[tuple[str, bytes]], stored: dict[str, bytes]) -> None:
    """Store one after another until the host is gone; what was answered with success joins `stored`."""
    for uid, file in files:
        try:
            answer = api.store(file)
        except httpx.TransportError:
            return
        assert answer.status_code == 200, answer.text
        stored[uid] = file


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_host_killed_during_a_burst_of_stores_keeps_every_instance_it_has_answered_for(
    place: Place, tmp_path: Path, seed: int
) -> None:
    studies = [new_uid(), new_uid()]
    answered: dict[str, bytes] = {}
    sent: dict[str, bytes] = {}
    chance = random.Random(seed)
    enough = chance.randint(20, 90)

    def files_of(sender: int) -> Iterator[tuple[str, bytes]]:
        for number in range(sender * 1000, sender * 1000 + 1000):
            study = studies[number % 3 % 2]
            # Now and then a large one, whose blob takes several blocks.
            file = file_of(study, number, 10 if number % 20 == 7 else 0)
            uid = f"{study}.{number % 2}.{number}"
            sent[uid] = file
            yield uid, file

    with place.host(tmp_path / "first.log") as host, Api(host.url) as api, ThreadPoolExecutor(8) as senders:
        bursts = [senders.submit(burst, api, files_of(sender), answered) for sender in range(8)]
        wait_until(lambda: len(answered) >= enough)
        kill(host)
        for each in bursts:
            each.result()

    with place.host(tmp_path / "second.log", **SWEEPING) as host, Api(host.url) as api:
        found: set[str] = set()
        for study in studies:
            uids = assert_consistent(api, study)
            found |= uids
            by_uid = {
                value_of(each, "00080018"): value_of(each, "0020000E") for each in api.metadata(f"studies/{study}")
            }
            for uid in uids:
                assert api.files(f"studies/{study}/series/{by_uid[uid]}/instances/{uid}") == [sent[uid]]
        assert answered.keys() <= found <= sent.keys()
        wait_until(lambda: place.blobs() == live_blobs(place) and not place.rows("g"))
        assert len(place.blobs()) == len(found)
        for study in studies:
            assert len(api.files(f"studies/{study}")) == len([uid for uid in found if uid.startswith(study)])


def instances_of(place: Place, row: dict[str, Any]) -> int:
    """The count in a study row, read anew."""
    with place.table() as table:
        count: int = table.get_entity(row["PartitionKey"], row["RowKey"])["instances"].value
        return count


def test_a_delete_cut_off_by_a_kill_leaves_a_whole_study_and_can_be_repeated(place: Place, tmp_path: Path) -> None:
    study = new_uid()
    with place.host(tmp_path / "first.log") as host, Api(host.url) as api:
        for start in range(0, 400, 100):
            assert api.store(*(file_of(study, number) for number in range(start, start + 100))).status_code == 200
        (row,) = place.rows("s")
        with ThreadPoolExecutor(1) as other:
            deleting = other.submit(api.delete, f"studies/{study}")
            wait_until(lambda: instances_of(place, row) < 400, pause=0.005)
            kill(host)
            with pytest.raises(httpx.TransportError):
                deleting.result()

    with place.host(tmp_path / "second.log", **SWEEPING) as host, Api(host.url) as api:
        left = assert_consistent(api, study)
        assert 0 < len(left) < 400
        assert [row["study"] for row in place.rows("g") if row["kind"] == "delete"] == [study]
        assert api.delete(f"studies/{study}") == 204
        assert assert_consistent(api, study) == set()
        wait_until(lambda: not place.blobs())
