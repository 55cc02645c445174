"""Content-Type of store requests and of their parts."""

import pytest

from shared.dicomweb.media_types import parse_media_type
from shared.dicomweb.store_request import (
    BulkDataPart,
    MetadataPart,
    StoreContent,
    bulk_name,
    described_part,
    parse_store_content,
    part_media_type,
    syntax_of,
)
from shared.errors import BadRequest, UnsupportedMedia

CONTENT = {
    "application/dicom": StoreContent(False),
    "Application/DICOM": StoreContent(False),
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
    "Multipart/Related; Boundary=x": StoreContent(True, "x"),
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
        "application/dicom; transfer-syntax=1.2",
        "application/dicom; charset=utf-8",
        'multipart/related; boundary="x',
    ],
)
def test_other_bodies_are_unsupported(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMedia, match="Content-Type must be"):
        parse_store_content(content_type)


@pytest.mark.parametrize("content_type", ["multipart/related", 'multipart/related; type="application/dicom"'])
def test_parts_without_a_boundary_are_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia, match="no boundary"):
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


# Metadata and bulk data

BASE = "https://host/v2/studies"
JSON = "application/dicom+json"


@pytest.mark.parametrize(
    ("type_parameter", "metadata"),
    [
        (JSON, True),
        ("Application/DICOM+JSON", True),
        ("application/dicom+json; transfer-syntax=1.2", True),
        ("application/dicom", False),
        ("application/dicom+xml", False),
        ("application/json", False),
        ("nonsense", False),
        (None, False),
    ],
)
def test_only_the_type_parameter_makes_a_body_metadata_and_bulk_data(
    type_parameter: str | None, metadata: bool
) -> None:
    assert StoreContent(True, "b", type_parameter).metadata is metadata


def test_the_first_part_is_metadata_and_later_ones_may_be() -> None:
    assert described_part({}, JSON, 0, BASE) == MetadataPart()
    for index in (0, 1, 7):
        assert described_part({"content-type": f"{JSON}; charset=utf-8"}, JSON, index, BASE) == MetadataPart()
    for headers in ({"content-type": "application/octet-stream", "content-location": "x"}, {"content-type": ""}):
        with pytest.raises(UnsupportedMedia, match="part 1 is not"):
            described_part(headers, JSON, 0, BASE)


@pytest.mark.parametrize("written", ["application/dicom", "application/dicom+xml", "application/json", "nonsense", ""])
def test_instances_and_other_metadata_do_not_come_with_metadata(written: str) -> None:
    with pytest.raises(UnsupportedMedia, match="part 2 is not"):
        described_part({"content-type": written, "content-location": "x"}, JSON, 1, BASE)
    with pytest.raises(UnsupportedMedia, match="part 2 has no Content-Type"):
        described_part({"content-location": "x"}, JSON, 1, BASE)


def bulk(content_type: str, **headers: str) -> MetadataPart | BulkDataPart:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return described_part({"content-type": content_type, **named}, JSON, 1, BASE)


def test_bulk_data_has_the_names_that_its_headers_give_it() -> None:
    octets = "application/octet-stream"
    assert bulk(octets, content_location="bulk/1") == BulkDataPart(("https://host/v2/bulk/1",))
    assert bulk(octets, content_location="http://a/b") == BulkDataPart(("http://a/b",))
    assert bulk(octets, content_id="<one@two>") == BulkDataPart(("cid:one@two",))
    assert bulk(octets, content_id="a", content_location="/b") == BulkDataPart(("https://host/b", "cid:a"))
    with pytest.raises(BadRequest, match="part 2 has neither"):
        bulk(octets)


@pytest.mark.parametrize(
    ("content_type", "syntax"),
    [
        ("application/octet-stream", None),
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5", "1.2.840.10008.1.2.5"),
        ('image/jpeg; transfer-syntax="1.2.840.10008.1.2.4.51"', "1.2.840.10008.1.2.4.51"),
        ("image/jpeg", None),
        ("image/jpeg; transfer-syntax=*", None),
        ("image/jls", "1.2.840.10008.1.2.4.80"),
        ("image/jp2", "1.2.840.10008.1.2.4.90"),
        ("image/dicom-rle", "1.2.840.10008.1.2.5"),
        ("video/mp4", "1.2.840.10008.1.2.4.102"),
        ("application/pdf", None),
        ("image/png", None),
    ],
)
def test_media_types_name_transfer_syntaxes(content_type: str, syntax: str | None) -> None:
    media_type = parse_media_type(content_type)
    assert media_type is not None
    assert syntax_of(media_type) == syntax
    part = bulk(content_type, content_location="x")
    assert isinstance(part, BulkDataPart)
    assert part.syntax == syntax
    assert part.jpeg is (media_type.name == "image/jpeg" and syntax is None)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("bulk/1", "https://host/v2/bulk/1"),
        ("./bulk/1 ", "https://host/v2/bulk/1"),
        ("/bulk/1", "https://host/bulk/1"),
        ("https://host/v2/bulk/1", "https://host/v2/bulk/1"),
        ("urn:uuid:1", "urn:uuid:1"),
        ("cid:one%40two", "cid:one@two"),
        ("CID:one@two", "cid:one@two"),
        ("http://[", "http://["),
    ],
)
def test_references_to_the_same_bulk_data_are_spelt_alike(reference: str, name: str) -> None:
    assert bulk_name(reference, BASE) == name
