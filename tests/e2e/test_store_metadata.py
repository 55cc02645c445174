"""Metadata and bulk data in parts of their own (PS3.18 §10.5.2): what becomes of them, and what is refused."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pydicom
import pytest

from tests.builders import SECONDARY_CAPTURE, drawing, instance
from tests.e2e.service import (
    BOUNDARY,
    DICOM_JSON,
    Api,
    Place,
    assert_consistent,
    new_uid,
    reasons_of,
    stored_uids,
    value_of,
)
from tests.e2e.storing import BOTH, RELATED, assert_clean, comments, items, post, uids_of
from tests.e2e.test_memory import memory_of
from tests.local.hosting import RunningHost

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def versions(host: RunningHost) -> Iterator[dict[str, Api]]:
    """A client of each version."""
    with Api(host.url, "v1") as one, Api(host.url, "v2") as two:
        yield {"v1": one, "v2": two}


def described(study: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """A data set of 2 by 4 pixels that are apart."""
    uids = uids_of(study, number)
    return {
        "00080016": {"vr": "UI", "Value": [SECONDARY_CAPTURE]},
        "00080018": {"vr": "UI", "Value": [uids["sop"]]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]},
        "00100020": {"vr": "LO", "Value": ["ID"]},
        "0020000D": {"vr": "UI", "Value": [study]},
        "0020000E": {"vr": "UI", "Value": [uids["series"]]},
        "00280002": {"vr": "US", "Value": [1]},
        "00280004": {"vr": "CS", "Value": ["MONOCHROME2"]},
        "00280010": {"vr": "US", "Value": [2]},
        "00280011": {"vr": "US", "Value": [4]},
        "00280100": {"vr": "US", "Value": [8]},
        "7FE00010": {"vr": "OB", "BulkDataURI": f"pixels/{number}"},
        **more,
    }


DESCRIBED = f'multipart/related; type="{DICOM_JSON}"; boundary={BOUNDARY}'
PIXELS = bytes(range(8))


def body_of(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body of parts with their headers."""
    pieces = [f"--{BOUNDARY}\r\n{headers}\r\n\r\n".encode() + data + b"\r\n" for headers, data in parts]
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


def metadata_part(*data_sets: dict[str, Any]) -> tuple[str, bytes]:
    return f"Content-Type: {DICOM_JSON}", json.dumps(data_sets).encode()


def bulk_part(where: str, data: bytes, media: str = "application/octet-stream") -> tuple[str, bytes]:
    return f"Content-Type: {media}\r\nContent-Location: {where}", data


@BOTH
def test_metadata_and_bulk_data_become_an_instance(versions: dict[str, Api], version: str) -> None:
    api, study = versions[version], new_uid()
    body = body_of(metadata_part(described(study)), bulk_part("pixels/1", PIXELS))
    answer = post(api, body, DESCRIBED, path=f"/{study}")
    assert_clean(answer)
    assert stored_uids(answer) == [f"{study}.1.1"]
    assert value_of(answer.json(), "00081190").endswith(f"/{version}/studies/{study}")
    (file,) = api.files(f"studies/{study}")
    found = pydicom.dcmread(pydicom.filebase.DicomBytesIO(file))
    assert (found.PixelData, str(found.PatientName)) == (PIXELS, "Müller^Jörg")
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    (metadata,) = api.metadata(f"studies/{study}")
    assert value_of(metadata, "00100010") == {"Alphabetic": "Müller^Jörg"}
    frame = api.get(f"studies/{study}/series/{study}.1/instances/{study}.1.1/frames/1", "application/octet-stream")
    assert frame.content == PIXELS
    assert_consistent(api, study)
    again = post(api, body, DESCRIBED)
    assert (again.status_code, reasons_of(again)) == (409, [45070])


