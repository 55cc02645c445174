"""Retrieving by every way there is: bulk data, ranges, archives, validators, HEAD, and the media types of frames."""

import io
import zipfile

import httpx
import pydicom
import pytest
from pydicom import Dataset, Sequence
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)

from tests.builders import encapsulated, instance
from tests.e2e.service import AS_STORED, Api, new_uid, parts_of

OCTETS, PDF = "application/octet-stream", "application/pdf"
LE, J2K = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"
JPEG, MPEG2 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.100"
WAVE = bytes(range(250)) * 40


def put(api: Api, file: bytes, study: str) -> str:
    """Store a file; the path of the instance."""
    assert api.store(file).status_code == 200
    return f"studies/{study}/series/{study}.1/instances/{study}.1.1"


def uids_of(study: str, number: int = 1) -> dict[str, str]:
    return {"study": study, "series": f"{study}.1", "sop": f"{study}.1.{number}"}


def waveform() -> Sequence:
    item = Dataset()
    item[0x54001010] = DataElement(0x54001010, "OW", WAVE)
    return Sequence([Dataset(), item])


@pytest.fixture(scope="module")
def rich(api: Api) -> str:
    """The path of an instance with bulk values of several kinds and three frames."""
    study = new_uid()
    elements = {"ICCProfile": b"icc!" * 3, "WaveformSequence": waveform(), "frames": 3}
    return put(api, instance(**uids_of(study), **elements), study)


@pytest.fixture(scope="module")
def compressed(api: Api) -> str:
    """The path of an instance with two frames in JPEG, the second in two fragments."""
    study = new_uid()
    frames = [[b"\xff\xd8one\xff\xd9"], [b"\xff\xd8two", b"more\xff\xd9"]]
    return put(api, encapsulated(frames, **uids_of(study)), study)


# Bulk data


def test_every_reference_in_metadata_leads_to_its_value(api: Api, rich: str) -> None:
    (metadata,) = api.metadata(rich)
    wave = metadata["54000100"]["Value"][1]["54001010"]
    assert wave["BulkDataURI"] == str(api.http.base_url).rstrip("/") + f"/{rich}/bulkdata/54000100.2.54001010"
    for element, expected in [
        (metadata["00282000"], b"icc!" * 3),
        (wave, WAVE),
        (metadata["7FE00010"], bytes(range(72))),
    ]:
        assert "Value" not in element
        for accept in (OCTETS, "*/*", ""):
            single = api.http.get(element["BulkDataURI"], headers={"Accept": accept})
            if element is metadata["7FE00010"] and accept != OCTETS:
                ((_, data),) = parts_of(single)
                assert data == expected
            else:
                assert (single.status_code, single.content) == (200, expected)
                assert single.headers["content-type"].startswith(OCTETS)
                assert single.headers["content-length"] == str(len(expected))
        for accept in (f'multipart/related; type="{OCTETS}"', 'multipart/related; type="*/*"'):
            answer = api.http.get(element["BulkDataURI"], headers={"Accept": accept})
            ((media, data),) = parts_of(answer)
            assert (media.split(";")[0], data) == (OCTETS, expected)
            assert f"Content-Location: {element['BulkDataURI']}".encode() in answer.content


def test_references_are_as_the_client_sees_the_service(api: Api, rich: str) -> None:
    headers = {"Accept": "application/dicom+json", "X-Forwarded-Host": "pacs.example", "X-Forwarded-Proto": "https"}
    (metadata,) = api.http.get(f"/{rich}/metadata", headers=headers).json()
    assert metadata["7FE00010"]["BulkDataURI"] == f"https://pacs.example/v2/{rich}/bulkdata/7FE00010"


def test_search_results_have_whole_references(api: Api, rich: str) -> None:
    study = rich.split("/")[1]
    (found,) = api.search(f"studies/{study}/instances", includefield="PixelData")
    assert found["7FE00010"]["BulkDataURI"].endswith(f"/v2/{rich}/bulkdata/7FE00010")
    assert found["7FE00010"]["BulkDataURI"].startswith("http")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("00282001", 404),
        ("54000100.1.54001010", 404),
        ("54000100.3.54001010", 404),
        ("abc", 400),
        ("54000100.0.1", 400),
    ],
)
def test_a_value_that_is_not_there(api: Api, rich: str, name: str, status: int) -> None:
    assert api.get(f"{rich}/bulkdata/{name}", "*/*").status_code == status


