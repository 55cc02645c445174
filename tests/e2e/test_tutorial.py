"""Microsoft's cURL tutorial, request by request, with the real curl and the arguments that are written there.

All of it is done on storage with a connection string and again on storage that knows the service by its identity.
Besides the tutorial's arguments, curl is only told to keep quiet, to read no configuration, and to report the status on
standard error and the headers in a file.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.builders import DRAWN_INSTANCE, DRAWN_ROWS, DRAWN_SERIES, DRAWN_STUDY, Shape, drawing
from tests.e2e.service import multipart_body, split_parts, value_of
from tests.local.hosting import RunningHost

SHAPES: tuple[Shape, ...] = ("red-triangle", "green-square", "blue-circle")
POLYGONS = DRAWN_SERIES["red-triangle"]
CIRCLES = DRAWN_SERIES["blue-circle"]
TRIANGLE, SQUARE, CIRCLE = (DRAWN_INSTANCE[shape] for shape in SHAPES)

ACCEPT_JSON = "Accept: application/dicom+json"
ACCEPT_FILES = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
TOKEN = "Authorization: Bearer {token value}"
MULTIPART = 'Content-Type: multipart/related; type="application/dicom"'
SINGLE = "Content-Type: application/dicom"
CONTENT_TYPES = [
    'Content-Type: multipart/related; type="application/dicom"; boundary=ABCD1234',
    "Content-Type: multipart/related; boundary=ABCD1234",
    "Content-Type: multipart/related",
]


@dataclass
class Answer:
    """What came of one call of curl."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Tutorial:
    """Somebody who follows the tutorial in a folder with the sample files."""

    def __init__(self, folder: Path, service: str, version: int) -> None:
        self.folder = folder
        self.base = f"{service}/v{version}"
        self.version = version
        self.dicoms = folder / "dcms"
        self.dicoms.mkdir()
        for shape in SHAPES:
            (self.dicoms / f"{shape}.dcm").write_bytes(drawing(shape))

    def curl(self, *arguments: str) -> Answer:
        curl = shutil.which("curl")
        assert curl is not None, "curl must be installed"
        watching = ["--disable", "--silent", "--show-error", "--noproxy", "*"]
        watching += ["--dump-header", "headers.txt", "--write-out", "%{stderr}%{http_code}"]
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(
            [curl, *watching, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = (self.folder / "headers.txt").read_text().strip().split("\n\n")[-1].splitlines()[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(done.stderr), headers, done.stdout)

    def form(self, shape: Shape) -> list[str]:
        return ["--form", f"file1=@{self.dicoms}/{shape}.dcm;type=application/dicom"]

    def get_json(self, path: str) -> Answer:
        return self.curl("--request", "GET", self.base + path, "--header", ACCEPT_JSON, "--header", TOKEN)

    def get_file(self, path: str, accept: str) -> Answer:
        """Retrieve into the file the tutorial names; the body is what the file then holds."""
        output = ["--output", "suppressWarnings.txt"]
        answer = self.curl("--request", "GET", self.base + path, "--header", accept, "--header", TOKEN, *output)
        assert answer.body == b""
        return Answer(answer.status, answer.headers, (self.folder / "suppressWarnings.txt").read_bytes())

    def delete(self, path: str) -> int:
        return self.curl("--request", "DELETE", self.base + path, "--header", TOKEN).status

    def store_everything(self) -> None:
        """The three store requests of the tutorial's first part, in its order."""
        assert self.store_triangle("POST").status == 200
        assert self.store_circle("POST").status == 200
        assert self.store_square("POST").status == 200

    def store_triangle(self, method: str) -> Answer:
        headers = ["--header", ACCEPT_JSON, "--header", MULTIPART, "--header", TOKEN]
        form = [*self.form("red-triangle"), "--trace-ascii", "trace.txt"]
        return self.curl("--location", "--request", method, f"{self.base}/studies", *headers, *form)

    def store_circle(self, method: str) -> Answer:
        headers = ["--header", ACCEPT_JSON, "--header", MULTIPART, "--header", TOKEN]
        return self.curl("--request", method, f"{self.base}/studies/{DRAWN_STUDY}", *headers, *self.form("blue-circle"))

    def store_square(self, method: str) -> Answer:
        headers = ["--header", ACCEPT_JSON, "--header", SINGLE, "--header", TOKEN]
        data = ["--data-binary", f"@{self.dicoms}/green-square.dcm"]
        return self.curl("--location", "--request", method, f"{self.base}/studies", *headers, *data)


@pytest.fixture(scope="module", params=["host", "keyless_host"], ids=["key", "identity"])
def service(request: pytest.FixtureRequest) -> RunningHost:
    """The service on storage that takes a key, as on a developer's machine, and on storage that takes tokens only."""
    started: RunningHost = request.getfixturevalue(request.param)
    return started


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def tutorial(request: pytest.FixtureRequest, service: RunningHost, tmp_path: Path) -> Iterator[Tutorial]:
    """An empty service; what the test has stored is deleted after it."""
    following = Tutorial(tmp_path, service.url, request.param)
    yield following
    assert following.delete(f"/studies/{DRAWN_STUDY}") in (204, 404)


@pytest.fixture
def stored(tutorial: Tutorial) -> Tutorial:
    """A service that holds the three samples."""
    tutorial.store_everything()
    return tutorial


def assert_stored(answer: Answer, tutorial: Tutorial, shape: Shape, *, study_url: bool) -> None:
    """The answer names just this instance, by its class, its UID and its URL."""
    assert (answer.status, answer.headers["content-type"]) == (200, "application/dicom+json")
    study = f"{tutorial.base}/studies/{DRAWN_STUDY}"
    item: dict[str, Any] = {
        "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00081155": {"vr": "UI", "Value": [DRAWN_INSTANCE[shape]]},
        "00081190": {
            "vr": "UR",
            "Value": [f"{study}/series/{DRAWN_SERIES[shape]}/instances/{DRAWN_INSTANCE[shape]}"],
        },
    }
    if tutorial.version == 2:
        item["00741048"] = {"vr": "SQ"}
    expected: dict[str, Any] = {"00081199": {"vr": "SQ", "Value": [item]}}
    if study_url:
        expected["00081190"] = {"vr": "UR", "Value": [study]}
    assert answer.json == expected


def test_store_instances_using_multipart(tutorial: Tutorial) -> None:
    assert_stored(tutorial.store_triangle("POST"), tutorial, "red-triangle", study_url=False)
    assert "multipart/related" in (tutorial.folder / "trace.txt").read_text()


def test_store_instances_for_a_specific_study(tutorial: Tutorial) -> None:
    assert_stored(tutorial.store_circle("POST"), tutorial, "blue-circle", study_url=True)


def test_store_a_single_instance(tutorial: Tutorial) -> None:
    assert_stored(tutorial.store_square("POST"), tutorial, "green-square", study_url=False)


def test_storing_the_samples_again_is_refused_and_upserting_them_is_not(stored: Tutorial) -> None:
    for store in (stored.store_triangle, stored.store_circle, stored.store_square):
        refused = store("POST")
        assert refused.status == 409
        assert "00081199" not in refused.json
        assert [value_of(item, "00081197") for item in refused.json["00081198"]["Value"]] == [45070]
    assert_stored(stored.store_triangle("PUT"), stored, "red-triangle", study_url=False)
    assert_stored(stored.store_circle("PUT"), stored, "blue-circle", study_url=True)
    assert_stored(stored.store_square("PUT"), stored, "green-square", study_url=False)
    assert len(stored.get_json(f"/studies/{DRAWN_STUDY}/metadata").json) == 3


def test_upserting_what_was_never_stored_stores_it(tutorial: Tutorial) -> None:
    assert_stored(tutorial.store_triangle("PUT"), tutorial, "red-triangle", study_url=False)
    assert_stored(tutorial.store_circle("PUT"), tutorial, "blue-circle", study_url=True)
    assert_stored(tutorial.store_square("PUT"), tutorial, "green-square", study_url=False)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("header", CONTENT_TYPES, ids=["type and boundary", "boundary", "bare"])
def test_a_body_made_by_hand_is_taken_under_every_content_type_of_the_tutorial_that_tells_its_boundary(
    tutorial: Tutorial, header: str, method: str
) -> None:
    body = multipart_body(drawing("red-triangle"), boundary="ABCD1234")
    (tutorial.folder / "body").write_bytes(body)
    headers = ["--header", ACCEPT_JSON, "--header", header, "--header", TOKEN]
    answer = tutorial.curl("--request", method, f"{tutorial.base}/studies", *headers, "--data-binary", "@body")
    if "boundary" in header:
        assert_stored(answer, tutorial, "red-triangle", study_url=False)
    else:  # curl adds one to the bare header when it makes the body itself
        assert answer.status == 415


@pytest.mark.parametrize("header", CONTENT_TYPES, ids=["type and boundary", "boundary", "bare"])
def test_a_body_made_by_curl_is_taken_under_every_content_type_of_the_tutorial(tutorial: Tutorial, header: str) -> None:
    headers = ["--header", ACCEPT_JSON, "--header", header, "--header", TOKEN]
    answer = tutorial.curl(
        "--location", "--request", "POST", f"{tutorial.base}/studies", *headers, *tutorial.form("red-triangle")
    )
    assert_stored(answer, tutorial, "red-triangle", study_url=False)


def files_in(answer: Answer) -> set[bytes]:
    assert answer.status == 200
    assert 'type="application/dicom"' in answer.headers["content-type"]
    parts = split_parts(answer.headers["content-type"], answer.body)
    assert {name for name, _ in parts} == {"application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
    assert len({data for _, data in parts}) == len(parts)
    return {data for _, data in parts}


def test_retrieve_all_instances_within_a_study(stored: Tutorial) -> None:
    answer = stored.get_file(f"/studies/{DRAWN_STUDY}", ACCEPT_FILES)
    assert files_in(answer) == {drawing(shape) for shape in SHAPES}


def test_retrieve_all_instances_within_a_series(stored: Tutorial) -> None:
    answer = stored.get_file(f"/studies/{DRAWN_STUDY}/series/{POLYGONS}", ACCEPT_FILES)
    assert files_in(answer) == {drawing("red-triangle"), drawing("green-square")}


def test_retrieve_a_single_instance(stored: Tutorial) -> None:
    path = f"/studies/{DRAWN_STUDY}/series/{POLYGONS}/instances/{TRIANGLE}"
    answer = stored.get_file(path, "Accept: application/dicom; transfer-syntax=*")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert answer.headers["content-length"] == str(len(drawing("red-triangle")))
    assert answer.body == drawing("red-triangle")


@pytest.mark.parametrize(
    "transfer_syntax",
    ["; transfer-syntax=1.2.840.10008.1.2.1", "; transfer-syntax=*", ";"],
    ids=["explicit", "as stored", "unnamed"],
)
def test_retrieve_a_frame(stored: Tutorial, transfer_syntax: str) -> None:
    path = f"/studies/{DRAWN_STUDY}/series/{POLYGONS}/instances/{TRIANGLE}/frames/1"
    accept = 'Accept: multipart/related; type="application/octet-stream"' + transfer_syntax
    answer = stored.get_file(path, accept)
    assert answer.status == 200
    assert 'type="application/octet-stream"' in answer.headers["content-type"]
    ((content_type, frame),) = split_parts(answer.headers["content-type"], answer.body)
    assert content_type == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    data_set = pydicom.dcmread(stored.dicoms / "red-triangle.dcm")
    # The number of samples is odd, so the value of Pixel Data has one byte of padding that is no part of the frame.
    assert frame == data_set.PixelData[: DRAWN_ROWS * data_set.Columns * 3]
    assert len(data_set.PixelData) == len(frame) + 1


METADATA = {
    f"/studies/{DRAWN_STUDY}/metadata": {TRIANGLE, SQUARE, CIRCLE},
    f"/studies/{DRAWN_STUDY}/series/{POLYGONS}/metadata": {TRIANGLE, SQUARE},
    # As the tutorial has it, without the slash.
    f"/studies{DRAWN_STUDY}/series/{POLYGONS}/metadata": {TRIANGLE, SQUARE},
    f"/studies/{DRAWN_STUDY}/series/{POLYGONS}/instances/{TRIANGLE}/metadata": {TRIANGLE},
}


@pytest.mark.parametrize("path", METADATA, ids=["study", "series", "series without its slash", "instance"])
def test_retrieve_metadata_and_not_again_when_it_is_known(stored: Tutorial, path: str) -> None:
    answer = stored.get_json(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert {value_of(each, "00080018") for each in answer.json} == METADATA[path]
    for each in answer.json:
        assert value_of(each, "00100010") == {"Alphabetic": "Shape^Plain"}
        assert value_of(each, "00280010") == DRAWN_ROWS
        assert "Value" not in each["7FE00010"] and "InlineBinary" not in each["7FE00010"]
        assert each["7FE00010"]["BulkDataURI"].endswith("/bulkdata/7FE00010")
        assert not [tag for tag in each if tag.startswith("0002")]
    tag = answer.headers["etag"]
    known = stored.curl(stored.base + path, "--header", ACCEPT_JSON, "--header", f"If-None-Match: {tag}")
    assert (known.status, known.body) == (304, b"")
    other = stored.curl(stored.base + path, "--header", ACCEPT_JSON, "--header", 'If-None-Match: "another"')
    assert (other.status, other.headers["etag"], other.body) == (200, tag, answer.body)


SEARCHES: dict[str, set[tuple[str, ...]]] = {
    f"/studies?StudyInstanceUID={DRAWN_STUDY}": {(DRAWN_STUDY,)},
    f"/series?SeriesInstanceUID={POLYGONS}": {(DRAWN_STUDY, POLYGONS)},
    f"/studies/{DRAWN_STUDY}/series?SeriesInstanceUID={POLYGONS}": {(DRAWN_STUDY, POLYGONS)},
    f"/instances?SOPInstanceUID={TRIANGLE}": {(DRAWN_STUDY, POLYGONS, TRIANGLE)},
    f"/studies/{DRAWN_STUDY}/instances?SOPInstanceUID={TRIANGLE}": {(DRAWN_STUDY, POLYGONS, TRIANGLE)},
    f"/studies/{DRAWN_STUDY}/series/{POLYGONS}/instances?SOPInstanceUID={TRIANGLE}": {
        (DRAWN_STUDY, POLYGONS, TRIANGLE)
    },
}


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: re.sub(r"[0-9.]{10,}", "UID", path))
def test_searches_find_what_was_stored_and_nothing_once_it_is_deleted(stored: Tutorial, path: str) -> None:
    found = stored.get_json(path)
    assert (found.status, found.headers["content-type"]) == (200, "application/dicom+json")
    names = ("0020000D", "0020000E", "00080018")
    assert {tuple(value_of(each, tag) for tag in names if tag in each) for each in found.json} == SEARCHES[path]
    assert len(found.json) == 1
    if path.startswith("/studies?"):
        (study,) = found.json
        assert value_of(study, "00201208") == 3
        assert value_of(study, "00080020") == "20200922"
    assert stored.delete(f"/studies/{DRAWN_STUDY}") == 204
    gone = stored.get_json(path)
    assert (gone.status, gone.body) == (204, b"")


def test_deletes_take_away_what_they_name_and_nothing_else(stored: Tutorial) -> None:
    study = f"/studies/{DRAWN_STUDY}"
    triangle = f"{study}/series/{POLYGONS}/instances/{TRIANGLE}"

    assert stored.delete(triangle) == 204
    assert stored.delete(triangle) == 404
    assert stored.get_json(f"{triangle}/metadata").status == 404
    assert stored.get_file(triangle, "Accept: application/dicom; transfer-syntax=*").status == 404
    assert files_in(stored.get_file(study, ACCEPT_FILES)) == {drawing("green-square"), drawing("blue-circle")}

    assert stored.delete(f"{study}/series/{POLYGONS}") == 204
    assert stored.delete(f"{study}/series/{POLYGONS}") == 404
    assert stored.get_json(f"{study}/series/{POLYGONS}/metadata").status == 404
    assert files_in(stored.get_file(study, ACCEPT_FILES)) == {drawing("blue-circle")}
    (left,) = stored.get_json(f"/studies?StudyInstanceUID={DRAWN_STUDY}").json
    assert (value_of(left, "00201206"), value_of(left, "00201208")) == (1, 1)

    # The tutorial's last request has lost the end of the UID: no such study.
    assert stored.delete("/studies/1.2.826.0.1.3680043.8.498") == 404
    assert stored.delete(study) == 204
    assert stored.delete(study) == 404
    for path in (f"{study}/metadata", f"{study}/series/{CIRCLES}/metadata"):
        assert stored.get_json(path).status == 404
    assert stored.get_file(study, ACCEPT_FILES).status == 404
    for path in SEARCHES:
        assert stored.get_json(path).status == 204


def test_what_was_deleted_can_be_stored_again(stored: Tutorial) -> None:
    assert stored.delete(f"/studies/{DRAWN_STUDY}") == 204
    stored.store_everything()
    assert len(stored.get_json(f"/studies/{DRAWN_STUDY}/metadata").json) == 3