def test_bulk_data_is_found_under_every_name_it_has(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    names = {
        1: ("relative/1", "relative/1"),
        2: ("relative/2", f"{api.http.base_url}relative/2"),
        3: ("urn:uuid:aa", "urn:uuid:aa"),
        4: ("https://elsewhere.example/4", "https://elsewhere.example/4"),
    }
    parts = [bulk_part(location, bytes([number]) * 8) for number, (_, location) in names.items()]
    parts.append(("Content-Type: application/octet-stream\r\nContent-ID: <five@here>", bytes([5]) * 8))
    uris = {number: uri for number, (uri, _) in names.items()} | {5: "cid:five%40here"}
    data_sets = [
        described(study, number, **{"7FE00010": {"vr": "OB", "BulkDataURI": uri}}) for number, uri in uris.items()
    ]
    assert_clean(post(api, body_of(metadata_part(*data_sets), *parts), DESCRIBED))
    for number in uris:
        path = f"studies/{study}/series/{study}.1/instances/{study}.1.{number}/frames/1"
        assert api.get(path, "application/octet-stream").content == bytes([number]) * 8


def test_inline_binary_needs_no_parts(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    inline = {"7FE00010": {"vr": "OB", "InlineBinary": "AAECAwQFBgc="}}
    headerless = f"--{BOUNDARY}\r\n\r\n".encode() + json.dumps(described(study, **inline)).encode()
    assert_clean(post(api, headerless + f"\r\n--{BOUNDARY}--\r\n".encode(), DESCRIBED))
    (file,) = api.files(f"studies/{study}")
    assert pydicom.dcmread(pydicom.filebase.DicomBytesIO(file)).PixelData == PIXELS


def test_compressed_frames_keep_their_bytes_and_their_transfer_syntax(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    frames = [b"\xff\xd8\xff\xc0\x00\x04%d\xff\xd9" % number for number in (10, 11, 12)]
    three = {"00280008": {"vr": "IS", "Value": [3]}}
    rle = [bulk_part("pixels/2", b"segment " + frame, "image/dicom-rle") for frame in frames]
    body = body_of(
        metadata_part(described(study, 1, **three), described(study, 2, **three)),
        *(bulk_part("pixels/1", frame, "image/jpeg") for frame in frames),
        *rle,
    )
    assert_clean(post(api, body, DESCRIBED))
    for number, syntax in ((1, "1.2.840.10008.1.2.4.50"), (2, "1.2.840.10008.1.2.5")):
        path = f"studies/{study}/series/{study}.1/instances/{study}.1.{number}"
        answer = api.get(f"{path}/frames/2", "application/octet-stream; transfer-syntax=*")
        assert answer.headers["content-type"] == f"application/octet-stream; transfer-syntax={syntax}"
        expected = frames[1] if number == 1 else b"segment " + frames[1]
        assert answer.content.rstrip(b"\0") == expected.rstrip(b"\0")


def test_a_progressive_picture_is_stored_as_such_and_rubbish_that_is_called_one_is_not(api: Api) -> None:
    study = new_uid()
    picture = io.BytesIO()
    PIL.Image.effect_noise((6, 4), 60).save(picture, "JPEG", progressive=True)
    size = {"00280010": {"vr": "US", "Value": [4]}, "00280011": {"vr": "US", "Value": [6]}}
    body = body_of(
        metadata_part(described(study, 1, **size), described(study, 2, **size)),
        bulk_part("pixels/1", picture.getvalue(), "image/jpeg"),
        bulk_part("pixels/2", b"\1\2\3", "image/jpeg"),
    )
    answer = post(api, body, DESCRIBED)
    assert answer.status_code == 202
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == [f"{study}.1.2"]
    path = f"studies/{study}/series/{study}.1/instances/{study}.1.1"
    frame = api.get(f"{path}/frames/1", "application/octet-stream; transfer-syntax=*")
    assert frame.headers["content-type"].endswith("1.2.840.10008.1.2.4.55")
    assert frame.content.rstrip(b"\0") == picture.getvalue().rstrip(b"\0")
    assert api.get(f"{path}/rendered", "image/png").status_code == 200


def test_what_comes_out_as_metadata_and_bulk_data_can_be_stored_as_such(versions: dict[str, Api]) -> None:
    api = versions["v2"]
    study, copy = new_uid(), new_uid()
    original = pydicom.dcmread(pydicom.filebase.DicomBytesIO(drawing("red-triangle")))
    assert_clean(api.store(instance(**uids_of(study), rows=979, columns=985, SamplesPerPixel=3, PlanarConfiguration=0,
                                    PhotometricInterpretation="RGB", PixelData=original.PixelData)))  # fmt: skip
    (metadata,) = api.metadata(f"studies/{study}")
    uri = metadata["7FE00010"]["BulkDataURI"]
    pixels = api.http.get(uri, headers={"Accept": "application/octet-stream"})
    assert pixels.status_code == 200
    for tag, uid in (("0020000D", copy), ("0020000E", f"{copy}.1"), ("00080018", f"{copy}.1.1")):
        metadata[tag]["Value"] = [uid]
    body = body_of(metadata_part(metadata), bulk_part(uri, pixels.content))
    assert_clean(post(api, body, DESCRIBED))
    (first,), (second,) = api.files(f"studies/{study}"), api.files(f"studies/{copy}")
    one, two = (pydicom.dcmread(pydicom.filebase.DicomBytesIO(each)) for each in (first, second))
    for element in one:
        if element.keyword not in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            assert two[element.tag] == element


def test_a_data_set_whose_bulk_data_is_missing_fails_alone(versions: dict[str, Api]) -> None:
    api, study = versions["v2"], new_uid()
    body = body_of(metadata_part(described(study, 1), described(study, 2)), bulk_part("pixels/1", PIXELS))
    answer = post(api, body, DESCRIBED)
    assert (answer.status_code, stored_uids(answer), reasons_of(answer)) == (202, [f"{study}.1.1"], [43264])
    (failed,) = items(answer, "00081198")
    assert value_of(failed, "00081155") == f"{study}.1.2"
    assert comments(failed) == ["DICOM100: (7fe0,0010) - no part of the request has the name that BulkDataURI gives"]


@BOTH
@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([(f"Content-Type: {DICOM_JSON}", b"[{")], 400),
        ([(f"Content-Type: {DICOM_JSON}", b"5")], 400),
        ([(f"Content-Type: {DICOM_JSON}", b"[]")], 204),
        ([], 204),
        ([bulk_part("x", b"")], 415),
        ([("Content-Type: application/dicom", b"")], 415),
        ([metadata_part(), ("Content-Type: application/dicom", b"")], 415),
        ([metadata_part(), ("Content-Location: x", b"")], 415),
        ([metadata_part(), ("Content-Type: application/octet-stream", b"")], 400),
    ],
)
def test_what_is_no_metadata_with_bulk_data_is_refused(
    versions: dict[str, Api], version: str, parts: list[tuple[str, bytes]], status: int
) -> None:
    answer = post(versions[version], body_of(*parts), DESCRIBED)
    assert answer.status_code == status


def test_metadata_comes_only_where_the_request_says_so(versions: dict[str, Api]) -> None:
    body = body_of(metadata_part(described(new_uid())), bulk_part("pixels/1", PIXELS))
    for content_type in (RELATED, f"multipart/related; boundary={BOUNDARY}", DICOM_JSON):
        assert post(versions["v2"], body, content_type).status_code == 415


def test_bulk_data_larger_than_the_memory_it_may_take_waits_on_disk(place: Place, tmp_path: Path) -> None:
    study, frames = new_uid(), 160
    size = {"00280010": {"vr": "US", "Value": [1024]}, "00280011": {"vr": "US", "Value": [1024]}}
    document = described(study, **size, **{"00280008": {"vr": "IS", "Value": [frames]}})
    head, data = metadata_part(document)

    def body() -> Iterator[bytes]:
        yield f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data
        where, _ = bulk_part("pixels/1", b"")
        yield f"\r\n--{BOUNDARY}\r\n{where}\r\n\r\n".encode()
        for number in range(frames):
            yield bytes([number]) * MIB
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    headers = {"Accept": DICOM_JSON, "Content-Type": DESCRIBED}
    with place.host(tmp_path / "log", MAX_INSTANCE_BYTES=(frames + 1) * MIB) as host, Api(host.url) as api:
        assert api.store(instance(**uids_of(new_uid()))).status_code == 200
        idle = memory_of(host, "VmRSS")
        assert_clean(api.http.post("/studies", content=body(), headers=headers))
        assert memory_of(host, "VmHWM") - idle < 120
        path = f"studies/{study}/series/{study}.1/instances/{study}.1.1/frames"
        for number in (1, frames):
            assert api.get(f"{path}/{number}", "application/octet-stream").content == bytes([number - 1]) * MIB
        too_much = body_of(metadata_part(document), *[bulk_part("pixels/1", bytes(32 * MIB))] * 6)
        refused = post(api, too_much, DESCRIBED)
        assert refused.status_code == 413
        assert str((frames + 1) * MIB) in refused.text