def test_a_document_is_given_as_what_it_is_unless_a_browser_would_run_it(api: Api) -> None:
    for kind, given in ((PDF, PDF), ("text/html", OCTETS), ("", OCTETS)):
        study = new_uid()
        document = {"EncapsulatedDocument": b"%PDF-1.7!!", "MIMETypeOfEncapsulatedDocument": kind}
        path = put(api, instance(**uids_of(study), PixelData=None, **document), study)
        answer = api.get(f"{path}/bulkdata/00420011", "*/*")
        assert (answer.headers["content-type"], answer.content) == (given, b"%PDF-1.7!!")
        assert answer.headers["x-content-type-options"] == "nosniff"
        ohif = f'multipart/related; type="{PDF}", multipart/related; type="{OCTETS}"'
        ((media, _),) = parts_of(api.get(f"{path}/bulkdata/00420011", ohif))
        assert media == given


def test_all_bulk_data_and_all_pixel_data_of_every_level(api: Api, rich: str) -> None:
    levels = [rich, rich.split("/instances")[0], rich.split("/series")[0]]
    for level in levels:
        parts = parts_of(api.get(f"{level}/bulkdata", "*/*"))
        assert sorted(data for _, data in parts) == sorted([b"icc!" * 3, WAVE, bytes(range(72))])
        assert [data for _, data in parts_of(api.get(f"{level}/pixeldata", "*/*"))] == [bytes(range(72))]
        assert api.get(f"{level}/bulkdata", "image/png").status_code == 406
        assert api.get(f"{level.replace('2.25', '2.26')}/pixeldata", "*/*").status_code == 404


def test_encapsulated_pixel_data_comes_frame_by_frame_or_as_one(api: Api, compressed: str) -> None:
    expected = [b"\xff\xd8one\xff\xd9\0", b"\xff\xd8two\0more\xff\xd9"]
    for path in ("bulkdata/7FE00010", "pixeldata"):
        parts = parts_of(api.get(f"{compressed}/{path}", f'multipart/related; type="{OCTETS}"; transfer-syntax=*'))
        assert parts == [(f"{OCTETS}; transfer-syntax={JPEG}", data) for data in expected]
    answer = api.get(f"{compressed}/bulkdata/7FE00010", f"{OCTETS}; transfer-syntax=*")
    assert answer.content == b"".join(expected)
    beginning = api.http.get(
        f"/{compressed}/bulkdata/7FE00010",
        headers={"Accept": f"{OCTETS}; transfer-syntax=*", "Range": "bytes=6-13"},
    )
    assert (beginning.status_code, beginning.content) == (206, b"".join(expected)[6:14])


@pytest.mark.parametrize("level", ["instance", "series", "study"])
def test_pixel_data_is_decoded_unless_it_is_asked_for_as_it_is_stored(api: Api, level: str) -> None:
    ds = pydicom.dcmread(get_testdata_file("MR_small_RLE.dcm"))
    study = new_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, f"{study}.1", f"{study}.1.1"
    made = io.BytesIO()
    ds.save_as(made)
    path = put(api, made.getvalue(), study)
    path = {"instance": path, "series": path.split("/instances")[0], "study": path.split("/series")[0]}[level]
    ds.decompress()
    for accept, syntax in ((f'multipart/related; type="{OCTETS}"', ExplicitVRLittleEndian), ("*/*", RLELossless)):
        for resource in ("pixeldata", "bulkdata"):
            parts = parts_of(api.get(f"{path}/{resource}", accept))
            ((media, data),) = [each for each in parts if "transfer-syntax" in each[0]]
            assert media == f"{OCTETS}; transfer-syntax={syntax}"
            assert (data == ds.PixelData) == (syntax == ExplicitVRLittleEndian)


def test_pixel_data_that_nothing_decodes_comes_as_it_is_stored(api: Api) -> None:
    study = new_uid()
    file = encapsulated([[b"stream"]], transfer_syntax=MPEG2, **uids_of(study))
    path = put(api, file, study)
    accept = f'multipart/related; type="{OCTETS}"'
    assert parts_of(api.get(f"{path}/pixeldata", accept)) == [(f"{OCTETS}; transfer-syntax={MPEG2}", b"stream")]


