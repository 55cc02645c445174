"""The npm packages that viewers are built on, dicomweb-client and dcmjs, in Node.js: store, search, retrieve."""

import base64
import hashlib
import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom import dcmread

from tests.clients.files import DOCUMENT, Sample

SCRIPT = Path(__file__).with_name("javascript.cjs")


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample.new()


@pytest.fixture(scope="module")
def report(root: str, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each call of the client gave."""
    node = shutil.which("node")
    assert node
    folder = tmp_path_factory.mktemp("javascript")
    paths = {}
    for number, (uid, file) in enumerate(sample.files.items()):
        paths[uid] = str(folder / f"{number}.dcm")
        Path(paths[uid]).write_bytes(file)
    addresses = {
        "root": root,
        "study": sample.study,
        "series": sample.others,
        "instance": sample.multiframe,
        "document": sample.document,
        "files": paths,
    }
    done = subprocess.run(
        [node, str(SCRIPT)], input=json.dumps(addresses), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def picture(text: str) -> tuple[str | None, tuple[int, int]]:
    with Image.open(BytesIO(base64.b64decode(text))) as opened:
        opened.load()
        return opened.format, opened.size


def test_what_was_stored_is_found(report: dict[str, Any], sample: Sample) -> None:
    (study,) = report["studies"]
    assert study["0020000D"]["Value"] == [sample.study]
    assert sorted(each["0020000E"]["Value"][0] for each in report["series"]) == [sample.slices, sample.others]
    (instance,) = report["instances"]
    assert instance["00080018"]["Value"][0] in {sample.multiframe, sample.document}
    assert report["nothing"] == []


def test_metadata_can_be_naturalized(report: dict[str, Any], sample: Sample) -> None:
    by_uid = {each["SOPInstanceUID"]: each for each in report["naturalized"]}
    assert set(by_uid) == set(sample.files)
    assert report["seriesMetadata"] == 2
    first = by_uid[f"{sample.slices}.1"]
    assert first["PatientName"] == [{"Alphabetic": "Doe^Test"}]
    assert (first["Rows"], first["Columns"], first["InstanceNumber"]) == (512, 512, 1)
    assert first["ImagePositionPatient"] == [-250, -250, -5]
    assert first["ImageType"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert first["WindowCenter"] == 40


def test_files_come_back_as_they_were_stored(report: dict[str, Any], sample: Sample) -> None:
    assert report["retrievedDigest"] == digest(sample.files[sample.multiframe])
    assert report["retrieved"] == report["stored"]
    assert report["retrieved"]["PatientName"]
    assert report["seriesCount"] == 2
    assert sorted(report["studyDigests"]) == sorted(map(digest, sample.files.values()))


def test_frames_are_the_pixels_that_were_stored(report: dict[str, Any], sample: Sample) -> None:
    pixels = dcmread(BytesIO(sample.files[sample.multiframe])).PixelData
    size = len(pixels) // 3
    assert report["frames"] == [digest(pixels[size : 2 * size]), digest(pixels[2 * size :])]


def test_rendered_images_and_thumbnails_are_pictures(report: dict[str, Any]) -> None:
    # Without media types the client sends no Accept header of use, and a browser expects JPEG.
    assert picture(report["rendered"]) == ("JPEG", (48, 32))
    assert picture(report["renderedFrame"]) == ("PNG", (48, 32))
    assert picture(report["thumbnail"])[0] == "JPEG"


def test_bulk_data_come_whole_and_in_ranges(report: dict[str, Any], sample: Sample) -> None:
    document = dcmread(BytesIO(sample.files[sample.document])).EncapsulatedDocument
    assert report["bulk"] == [digest(document)]
    assert report["bulkAlone"] == [digest(document)]
    assert base64.b64decode(report["bulkStart"]) == DOCUMENT[:9]
