"""Rendered images and thumbnails over HTTP: every level, every form of asking, and what is refused."""

import io

import pytest
from PIL import Image

from tests.builders import encapsulated, instance
from tests.e2e.service import Api, new_uid

MPEG2 = "1.2.840.10008.1.2.4.100"


def uids_of(study: str, series: int = 1, number: int = 1) -> dict[str, str]:
    return {"study": study, "series": f"{study}.{series}", "sop": f"{study}.{series}.{number}"}


def grey_frames(*values: int) -> bytes:
    return b"".join(bytes([value]) * 64 for value in values)


@pytest.fixture(scope="module")
def picture(api: Api) -> str:
    """An instance of three 8 x 8 frames, each of one grey, 10, 100 and 200."""
    study = new_uid()
    file = instance(**uids_of(study), rows=8, columns=8, frames=3, PixelData=grey_frames(10, 100, 200))
    assert api.store(file).status_code == 200
    return f"studies/{study}/series/{study}.1/instances/{study}.1.1"


def image_of(api: Api, path: str, accept: str = "image/png", **parameters: str) -> Image.Image:
    answer = api.get(path, accept, **parameters)
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == f"image/{(image.format or '').lower()}"
    assert answer.headers["content-length"] == str(len(answer.content))
    return image


@pytest.mark.parametrize("accept", ["image/jpeg", "image/png", "image/gif", "image/webp"])
def test_an_instance_is_rendered_as_what_is_asked(api: Api, picture: str, accept: str) -> None:
    image = image_of(api, f"{picture}/rendered", accept)
    assert (image.format, image.size) == (accept.removeprefix("image/").upper(), (8, 8))


@pytest.mark.parametrize("accept", ["", "*/*", "image/*"])
def test_who_does_not_mind_gets_jpeg(api: Api, picture: str, accept: str) -> None:
    assert image_of(api, f"{picture}/rendered", accept).format == "JPEG"


def test_the_query_says_what_is_accepted(api: Api, picture: str) -> None:
    contradictory = 'multipart/related; type="application/octet-stream"'
    assert api.get(f"{picture}/thumbnail", contradictory).status_code == 406
    assert image_of(api, f"{picture}/thumbnail?accept=image%2Fjpeg", contradictory).format == "JPEG"


@pytest.mark.parametrize(("number", "value"), [(1, 10), (2, 100), (3, 200)])
def test_each_frame_has_its_picture(api: Api, picture: str, number: int, value: int) -> None:
    assert image_of(api, f"{picture}/frames/{number}/rendered").getpixel((4, 4)) == value


def test_the_first_frame_stands_for_an_instance_and_the_middle_one_for_its_thumbnail(api: Api, picture: str) -> None:
    assert image_of(api, f"{picture}/rendered").getpixel((4, 4)) == 10
    small = image_of(api, f"{picture}/thumbnail")
    assert small.size[0] == small.size[1] <= 512
    assert small.getpixel((4, 4)) == 100


def test_the_frame_that_the_data_set_names_stands_for_it(api: Api) -> None:
    study = new_uid()
    elements = {"rows": 8, "columns": 8, "frames": 3, "PixelData": grey_frames(10, 100, 200)}
    assert api.store(instance(**uids_of(study), **elements, RepresentativeFrameNumber=3)).status_code == 200
    for what in ("rendered", "thumbnail"):
        image = image_of(api, f"studies/{study}/series/{study}.1/instances/{study}.1.1/{what}")
        assert image.getpixel((4, 4)) == 200


@pytest.mark.parametrize(("quality", "status"), [("1", 200), ("100", 200), ("0", 400), ("101", 400), ("x", 400)])
def test_quality(api: Api, picture: str, quality: str, status: int) -> None:
    answer = api.get(f"{picture}/frames/1/rendered", "image/jpeg", quality=quality)
    assert answer.status_code == status
    if status == 400:
        assert "between 1 and 100 inclusive" in answer.text


def test_viewport_and_window(api: Api, picture: str) -> None:
    assert image_of(api, f"{picture}/rendered", viewport="32,16").size == (16, 16)
    assert image_of(api, f"{picture}/rendered", viewport="4,4,0,0,8,4").size == (4, 2)
    assert image_of(api, f"{picture}/frames/2/rendered", window="100,101,linear").getpixel((0, 0)) == 129
    assert image_of(api, f"{picture}/frames/1/rendered", window="100,2,sigmoid").getpixel((0, 0)) == 0
    assert api.get(f"{picture}/rendered", "image/png", viewport="0,0").status_code == 400
    assert api.get(f"{picture}/rendered", "image/png", window="1,2,3").status_code == 400
    assert api.get(f"{picture}/rendered", "image/png", viewport="10,10,50,50,,").status_code == 400


def test_a_study_and_a_series_are_shown_by_a_picture_of_theirs(api: Api) -> None:
    study = new_uid()
    report = instance(**uids_of(study, 1), Modality="SR", PixelData=None, SeriesNumber="1")
    other = instance(**uids_of(study, 2), Modality="OT", PixelData=None, SeriesNumber="2")
    slices = [
        instance(**uids_of(study, 3, number), rows=8, columns=8, PixelData=grey_frames(20 * number), SeriesNumber="3")
        for number in range(1, 6)
    ]
    assert api.store(report, other, *slices).status_code == 200
    for level in (f"studies/{study}", f"studies/{study}/series/{study}.3"):
        for what in ("rendered", "thumbnail"):
            assert image_of(api, f"{level}/{what}").getpixel((2, 2)) == 60
    assert api.get(f"studies/{study}/series/{study}.1/rendered", "*/*").status_code == 404
    assert api.get(f"studies/{study}/series/{study}.9/thumbnail", "*/*").status_code == 404
    assert api.get("studies/1.2.3.4.5/rendered", "*/*").status_code == 404


@pytest.mark.parametrize(
    ("below", "accept", "status"),
    [
        ("frames/4/rendered", "image/png", 404),
        ("frames/0/rendered", "image/png", 400),
        ("frames/1,2/rendered", "image/png", 400),
        ("frames/x/thumbnail", "image/png", 400),
        ("rendered", "image/tiff", 406),
        ("rendered", "application/dicom", 406),
        ("thumbnail", "text/html", 406),
    ],
)
def test_what_cannot_be_had(api: Api, picture: str, below: str, accept: str, status: int) -> None:
    assert api.get(f"{picture}/{below}", accept).status_code == status


def test_what_has_no_picture_or_no_codec(api: Api) -> None:
    study = new_uid()
    video = encapsulated([[b"\0\0\1\xb3video"]], transfer_syntax=MPEG2, **uids_of(study, 1, 2))
    broken = encapsulated([[b"\xff\xd8no\xff\xd9"]], **uids_of(study, 1, 3))
    assert api.store(instance(**uids_of(study), PixelData=None), video, broken).status_code == 200
    path = f"studies/{study}/series/{study}.1/instances/{study}.1"
    assert [api.get(f"{path}.{number}/rendered", "*/*").status_code for number in (1, 2, 3, 4)] == [404, 406, 406, 404]


def test_an_image_that_is_known_is_not_sent_again(api: Api, picture: str) -> None:
    first = api.get(f"{picture}/rendered", "image/png")
    headers = {"Accept": "image/png", "If-None-Match": first.headers["etag"]}
    assert api.http.get(f"/{picture}/rendered", headers=headers).status_code == 304
    assert api.http.get(f"/{picture}/rendered?quality=5", headers=headers).status_code == 200
    head = api.http.head(f"/{picture}/rendered", headers={"Accept": "image/png"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == first.headers["content-length"]
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
