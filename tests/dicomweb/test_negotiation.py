"""Which representation answers which Accept (dicomweb clients as they are, then the rules one by one)."""

import pytest

from shared.dicom import codecs
from shared.dicomweb.media_types import parse_accept
from shared.dicomweb.negotiation import (
    IMAGE_MEDIA,
    OFFERS,
    TARGETS,
    VIDEO_MEDIA,
    Choice,
    Resource,
    acceptable,
    choose,
    negotiate_json,
)
from shared.errors import CannotTranscode, NotAcceptable

LE, IMPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
JLS, J2K, J2K_LOSSY, HTJ2K = (f"1.2.840.10008.1.2.4.{number}" for number in ("80", "90", "91", "201"))
MPEG2, HEVC = "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.107"
DICOM, OCTETS, ZIP = "application/dicom", "application/octet-stream", "application/zip"
STUDY, SERIES, INSTANCE, FRAMES = Resource.STUDY, Resource.SERIES, Resource.INSTANCE, Resource.FRAMES


def parts(media: str, syntax: str) -> Choice:
    return Choice(True, media, syntax)


def single(media: str, syntax: str) -> Choice:
    return Choice(False, media, syntax)


def in_parts(media: str, syntax: str | None = None) -> str:
    return f'multipart/related; type="{media}"' + (f"; transfer-syntax={syntax}" if syntax else "")