def test_all_pixel_data_is_whole_or_refused_whatever_the_order(api: Api) -> None:
    study = new_uid()
    small = pydicom.dcmread(get_testdata_file("MR_small_RLE.dcm"))
    small.StudyInstanceUID, small.SeriesInstanceUID = study, f"{study}.1"
    raw = {}
    for number, broken in ((1, False), (2, True), (3, False)):
        small.SOPInstanceUID = f"{study}.1.{number}"
        made = io.BytesIO()
        small.save_as(made)
        # A segment that begins behind the end of the frame
        raw[number] = made.getvalue().replace(
            b"\x02\0\0\0\x40\0\0\0", b"\x02\0\0\0\xff\xff\0\0" if broken else b"\x02\0\0\0\x40\0\0\0"
        )
        put(api, raw[number], study)
    accept = f'multipart/related; type="{OCTETS}"'
    for asked in (accept, f"{accept}; transfer-syntax={LE}"):
        parts = parts_of(api.get(f"studies/{study}/pixeldata", asked))
        assert [media.partition("=")[2] for media, _ in parts] == [LE, RLELossless, LE]
    put(api, encapsulated([[b"stream"]], transfer_syntax=MPEG2, **uids_of(study, 4)), study)
    for resource in ("pixeldata", "bulkdata"):
        assert api.get(f"studies/{study}/{resource}", f"{accept}; transfer-syntax={LE}").status_code == 406
        parts = parts_of(api.get(f"studies/{study}/{resource}", accept))
        found = [media.partition("=")[2] for media, _ in parts if "transfer-syntax" in media]
        assert found == [LE, RLELossless, LE, MPEG2]


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_bulk_values_of_other_encodings_are_little_endian_bytes(api: Api, syntax: str) -> None:
    study = new_uid()
    file = instance(**uids_of(study), transfer_syntax=syntax, RedPaletteColorLookupTableData=WAVE)
    path = put(api, file, study)
    value = pydicom.dcmread(io.BytesIO(file)).RedPaletteColorLookupTableData
    if syntax == ExplicitVRBigEndian:
        value = b"".join(value[at : at + 2][::-1] for at in range(0, len(value), 2))
    answer = api.get(f"{path}/bulkdata/00281201", OCTETS)
    assert answer.content == value
    part = api.http.get(f"/{path}/bulkdata/00281201", headers={"Accept": OCTETS, "Range": "bytes=101-200"})
    assert (part.status_code, part.content) == (206, value[101:201])


@pytest.mark.parametrize(
    ("keyword", "tag", "bits"),
    [
        *(("PixelData", "7FE00010", 16), ("PixelData", "7FE00010", 32)),
        *(("FloatPixelData", "7FE00008", 32), ("DoubleFloatPixelData", "7FE00009", 64)),
    ],
)
def test_big_endian_pixel_data_is_little_endian_as_bulk_data(api: Api, keyword: str, tag: str, bits: int) -> None:
    study, word = new_uid(), bits // 8
    value = bytes(range(4 * 6 * word))
    elements = {"PixelData": None, "BitsAllocated": bits, keyword: value}
    file = instance(**uids_of(study), transfer_syntax=ExplicitVRBigEndian, **elements)
    raw = file[-len(value) :]
    path = put(api, file, study)
    expected = b"".join(raw[at : at + word][::-1] for at in range(0, len(raw), word))
    assert api.get(f"{path}/bulkdata/{tag}", OCTETS).content == expected
    ((_, data),) = parts_of(api.get(f"{path}/pixeldata", "*/*"))
    assert data == expected


def test_pixel_data_whose_frames_cannot_be_told_apart_is_there_as_it_is_stored(api: Api) -> None:
    study = new_uid()
    file = encapsulated([[b"one "], [b"two "]], bot=False, frames=3, transfer_syntax=RLELossless, **uids_of(study))
    path = put(api, file, study)
    assert api.get(f"{path}/frames/1", "*/*").status_code == 404
    answer = api.get(f"{path}/bulkdata/7FE00010", "*/*")
    assert (answer.status_code, parts_of(answer)[0][1]) == (200, b"one two ")
    assert api.get(f"{path}/bulkdata/7FE00010", f"{OCTETS}; transfer-syntax=*").content == b"one two "
    assert api.get(f"{path}/bulkdata/7FE00010", OCTETS).status_code == 406


