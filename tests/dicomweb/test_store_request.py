"""Content-Type of store requests and of their parts."""

import pytest

from shared.dicomweb.store_request import StoreContent, parse_store_content, part_media_type
from shared.errors import BadRequest, UnsupportedMedia

CONTENT = {
    "application/dicom": StoreContent(False),
    "Application/DICOM; transfer-syntax=1.2": StoreContent(False),
    'multipart/related; type="application/dicom"; boundary=------------------------6d1826de2e4b4eb7': StoreContent(
        True, "------------------------6d1826de2e4b4eb7", "application/dicom"
    ),
    # What curl makes of the tutorial's second form: its own boundary comes last.
    'multipart/related; type="application/dicom"; boundary=ABCD1234; boundary=---2a72': StoreContent(
        True, "---2a72", "application/dicom"
    ),
    'multipart/related; type="application/dicom"; boundary="0f3c f5"': StoreContent(
        True, "0f3c f5", "application/dicom"
    ),
    "multipart/related; boundary=ABCD1234": StoreContent(True, "ABCD1234"),
    "multipart/related; type=application/dicom": StoreContent(True, None, "application/dicom"),
    "Multipart/Related": StoreContent(True),
    "multipart/related; type=whatever; boundary=x": StoreContent(True, "x", "whatever"),
}


@pytest.mark.parametrize(("content_type", "expected"), CONTENT.items())
def test_what_can_be_stored_is_recognised(content_type: str, expected: StoreContent) -> None:
    assert parse_store_content(content_type) == expected


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "nonsense",
        "application/json",
        "application/dicom+json",
        "multipart/form-data; boundary=x",
        "multipart/mixed; boundary=x",
        "application/octet-stream",
        'multipart/related; boundary="x',
    ],
)
def test_other_bodies_are_unsupported(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMedia, match="Content-Type must be"):
        parse_store_content(content_type)


def test_a_start_parameter_is_refused() -> None:
    with pytest.raises(BadRequest, match="start"):
        parse_store_content("multipart/related; type=application/dicom; start=<a@b>; boundary=x")


@pytest.mark.parametrize(
    "written", ["application/dicom", "Application/Dicom", "application/dicom; transfer-syntax=1.2"]
)
def test_a_part_that_says_it_is_dicom_is_taken(written: str) -> None:
    for index in (0, 5):
        assert part_media_type({"content-type": written}, None, index) == "application/dicom"


def test_only_the_first_part_inherits_the_type_of_the_request() -> None:
    assert part_media_type({}, "Application/DICOM", 0) == "application/dicom"
    with pytest.raises(UnsupportedMedia, match="part 2 has no Content-Type"):
        part_media_type({}, "application/dicom", 1)
    with pytest.raises(UnsupportedMedia, match="part 1 has no Content-Type"):
        part_media_type({}, None, 0)


@pytest.mark.parametrize("written", ["application/json", "", "nonsense", "application/dicom+json", "*/*"])
def test_a_part_of_another_type_is_unsupported(written: str) -> None:
    with pytest.raises(UnsupportedMedia, match="part 3 is not of type application/dicom"):
        part_media_type({"content-type": written}, "application/dicom", 2)
    with pytest.raises(UnsupportedMedia, match="part 1 is not of type application/dicom"):
        part_media_type({}, written, 0)


def test_errors_do_not_echo_what_was_sent() -> None:
    for call in (
        lambda: parse_store_content("text/secret; name=Doe"),
        lambda: part_media_type({"content-type": "text/secret"}, None, 0),
    ):
        with pytest.raises(UnsupportedMedia) as raised:
            call()
        assert "secret" not in str(raised.value)
