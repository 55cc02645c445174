"""Which representation answers which Accept (dicomweb clients as they are, then the rules one by one)."""

import pytest

from shared.dicomweb.media_types import parse_accept
from shared.dicomweb.negotiation import OFFERS, Choice, Offer, Resource, choose, negotiate, negotiate_json
from shared.errors import NotAcceptable

LE = "1.2.840.10008.1.2.1"
J2K = "1.2.840.10008.1.2.4.90"
DICOM, OCTETS = "application/dicom", "application/octet-stream"
STUDY, SERIES, INSTANCE, FRAMES = Resource.STUDY, Resource.SERIES, Resource.INSTANCE, Resource.FRAMES

ALL_DICOM = Choice(True, DICOM, "*")
ONE_DICOM = Choice(False, DICOM, "*")
ALL_FRAMES = Choice(True, OCTETS, "*")
ONE_FRAME = Choice(False, OCTETS, "*")

SLIM = ", ".join(
    f'multipart/related; type="{media}"; transfer-syntax={syntax}'
    for media, syntax in [
        ("image/jls", "1.2.840.10008.1.2.4.80"),
        ("image/jp2", J2K),
        (OCTETS, "*"),
        ("image/jpeg", "1.2.840.10008.1.2.4.50"),
    ]
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

CHOSEN: list[tuple[Resource, str, Choice]] = [
    # Clients
    (FRAMES, "multipart/related; type=application/octet-stream; transfer-syntax=*", ALL_FRAMES),
    (FRAMES, 'multipart/related; type="application/octet-stream"; transfer-syntax="*"', ALL_FRAMES),
    (FRAMES, 'multipart/related; type="*/*"', ALL_FRAMES),
    (FRAMES, 'multipart/related; type="application/octet-stream"', Choice(True, OCTETS, LE)),
    (FRAMES, SLIM, ALL_FRAMES),
    (FRAMES, "image/jpeg,application/octet-stream", Choice(False, OCTETS, LE)),
    (INSTANCE, 'multipart/related; type="application/dicom"', Choice(True, DICOM, LE)),
    (INSTANCE, "application/dicom; transfer-syntax=*", ONE_DICOM),
    (STUDY, 'multipart/related; type="application/dicom"; transfer-syntax=*', ALL_DICOM),
    (SERIES, BROWSER, ALL_DICOM),
    # Wildcards mean the original, in parts
    *((resource, text, Choice(True, OFFERS[resource][0].media, "*")) for resource in Resource for text in ("", "*/*")),
    *((resource, "application/*", Choice(True, OFFERS[resource][0].media, "*")) for resource in Resource),
    *((resource, "multipart/related", Choice(True, OFFERS[resource][0].media, "*")) for resource in Resource),
    (INSTANCE, f"*/*; transfer-syntax={LE}", Choice(True, DICOM, LE)),
    # Transfer syntaxes
    (STUDY, f"multipart/related; type=application/dicom; transfer-syntax={LE}", Choice(True, DICOM, LE)),
    (INSTANCE, "application/dicom", Choice(False, DICOM, LE)),
    (FRAMES, "application/octet-stream; transfer-syntax=*", ONE_FRAME),
    # Preference
    (INSTANCE, "application/dicom;q=0.5, application/dicom;transfer-syntax=*;q=0.4", Choice(False, DICOM, LE)),
    (INSTANCE, "application/dicom, application/dicom;transfer-syntax=*", ONE_DICOM),
    (INSTANCE, "application/dicom;transfer-syntax=*, multipart/related;type=application/dicom", ONE_DICOM),
    (INSTANCE, "application/dicom;transfer-syntax=*, */*", ONE_DICOM),
    (INSTANCE, "*/*, application/dicom;transfer-syntax=*", ALL_DICOM),
    (INSTANCE, "application/dicom, */*;q=0.9", Choice(False, DICOM, LE)),
    (INSTANCE, f"application/dicom;transfer-syntax={J2K}, application/dicom;q=0.1", Choice(False, DICOM, LE)),
    # Refusals
    (INSTANCE, "*/*, multipart/related;type=application/dicom;q=0", ONE_DICOM),
    (FRAMES, "application/octet-stream;q=0, */*", ALL_FRAMES),
    (INSTANCE, "application/dicom;q=0, application/dicom;transfer-syntax=*", ONE_DICOM),
]


@pytest.mark.parametrize(("resource", "accept", "expected"), CHOSEN)
def test_the_best_representation_is_chosen(resource: Resource, accept: str, expected: Choice) -> None:
    assert negotiate(resource, parse_accept([accept])) == expected


@pytest.mark.parametrize(
    ("resource", "accept"),
    [
        (STUDY, "application/dicom"),
        (SERIES, "application/dicom; transfer-syntax=*"),
        (STUDY, "multipart/related; type=application/octet-stream"),
        (INSTANCE, "application/octet-stream"),
        (INSTANCE, "multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.4.100"),
        (INSTANCE, "application/dicom+json"),
        (INSTANCE, "application/dicom;q=0"),
        (INSTANCE, "*/*;q=0"),
        (INSTANCE, "nonsense"),
        (INSTANCE, "image/*"),
        (STUDY, "*/*, multipart/related;type=application/dicom;q=0"),
        (INSTANCE, "multipart/related;type=*/*, multipart/related;type=application/dicom;q=0"),
        (FRAMES, "application/dicom"),
        (FRAMES, "image/jpeg"),
    ],
)
def test_what_is_not_offered_is_not_acceptable(resource: Resource, accept: str) -> None:
    with pytest.raises(NotAcceptable):
        negotiate(resource, parse_accept([accept]))


def test_the_error_names_what_is_offered_and_not_what_was_asked() -> None:
    with pytest.raises(NotAcceptable) as raised:
        negotiate(Resource.INSTANCE, parse_accept(["text/secret"]))
    assert str(raised.value) == (
        "nothing in Accept is offered for an instance; on offer: "
        'multipart/related; type="application/dicom"; transfer-syntax=* or 1.2.840.10008.1.2.1, '
        "application/dicom; transfer-syntax=* or 1.2.840.10008.1.2.1"
    )


def test_a_new_representation_is_one_more_row() -> None:
    offers = (*OFFERS[FRAMES], Offer("image/jp2", (True,), (J2K,), J2K))
    for accept, expected in [
        ("multipart/related; type=image/jp2", Choice(True, "image/jp2", J2K)),
        (f'multipart/related; type="image/jp2"; transfer-syntax={J2K}', Choice(True, "image/jp2", J2K)),
        ("image/*", Choice(True, "image/jp2", J2K)),
        ("*/*", ALL_FRAMES),
        (SLIM, ALL_FRAMES),
    ]:
        assert choose(offers, parse_accept([accept]), "frames") == expected


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/*",
        "application/dicom+json",
        "application/json",
        "APPLICATION/DICOM+JSON; charset=utf-8",
        "application/dicom+json, application/json",
        "text/html, application/json;q=0.1",
        "type=application/octet-stream, application/dicom+json",
    ],
)
def test_json_is_answered_to_all_who_admit_it(accept: str) -> None:
    assert negotiate_json(parse_accept([accept])) == "application/dicom+json"


@pytest.mark.parametrize(
    "accept",
    ["application/dicom+xml", "text/html", "nonsense", "*/*;q=0", "application/dicom", "multipart/related", "text/*"],
)
def test_json_is_refused_to_who_wants_something_else(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="on offer: application/dicom\\+json"):
        negotiate_json(parse_accept([accept]))