@pytest.mark.parametrize("level", ["instance", "study"])
def test_an_archive_is_weighed_against_files(api: Api, level: str) -> None:
    study = new_uid()
    path = put(api, encapsulated([[b"stream"]], transfer_syntax=MPEG2, **uids_of(study)), study)
    path = path if level == "instance" else f"studies/{study}"
    dicom = "application/dicom" if level == "instance" else 'multipart/related; type="application/dicom"'
    for accept, zipped in [
        ("application/zip, */*;q=0.1", True),
        (f"{dicom}; transfer-syntax=*, application/zip", False),
        (f"{dicom}; transfer-syntax=*;q=0.1, application/zip;q=0.2", True),
        (f"{dicom}, application/zip;q=0.1", True),
        (f"{dicom};q=0.1, application/zip", True),
    ]:
        answer = api.get(path, accept)
        assert answer.status_code == 200, accept
        assert (answer.headers["content-type"] == "application/zip") == zipped, accept
    assert api.get(path, dicom).status_code == 406


def test_a_long_list_of_frames_has_an_etag_of_its_own(api: Api, rich: str) -> None:
    tags = set()
    for numbers in ("1,2,3,1,2,3,1,2,3,1,2,3,1,2,3,1,2,3", "1,2,3,1,2,3,1,2,3,1,2,3,1,2,3,1,2,2", "1,2"):
        answer = api.get(f"{rich}/frames/{numbers}", "*/*")
        tags.add(answer.headers["etag"])
        again = api.http.get(f"/{rich}/frames/{numbers}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    assert len(tags) == 3


# Ranges and validators


@pytest.mark.parametrize(
    "accept", ["application/dicom; transfer-syntax=*", "application/dicom", AS_STORED, "*/*"], ids=str
)
def test_a_range_of_an_instance(api: Api, rich: str, accept: str) -> None:
    whole = api.get(rich, accept)
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    assert whole.headers["content-length"] == str(len(whole.content))
    for asked, expected in [
        ("bytes=0-9", whole.content[:10]),
        ("bytes=100-", whole.content[100:]),
        ("bytes=-7", whole.content[-7:]),
    ]:
        part = api.http.get(f"/{rich}", headers={"Accept": accept, "Range": asked})
        assert (part.status_code, part.content) == (206, expected)
        assert part.headers["etag"] == whole.headers["etag"]
        assert part.headers["content-range"].endswith(f"/{len(whole.content)}")
    behind = api.http.get(f"/{rich}", headers={"Accept": accept, "Range": "bytes=99999999-"})
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")
    stale = api.http.get(f"/{rich}", headers={"Accept": accept, "Range": "bytes=0-9", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, whole.content)


def test_a_range_of_a_bulk_value_in_a_part_is_one_of_the_value(api: Api, rich: str) -> None:
    headers = {"Accept": f'multipart/related; type="{OCTETS}"', "Range": "bytes=100-199"}
    answer = api.http.get(f"/{rich}/bulkdata/54000100.2.54001010", headers=headers)
    assert (answer.status_code, answer.headers["content-range"]) == (206, f"bytes 100-199/{len(WAVE)}")
    assert [data for _, data in parts_of(answer)] == [WAVE[100:200]]
    assert answer.headers["content-length"] == str(len(answer.content))
    headers["Range"] = "bytes=100000-"
    assert api.http.get(f"/{rich}/bulkdata/54000100.2.54001010", headers=headers).status_code == 416


def test_a_range_of_a_multipart_body_of_frames(api: Api, rich: str) -> None:
    accept = f"multipart/related; type={OCTETS}; transfer-syntax=*"
    whole = api.get(f"{rich}/frames/1,3,2", accept)
    assert [data for _, data in parts_of(whole)] == [bytes(range(at, at + 24)) for at in (0, 48, 24)]
    assert int(whole.headers["content-length"]) == len(whole.content)
    headers = {"Accept": accept, "Range": "bytes=40-600"}
    part = api.http.get(f"/{rich}/frames/1,3,2", headers=headers)
    assert (part.status_code, part.content) == (206, whole.content[40:601])


@pytest.mark.parametrize(
    "below", ["", "/frames/1", "/frames/1,2", "/bulkdata/00282000", "/bulkdata/7FE00010", "/metadata"]
)
def test_what_a_client_has_already_is_not_sent_again(api: Api, rich: str, below: str) -> None:
    accept = "application/dicom+json" if below == "/metadata" else "*/*"
    first = api.get(rich + below, accept)
    tag = first.headers["etag"]
    again = api.http.get(f"/{rich}{below}", headers={"Accept": accept, "If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    other = api.http.get(f"/{rich}{below}", headers={"Accept": accept, "If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_a_replaced_instance_has_other_validators(api: Api) -> None:
    study = new_uid()
    path = put(api, instance(**uids_of(study)), study)
    before = api.get(f"{path}/frames/1", OCTETS)
    assert api.store(instance(**uids_of(study), PixelData=bytes(24)), method="PUT").status_code == 200
    headers = {"Accept": OCTETS, "If-None-Match": before.headers["etag"]}
    after = api.http.get(f"/{path}/frames/1", headers=headers)
    assert (after.status_code, after.content) == (200, bytes(24))


@pytest.mark.parametrize(
    ("below", "accept"),
    [
        ("", "application/dicom; transfer-syntax=*"),
        ("", AS_STORED),
        ("/frames/2", "*/*"),
        ("/bulkdata/54000100.2.54001010", "*/*"),
        ("/metadata", "application/dicom+json"),
        # Of these nobody knows the length before they are made, and HEAD does not make up one.
        ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90"),
        ("/frames/1,2", "multipart/related; type=image/jls"),
        ("/bulkdata/7FE00010", "image/jls"),
    ],
)
def test_head_is_get_without_the_body(api: Api, rich: str, below: str, accept: str) -> None:
    got = api.get(rich + below, accept)
    head = api.http.head(f"/{rich}{below}", headers={"Accept": accept})
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "etag", "content-length"):
        assert head.headers.get(name) == got.headers.get(name), name


def test_broken_frames_are_not_acceptable_however_many_are_asked_for(api: Api) -> None:
    uid = new_uid()
    file = encapsulated([[b"no JPEG"], [b"none either"]], study=uid, series=f"{uid}.1", sop=f"{uid}.1.1")
    assert api.store(file).status_code == 200
    path = f"studies/{uid}/series/{uid}.1/instances/{uid}.1.1/frames"
    for numbers in ("1", "1,2", "2,1"):
        answer = api.get(f"{path}/{numbers}", 'multipart/related; type="application/octet-stream"')
        assert answer.status_code == 406


def test_head_does_not_look_at_ranges(api: Api, rich: str) -> None:
    for below in ("/frames/2", "/bulkdata/54000100.2.54001010"):
        for value in ("bytes=0-3", "bytes=999999-"):
            headers = {"Range": value, "Accept": "*/*"}
            head = api.http.head(f"/{rich}{below}", headers=headers)
            whole = api.http.get(f"/{rich}{below}", headers={"Accept": "*/*"})
            assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))


def test_what_has_not_changed_depends_on_accept_as_well(api: Api, rich: str) -> None:
    got = api.http.get(f"/{rich}/frames/1", headers={"Accept": "*/*"})
    unchanged = api.http.get(f"/{rich}/frames/1", headers={"Accept": "*/*", "If-None-Match": got.headers["etag"]})
    assert unchanged.status_code == 304
    for name in ("etag", "cache-control", "vary"):
        assert unchanged.headers[name] == got.headers[name]


def test_head_of_what_is_not_there(api: Api, rich: str) -> None:
    assert api.http.head(f"/{rich}9").status_code == 404
    assert api.http.head("/studies/abc/metadata").status_code == 400


def test_head_of_a_study_and_of_a_search(api: Api, rich: str) -> None:
    study = rich.split("/series")[0]
    assert api.http.head(f"/{study}", headers={"Accept": AS_STORED}).status_code == 200
    assert api.http.head(f"/{study}/series").status_code == 200


# Archives


def test_a_study_as_an_archive(api: Api) -> None:
    study = new_uid()
    files = {f"{study}.1/{study}.1.{number}.dcm": instance(**uids_of(study, number)) for number in range(1, 8)}
    assert api.store(*files.values()).status_code == 200
    for path in (f"studies/{study}", f"studies/{study}/series/{study}.1"):
        answer = api.get(path, "application/zip")
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-disposition"].startswith("attachment;")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == files
    one = api.get(f"studies/{study}/series/{study}.1/instances/{study}.1.1", "application/zip")
    with zipfile.ZipFile(io.BytesIO(one.content)) as archive:
        assert archive.namelist() == [f"{study}.1/{study}.1.1.dcm"]
    assert api.get("studies/1.2.3.4.5.6", "application/zip").status_code == 404


# Media types and transfer syntaxes


def test_frames_keep_the_media_type_of_what_is_stored(api: Api, compressed: str) -> None:
    first = b"\xff\xd8one\xff\xd9\0"
    answer = api.get(f"{compressed}/frames/1", "image/jpeg")
    assert (answer.headers["content-type"], answer.content) == (f"image/jpeg; transfer-syntax={JPEG}", first)
    slim = f'multipart/related; type="image/jls", multipart/related; type="image/jpeg"; transfer-syntax={JPEG}'
    assert parts_of(api.get(f"{compressed}/frames/1", slim)) == [(f"image/jpeg; transfer-syntax={JPEG}", first)]
    everything = parts_of(api.get(f"{compressed}/frames/1,2", "*/*"))
    assert [media for media, _ in everything] == [f"{OCTETS}; transfer-syntax={JPEG}"] * 2


def test_parts_say_where_they_are(api: Api, rich: str) -> None:
    base = str(api.http.base_url).rstrip("/")
    answer = api.get(f"{rich}/frames/2,1", "*/*")
    locations = [line for line in answer.content.split(b"\r\n") if line.startswith(b"Content-Location")]
    assert locations == [f"Content-Location: {base}/{rich}/frames/{number}".encode() for number in (2, 1)]
    assert f"Content-Location: {base}/{rich}\r\n".encode() in api.get(rich, AS_STORED).content
    assert f"Content-Location: {base}/{rich}\r\n".encode() in api.get(rich.split("/series")[0], AS_STORED).content


@pytest.fixture(scope="module")
def mixed(api: Api) -> str:
    """A study of an image and a video."""
    study = new_uid()
    video = encapsulated([[b"\0\0\1\xb3video"]], transfer_syntax=MPEG2, **uids_of(study, 2))
    assert api.store(instance(**uids_of(study)), video).status_code == 200
    return f"studies/{study}"


@pytest.mark.parametrize("below", ["", "/series/{study}.1"], ids=["study", "series"])
def test_a_study_of_several_transfer_syntaxes(api: Api, mixed: str, below: str) -> None:
    path = mixed + below.format(study=mixed.split("/")[1])
    refused = api.get(path, f'multipart/related; type="application/dicom"; transfer-syntax={LE}')
    assert refused.status_code == 406
    parts = parts_of(api.get(path, AS_STORED))
    assert [media for media, _ in parts] == [f"application/dicom; transfer-syntax={each}" for each in (LE, MPEG2)]
    preferring = f'multipart/related; type="application/dicom"; transfer-syntax={J2K}, {AS_STORED};q=0.5'
    parts = parts_of(api.get(path, preferring))
    assert [media for media, _ in parts] == [f"application/dicom; transfer-syntax={each}" for each in (J2K, MPEG2)]


def test_several_instances_in_one_transfer_syntax(api: Api) -> None:
    study = new_uid()
    files = [instance(**uids_of(study, number)) for number in range(1, 4)]
    assert api.store(*files).status_code == 200
    parts = parts_of(api.get(f"studies/{study}", f'multipart/related; type="application/dicom"; transfer-syntax={J2K}'))
    assert len(parts) == 3
    for (_, made), file in zip(parts, files, strict=True):
        read, stored = (pydicom.dcmread(io.BytesIO(each)) for each in (made, file))
        assert read.file_meta.TransferSyntaxUID == J2K
        assert read.SOPInstanceUID == stored.SOPInstanceUID
    back = api.http.post(
        "/studies", content=parts[0][1], headers={"Content-Type": "application/dicom", "Accept": "*/*"}
    )
    assert back.status_code == 409  # the same instance, which is stored already


def test_a_broken_codestream_is_refused_and_there_as_stored(api: Api, compressed: str) -> None:
    answer = api.get(f"{compressed}/frames/1", OCTETS)
    assert answer.status_code == 406
    assert answer.headers["content-type"].startswith("text/plain")
    assert api.get(compressed, "application/dicom").status_code == 406
    assert api.get(compressed, "application/dicom; transfer-syntax=*").status_code == 200


def test_a_client_that_hangs_up_harms_nobody(api: Api) -> None:
    study = new_uid()
    path = put(api, instance(**uids_of(study), rows=3000, columns=3000, PixelData=bytes(9_000_000)), study)
    for _ in range(5):
        with api.http.stream("GET", f"/{path}", headers={"Accept": AS_STORED}) as answer:
            next(answer.iter_raw(1000))
    assert api.files(path)


def test_missing_accept_means_everything(api: Api, rich: str) -> None:
    with httpx.Client(base_url=api.http.base_url, trust_env=False) as bare:
        del bare.headers["accept"]
        for below in ("", "/frames/1", "/metadata", "/bulkdata/00282000"):
            assert bare.get(f"/{rich}{below}").status_code == 200
