"""Which representation of a resource answers an Accept header.

Decides by a table of what each resource offers and one rule (PS3.18 §8.7.8.1 as the original service applies it):

1. A range fits an offer when it names its media type, its form (single part, or parts of multipart/related) and one of
   its transfer syntaxes. A range that names no transfer syntax means the offer's default.
2. A range with a wildcard in place of a media type fits any form, prefers multipart, and means the original transfer
   syntax when it names none.
3. The highest q wins; of equal ones, the original transfer syntax before one that needs transcoding; then the earliest.
4. What a range with q=0 names is not what a wildcard means (RFC 9110 §12.5.1).

Deviation: a bare `*/*` is answered for studies and series too, and a missing Accept means `*/*`; the original service
documents the former and answers 406 to both.

Left out: whether the stored instance can be turned into the transfer syntax that was chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from shared.dicomweb.media_types import MediaRange
from shared.errors import NotAcceptable

DICOM = "application/dicom"
OCTET_STREAM = "application/octet-stream"
DICOM_JSON = "application/dicom+json"
#: Answered with `DICOM_JSON` all the same, as the original service does.
JSON = "application/json"

#: The transfer syntax an instance is stored in, whichever it is (PS3.18 §8.7.3.5.2).
ORIGINAL = "*"
#: Explicit VR Little Endian (PS3.5 §A.2), the default for uncompressed representations (PS3.18 §8.7.3.5.2).
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

_SINGLE, _MULTIPART = False, True


class Resource(Enum):
    """The resources whose bytes can be had in more than one way; the value names one in an error text."""

    STUDY = "a study"
    SERIES = "a series"
    INSTANCE = "an instance"
    FRAMES = "frames"


@dataclass(frozen=True, slots=True)
class Offer:
    """One row of what a resource offers.

    `forms` says multipart or not, the one a wildcard means first. `default` is the transfer syntax of a range that
    names the media type but no transfer syntax.
    """

    media: str
    forms: tuple[bool, ...]
    transfer_syntaxes: tuple[str, ...]
    default: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The representation to answer with. `transfer_syntax` is a UID, or `*` for the one the instance is stored in."""

    multipart: bool
    media: str
    transfer_syntax: str


#: Transfer syntaxes a data set can be had in.
_TARGETS = (ORIGINAL, EXPLICIT_VR_LITTLE_ENDIAN)

#: A new representation is a new row; within a resource the earlier row is what a wildcard means.
OFFERS: dict[Resource, tuple[Offer, ...]] = {
    Resource.STUDY: (Offer(DICOM, (_MULTIPART,), _TARGETS, EXPLICIT_VR_LITTLE_ENDIAN),),
    Resource.SERIES: (Offer(DICOM, (_MULTIPART,), _TARGETS, EXPLICIT_VR_LITTLE_ENDIAN),),
    Resource.INSTANCE: (Offer(DICOM, (_MULTIPART, _SINGLE), _TARGETS, EXPLICIT_VR_LITTLE_ENDIAN),),
    Resource.FRAMES: (Offer(OCTET_STREAM, (_MULTIPART, _SINGLE), _TARGETS, EXPLICIT_VR_LITTLE_ENDIAN),),
}


def negotiate(resource: Resource, accept: Sequence[MediaRange]) -> Choice:
    """The representation of a resource that a client likes best (PS3.18 §8.7.8).

    Raises NotAcceptable, naming what there is, when nothing fits.
    """
    return choose(OFFERS[resource], accept, resource.value)


def choose(offers: Sequence[Offer], accept: Sequence[MediaRange], what: str) -> Choice:
    """The best of some offers; `what` names the resource in the error. Raises NotAcceptable."""
    refused = {(each.media, each.multipart, each.transfer_syntax) for each in accept if each.q == 0}
    best: tuple[tuple[float, bool], Choice] | None = None
    for media_range in accept:
        if media_range.q == 0:
            continue
        for choice in _choices(media_range, offers):
            if _is_wildcard(media_range) and _is_refused(choice, refused):
                continue
            rank = (media_range.q, choice.transfer_syntax == ORIGINAL)
            if best is None or rank > best[0]:
                best = (rank, choice)
    if best is None:
        raise NotAcceptable(f"nothing in Accept is offered for {what}; on offer: {_described(offers)}")
    return best[1]


def negotiate_json(accept: Sequence[MediaRange]) -> str:
    """The media type of metadata, of search results and of the answer to a store: always `application/dicom+json`.

    `application/json` is accepted as another name of it. Raises NotAcceptable when neither is acceptable.
    """
    for each in accept:
        if each.q > 0 and not each.multipart and any(_covers(each.media, media) for media in (DICOM_JSON, JSON)):
            return DICOM_JSON
    raise NotAcceptable(f"nothing in Accept is offered; on offer: {DICOM_JSON}")


def _choices(media_range: MediaRange, offers: Sequence[Offer]) -> Iterator[Choice]:
    """What a range may mean among the offers, the likeliest first."""
    wildcard = _is_wildcard(media_range)
    for offer in offers:
        if not _covers(media_range.media, offer.media):
            continue
        meant = ORIGINAL if wildcard and ORIGINAL in offer.transfer_syntaxes else offer.default
        syntax = media_range.transfer_syntax or meant
        if syntax not in offer.transfer_syntaxes:
            continue
        for multipart in offer.forms:
            if multipart == media_range.multipart or (wildcard and multipart):
                yield Choice(multipart, offer.media, syntax)


def _is_wildcard(media_range: MediaRange) -> bool:
    return media_range.media.endswith("/*")


def _covers(media: str, offered: str) -> bool:
    return media in ("*/*", offered, offered.partition("/")[0] + "/*")


def _is_refused(choice: Choice, refused: set[tuple[str, bool, str | None]]) -> bool:
    return any((choice.media, choice.multipart, syntax) in refused for syntax in (None, choice.transfer_syntax))


def _described(offers: Sequence[Offer]) -> str:
    return ", ".join(
        (f'multipart/related; type="{offer.media}"' if multipart else offer.media)
        + f"; transfer-syntax={' or '.join(offer.transfer_syntaxes)}"
        for offer in offers
        for multipart in offer.forms
    )
