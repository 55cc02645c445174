"""What the end-to-end tests share: storage of their own, hosts on it, a client, and a look behind the service."""

import contextlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from azure.data.tables import TableClient
from azure.storage.blob import ContainerClient

from tests.local.hosting import RunningHost, running_host

NEVER = "0 0 0 1 1 *"
EVERY_SECOND = "* * * * * *"
DICOM_JSON = "application/dicom+json"
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
BOUNDARY = "a-boundary-of-the-tests"


def new_uid() -> str:
    """A UID that no other test uses; short enough to append components to it."""
    return f"2.25.{uuid.uuid4().int}"


def wait_until(condition: Callable[[], bool], seconds: float = 30, pause: float = 0.05) -> None:
    """Returns when the condition holds; fails the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(pause)


@dataclass(frozen=True)
class Place:
    """A container and a table that nobody else uses, in some storage account."""

    connection: str
    name: str

    @classmethod
    def new(cls, connection: str) -> Self:
        return cls(connection, f"e{secrets.token_hex(8)}")

    def environment(self, **settings: str | int) -> dict[str, str]:
        """The variables that point a host here; its timers stay silent unless told otherwise."""
        return {
            "AzureWebJobsStorage": self.connection,
            "DICOM_STORAGE_CONNECTION": self.connection,
            "DICOM_CONTAINER": self.name,
            "DICOM_TABLE": self.name,
            "SWEEP_SCHEDULE": NEVER,
            "ORPHAN_SCHEDULE": NEVER,
            **{name: str(value) for name, value in settings.items()},
        }

    def host(self, log: Path, **settings: str | int) -> contextlib.AbstractContextManager[RunningHost]:
        """A host on this storage, for the length of the block."""
        return running_host(self.environment(**settings), log)

    def blobs(self) -> set[str]:
        """The names of all blobs, as storage itself lists them."""
        with ContainerClient.from_connection_string(self.connection, self.name) as container:
            return set(container.list_blob_names())

    @contextlib.contextmanager
    def table(self) -> Iterator[TableClient]:
        """The index table, to look at and to damage."""
        with TableClient.from_connection_string(self.connection, self.name) as client:
            yield client

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The rows of a kind: the letter its RowKeys begin with."""
        with self.table() as table:
            return [dict(row) for row in table.list_entities() if row["RowKey"].startswith(f"{kind}!")]


def multipart_body(*files: bytes, boundary: str = BOUNDARY, headers: str = "Content-Type: application/dicom") -> bytes:
    """A multipart/related body with one part for each file."""
    parts = [f"--{boundary}\r\n{headers}\r\n\r\n".encode() + file + b"\r\n" for file in files]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def parts_of(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """The parts of a multipart answer: the Content-Type and the bytes of each."""
    content_type = answer.headers["content-type"]
    assert content_type.startswith("multipart/related;"), content_type
    return split_parts(content_type, answer.content)


def split_parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The parts of a multipart body whose boundary, being random, occurs nowhere within them."""
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip('"')
    preamble, *pieces, closing = (b"\r\n" + body).split(f"\r\n--{boundary}".encode())
    assert (preamble, closing) == (b"", b"--\r\n")
    found = []
    for piece in pieces:
        head, _, data = piece.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.strip().decode().split("\r\n"))
        assert set(headers) <= {"Content-Type", "Content-Location"}
        found.append((headers["Content-Type"], data))
    return found


def value_of(data_set: dict[str, Any], tag: str) -> Any:
    """The first value of an attribute in DICOM JSON."""
    return data_set[tag]["Value"][0]


class Api:
    """A client of one version of a service."""

    def __init__(self, url: str, version: str = "v2") -> None:
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self.http = httpx.Client(
            base_url=f"{url}/{version}", timeout=httpx.Timeout(120), trust_env=False, limits=limits
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def store(self, *files: bytes, method: str = "POST", study: str = "") -> httpx.Response:
        """Several files as multipart, one as it is."""
        path = f"/studies/{study}" if study else "/studies"
        if len(files) == 1:
            body, content_type = files[0], "application/dicom"
        else:
            body = multipart_body(*files)
            content_type = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        headers = {"Accept": DICOM_JSON, "Content-Type": content_type}
        return self.http.request(method, path, content=body, headers=headers)

    def get(self, path: str, accept: str = DICOM_JSON, **parameters: Any) -> httpx.Response:
        return self.http.get(f"/{path}", headers={"Accept": accept}, params=parameters or None)

    def files(self, path: str) -> list[bytes]:
        """The files of a study, series or instance as they are stored; none when it does not exist."""
        answer = self.get(path, AS_STORED)
        if answer.status_code == 404:
            return []
        assert answer.status_code == 200, answer.text
        return [data for _, data in parts_of(answer)]

    def metadata(self, path: str) -> list[dict[str, Any]]:
        """The metadata below a study, series or instance; none when it does not exist."""
        answer = self.get(f"{path}/metadata")
        if answer.status_code == 404:
            return []
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    def search(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """One page of search results."""
        answer = self.get(path, **parameters)
        if answer.status_code == 204:
            assert answer.content == b""
            return []
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    def search_all(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """The results of all pages."""
        found: list[dict[str, Any]] = []
        while page := self.search(path, limit=200, offset=len(found), **parameters):
            found += page
        return found

    def delete(self, path: str) -> int:
        return self.http.delete(f"/{path}").status_code


def assert_consistent(api: Api, study: str) -> set[str]:
    """Every way of asking tells the same of a study; returns the SOP Instance UIDs of what it has."""
    found = api.search("studies", StudyInstanceUID=study)
    metadata = api.metadata(f"studies/{study}")
    uids = sorted(value_of(each, "00080018") for each in metadata)
    assert len(set(uids)) == len(uids)
    assert len(api.files(f"studies/{study}")) == len(uids)
    hits = api.search_all(f"studies/{study}/instances")
    assert sorted(value_of(each, "00080018") for each in hits) == uids
    all_series = api.search_all(f"studies/{study}/series")
    if not found:
        assert (uids, all_series) == ([], [])
        return set()
    (row,) = found
    assert value_of(row, "00201208") == len(uids)
    assert value_of(row, "00201206") == len(all_series)
    for series in all_series:
        uid = value_of(series, "0020000E")
        assert value_of(series, "00201209") == len(api.metadata(f"studies/{study}/series/{uid}")) > 0
    for uid in uids[:: max(1, len(uids) // 5)]:
        assert [value_of(each, "00080018") for each in api.search("instances", SOPInstanceUID=uid)] == [uid]
    return set(uids)


def reasons_of(answer: httpx.Response) -> list[int]:
    """The FailureReason of every instance that was not stored."""
    return [value_of(item, "00081197") for item in json.loads(answer.content)["00081198"]["Value"]]


def stored_uids(answer: httpx.Response) -> list[str]:
    """The SOP Instance UIDs of what was stored."""
    items: Sequence[dict[str, Any]] = json.loads(answer.content).get("00081199", {}).get("Value", ())
    return [value_of(item, "00081155") for item in items]