SLIM = ", ".join(
    in_parts(media, syntax)
    for media, syntax in [("image/jls", JLS), ("image/jp2", J2K), (OCTETS, "*"), ("image/jpeg", JPEG)]
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

#: Resource, Accept, the transfer syntax that is stored, what is chosen.
CHOSEN: list[tuple[Resource, str, str, Choice]] = [
    # Clients
    (FRAMES, "multipart/related; type=application/octet-stream; transfer-syntax=*", JPEG, parts(OCTETS, JPEG)),
    (FRAMES, 'multipart/related; type="application/octet-stream"; transfer-syntax="*"', RLE, parts(OCTETS, RLE)),
    (FRAMES, 'multipart/related; type="*/*"', J2K, parts(OCTETS, J2K)),
    (FRAMES, in_parts(OCTETS), J2K, parts(OCTETS, LE)),
    (FRAMES, SLIM, LE, parts(OCTETS, LE)),
    (FRAMES, SLIM, JPEG, parts(OCTETS, JPEG)),
    (FRAMES, SLIM, JLS, parts("image/jls", JLS)),
    (FRAMES, in_parts("image/jpeg", JPEG), JPEG, parts("image/jpeg", JPEG)),
    (FRAMES, in_parts("image/jp2", J2K), LE, parts("image/jp2", J2K)),
    (FRAMES, "image/jpeg,application/octet-stream", LE, single(OCTETS, LE)),
    (FRAMES, "image/jpeg,application/octet-stream", JPEG, single("image/jpeg", JPEG)),
    (INSTANCE, in_parts(DICOM), J2K, parts(DICOM, LE)),
    (INSTANCE, "application/dicom; transfer-syntax=*", HEVC, single(DICOM, HEVC)),
    (STUDY, in_parts(DICOM, "*"), MPEG2, parts(DICOM, MPEG2)),
    (FRAMES, in_parts("video/mpeg"), f"{MPEG2}.1", parts("video/mpeg", f"{MPEG2}.1")),
    (SERIES, BROWSER, IMPLICIT, parts(DICOM, IMPLICIT)),
    # Wildcards mean the original, in parts
    *(
        (resource, text, JPEG, parts(OFFERS[resource][0].media, JPEG))
        for resource in Resource
        for text in ("", "*/*", "application/*", "multipart/related")
    ),
    (INSTANCE, f"*/*; transfer-syntax={LE}", J2K, parts(DICOM, LE)),
    (FRAMES, "image/*", JPEG_LOSSLESS, parts("image/jpeg", JPEG_LOSSLESS)),
    # Every transfer syntax that can be made, for every resource
    *(
        (resource, in_parts(DICOM, target), LE, parts(DICOM, target))
        for resource in (STUDY, SERIES, INSTANCE)
        for target in TARGETS
    ),
    *((INSTANCE, f"{DICOM}; transfer-syntax={target}", RLE, single(DICOM, target)) for target in TARGETS),
    (FRAMES, "application/octet-stream; transfer-syntax=*", DEFLATED, single(OCTETS, DEFLATED)),
    # What is stored can be asked for by its name
    (INSTANCE, in_parts(DICOM, JPEG), JPEG, parts(DICOM, JPEG)),
    (FRAMES, f"application/octet-stream; transfer-syntax={J2K_LOSSY}", J2K_LOSSY, single(OCTETS, J2K_LOSSY)),
    # A media type of its own is that of what is stored, or else of the lossless codec of its family
    *(
        (FRAMES, in_parts(media), syntax, parts(media, syntax))
        for media, syntaxes in {**IMAGE_MEDIA, **VIDEO_MEDIA}.items()
        for syntax in syntaxes
    ),
    (FRAMES, in_parts("image/jp2"), LE, parts("image/jp2", J2K)),
    (FRAMES, in_parts("image/jls"), J2K, parts("image/jls", JLS)),
    (FRAMES, in_parts("image/jphc"), JPEG, parts("image/jphc", HTJ2K)),
    (FRAMES, in_parts("image/dicom-rle"), LE, parts("image/dicom-rle", RLE)),
    (FRAMES, in_parts("image/jp2", J2K), J2K_LOSSY, parts("image/jp2", J2K)),
    # A study as one file
    (STUDY, "application/zip", JPEG, single(ZIP, JPEG)),
    (SERIES, f"application/zip; transfer-syntax={LE}", JPEG, single(ZIP, LE)),
    # Preference
    (INSTANCE, "application/dicom;q=0.5, application/dicom;transfer-syntax=*;q=0.4", J2K, single(DICOM, LE)),
    (INSTANCE, "application/dicom, application/dicom;transfer-syntax=*", J2K, single(DICOM, J2K)),
    (
        INSTANCE,
        "application/dicom;transfer-syntax=*, multipart/related;type=application/dicom",
        J2K,
        single(DICOM, J2K),
    ),
    (INSTANCE, "application/dicom;transfer-syntax=*, */*", J2K, single(DICOM, J2K)),
    (INSTANCE, "*/*, application/dicom;transfer-syntax=*", J2K, parts(DICOM, J2K)),
    (INSTANCE, "application/dicom, */*;q=0.9", J2K, single(DICOM, LE)),
    (INSTANCE, "application/dicom, */*;q=0.9", MPEG2, parts(DICOM, MPEG2)),
    (FRAMES, f"{in_parts('image/jls')};q=0.9, {in_parts('image/jp2')};q=0.8", J2K, parts("image/jls", JLS)),
    (FRAMES, f"{in_parts('image/jls')}, {in_parts('image/jp2')}", J2K, parts("image/jp2", J2K)),
    # Refusals
    (INSTANCE, "*/*, multipart/related;type=application/dicom;q=0", J2K, single(DICOM, J2K)),
    (FRAMES, "application/octet-stream;q=0, */*", LE, parts(OCTETS, LE)),
    (INSTANCE, "application/dicom;q=0, application/dicom;transfer-syntax=*", J2K, single(DICOM, J2K)),
    (STUDY, "*/*, multipart/related;type=application/dicom;q=0", J2K, single(ZIP, J2K)),
]


@pytest.mark.parametrize(("resource", "accept", "stored", "expected"), CHOSEN)
def test_the_best_representation_is_chosen(resource: Resource, accept: str, stored: str, expected: Choice) -> None:
    assert choose(acceptable(resource, parse_accept([accept])), stored) == expected


@pytest.mark.parametrize(
    ("resource", "accept"),
    [
        (STUDY, "application/dicom"),
        (SERIES, "application/dicom; transfer-syntax=*"),
        (STUDY, "multipart/related; type=application/octet-stream"),
        (STUDY, "multipart/related; type=application/zip"),
        (INSTANCE, "application/octet-stream"),
        (INSTANCE, in_parts(DICOM, MPEG2)),
        (INSTANCE, in_parts(DICOM, "1.2.3")),
        (INSTANCE, "application/dicom+json"),
        (INSTANCE, "application/dicom;q=0"),
        (INSTANCE, "*/*;q=0"),
        (INSTANCE, "nonsense"),
        (INSTANCE, "image/*"),
        (INSTANCE, "multipart/related;type=*/*, multipart/related;type=application/dicom;q=0"),
        (FRAMES, "application/dicom"),
        (FRAMES, "image/gif"),
        (FRAMES, in_parts("image/jpeg", J2K)),
        (FRAMES, in_parts(OCTETS, MPEG2)),
    ],
)
def test_what_is_not_offered_is_not_acceptable_whatever_is_stored(resource: Resource, accept: str) -> None:
    with pytest.raises(NotAcceptable):
        acceptable(resource, parse_accept([accept]))


@pytest.mark.parametrize(
    ("resource", "accept", "stored"),
    [
        (INSTANCE, "application/dicom", MPEG2),
        (STUDY, in_parts(DICOM, LE), HEVC),
        (INSTANCE, in_parts(DICOM, JPEG), LE),
        (INSTANCE, in_parts(DICOM, IMPLICIT), LE),
        (FRAMES, "image/jpeg", LE),
        (FRAMES, "image/*", LE),
        (FRAMES, in_parts("image/jp2", J2K), HEVC),
        (FRAMES, in_parts("video/mp4"), LE),
    ],
)
def test_what_no_codec_can_make_is_refused(resource: Resource, accept: str, stored: str) -> None:
    candidates = acceptable(resource, parse_accept([accept]))
    with pytest.raises(CannotTranscode, match=stored):
        choose(candidates, stored)


def test_the_targets_are_what_can_be_encoded() -> None:
    assert set(TARGETS) == set(codecs.ENCODABLE)


def test_the_error_names_what_is_offered_and_not_what_was_asked() -> None:
    with pytest.raises(NotAcceptable) as raised:
        acceptable(Resource.INSTANCE, parse_accept(["text/secret"]))
    text = str(raised.value)
    assert text.startswith("nothing in Accept is offered for an instance; on offer: multipart/related; type=")
    assert "application/dicom; transfer-syntax=* or 1.2.840.10008.1.2.1 or 1.2.840.10008.1.2.4.90" in text
    assert "secret" not in text


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
