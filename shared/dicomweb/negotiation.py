"""Which representation of a resource answers an Accept header.

Decides by a table of what each resource offers and one rule (PS3.18 §8.7.8.1 as the original service applies it), in
two steps, because what is wanted can be refused before anything is looked up, and what is best depends on the transfer
syntax an instance is stored in:

    Accept --acceptable--> candidates (none: 406, whether or not the resource exists) --choose(stored)--> Choice

1. A range fits an offer when it names its media type, its form (single part, or parts of multipart/related) and one of
   its transfer syntaxes. A range that names no transfer syntax means those in `Offer.meant`, the first that can be had.
2. A range with a wildcard in place of a media type fits any form, prefers the offer's first, and means the original
   transfer syntax when it names none.
3. The highest q wins; of equal ones, what is stored before what needs transcoding; then the earliest.
4. What a range with q=0 names is not what a wildcard means (RFC 9110 §12.5.1).

So a viewer that lists every codec it has gets what is stored, whatever it lists first.

Deviation: a bare `*/*` is answered for studies and series too, and a missing Accept means `*/*`; the original service
documents the former and answers 406 to both. It offers fewer transfer syntaxes and image media types, and those in
parts only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from shared.dicom.syntaxes import (
    DEFLATED_FRAMES,
    EXPLICIT_LITTLE,
    HTJ2K,
    HTJ2K_LOSSLESS,
    JPEG,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_2000_PART_2,
    JPEG_LS,
    JPEG_LS_LOSSLESS,
    JPEG_XL,
    MPEG2,
    MPEG4,
    NATIVE,
    RLE_LOSSLESS,
)
from shared.dicom.transcode import can_transcode, why_not
from shared.dicomweb.media_types import MediaRange
from shared.errors import CannotTranscode, NotAcceptable

DICOM = "application/dicom"
OCTET_STREAM = "application/octet-stream"
ZIP = "application/zip"
DICOM_JSON = "application/dicom+json"
#: Answered with `DICOM_JSON` all the same, as the original service does.
JSON = "application/json"

#: The transfer syntax an instance is stored in, whichever it is (PS3.18 §8.7.3.5.2).
ORIGINAL = "*"

#: Transfer syntaxes that pixel data can be turned into, lossless all of them; the first is the default for uncompressed
#: representations (PS3.18 §8.7.3.5.2).
TARGETS = (EXPLICIT_LITTLE, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, HTJ2K_LOSSLESS, RLE_LOSSLESS)

#: Media types of compressed frames, and the transfer syntaxes whose frames they name (PS3.18 Table 8.7.3-5, and two
#: retired ones that are JPEG as well).
IMAGE_MEDIA: dict[str, tuple[str, ...]] = {
    "image/jpeg": JPEG,
    "image/jls": JPEG_LS,
    "image/jp2": JPEG_2000,
    "image/jpx": JPEG_2000_PART_2,
    "image/jphc": HTJ2K,
    "image/jxl": JPEG_XL,
    "image/dicom-rle": (RLE_LOSSLESS,),
}
#: Media types of video streams (PS3.18 Table 8.7.3-6).
VIDEO_MEDIA: dict[str, tuple[str, ...]] = {"video/mpeg": MPEG2, "video/mp4": MPEG4}
#: Types of Encapsulated Document (0042,0012) that are given as such; what a browser would run is an octet stream.
DOCUMENT_MEDIA = ("application/pdf", "model/stl", "model/obj", "model/mtl")
_MEDIA_OF_FRAMES = {**IMAGE_MEDIA, **VIDEO_MEDIA}
#: What a range may name though nothing is turned into it: it is what an instance may be stored in. Not video, which the
#: original service refuses before it looks whether there is such a resource; it is had as `*`, or as its media type.
_MAY_BE_STORED = NATIVE.union({DEFLATED_FRAMES}, *IMAGE_MEDIA.values())

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

    `forms` says multipart or not, the one a wildcard means first. `targets` are the transfer syntaxes that can be asked
    for whatever is stored, `*` for that itself. `meant` are those of a range that names none, the first that can be
    had. `carries` are the transfer syntaxes whose stored bytes are of this media type; None for all.
    """

    media: str
    forms: tuple[bool, ...]
    targets: tuple[str, ...]
    meant: tuple[str, ...]
    carries: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The representation to answer with; `transfer_syntax` is the UID it will have."""

    multipart: bool
    media: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one range may mean: an offer in one form, in the first of some transfer syntaxes that can be had."""

    offer: Offer
    multipart: bool
    transfer_syntaxes: tuple[str, ...]
    q: float


_EVERY = (ORIGINAL, *TARGETS)
_DATA_SET = Offer(DICOM, (_MULTIPART,), _EVERY, (EXPLICIT_LITTLE,))
_ARCHIVE = Offer(ZIP, (_SINGLE,), _EVERY, (ORIGINAL,))


def _frames_as(media: str, carried: tuple[str, ...]) -> Offer:
    produced = tuple(syntax for syntax in carried if syntax in TARGETS)
    return Offer(media, (_MULTIPART, _SINGLE), (ORIGINAL, *produced), (ORIGINAL, *produced), frozenset(carried))


#: A new representation is a new row; within a resource the earlier row is what a wildcard means.
OFFERS: dict[Resource, tuple[Offer, ...]] = {
    Resource.STUDY: (_DATA_SET, _ARCHIVE),
    Resource.SERIES: (_DATA_SET, _ARCHIVE),
    Resource.INSTANCE: (Offer(DICOM, (_MULTIPART, _SINGLE), _EVERY, (EXPLICIT_LITTLE,)), _ARCHIVE),
    Resource.FRAMES: (
        Offer(
            OCTET_STREAM,
            (_MULTIPART, _SINGLE),
            (ORIGINAL, EXPLICIT_LITTLE),
            (EXPLICIT_LITTLE,),
        ),
        *(_frames_as(media, carried) for media, carried in _MEDIA_OF_FRAMES.items()),
    ),
}


def acceptable(resource: Resource, accept: Sequence[MediaRange]) -> tuple[Candidate, ...]:
    """What a client may be answered with, whatever is stored, the likeliest first (PS3.18 §8.7.8).

    Raises NotAcceptable, naming what there is, when nothing fits.
    """
    return candidates_among(OFFERS[resource], accept, resource.value)


def candidates_among(offers: Sequence[Offer], accept: Sequence[MediaRange], what: str) -> tuple[Candidate, ...]:
    """As `acceptable`, among some offers; `what` names the resource in the error. Raises NotAcceptable."""
    refused = {(each.media, each.multipart, each.transfer_syntax) for each in accept if each.q == 0}
    found = [
        candidate
        for media_range in accept
        if media_range.q > 0
        for candidate in _candidates(media_range, offers)
        if not (_is_wildcard(media_range) and _is_refused(candidate, refused))
    ]
    if not found:
        raise NotAcceptable(f"nothing in Accept is offered for {what}; on offer: {_described(offers)}")
    # Sorting is stable: of equal preference the earliest stays first.
    return tuple(sorted(found, key=lambda candidate: -candidate.q))


def by_media(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The candidates of each media type, the one that has the likeliest candidate first."""
    found: dict[str, list[Candidate]] = {}
    for each in candidates:
        found.setdefault(each.offer.media, []).append(each)
    return list(found.values())


def choose(candidates: Sequence[Candidate], stored: str) -> Choice:
    """The best of the candidates for an instance stored in a transfer syntax. Raises CannotTranscode for none."""
    best: tuple[tuple[float, bool], Choice] | None = None
    for candidate in candidates:
        syntax = _first_to_be_had(candidate, stored)
        if syntax is None:
            continue
        rank = (candidate.q, syntax == stored)
        if best is None or rank > best[0]:
            best = (rank, Choice(candidate.multipart, candidate.offer.media, syntax))
    if best is None:
        asked = sorted({syntax for each in candidates for syntax in each.transfer_syntaxes if syntax != ORIGINAL})
        reasons = [reason for syntax in asked if (reason := why_not(stored, syntax)) is not None]
        raise CannotTranscode(
            f"what is stored in transfer syntax {stored} cannot be had in {' or '.join(asked) or 'this media type'}"
            f"{f' ({reasons[0]})' if reasons else ''}; ask for transfer-syntax=*"
        )
    return best[1]


def _first_to_be_had(candidate: Candidate, stored: str) -> str | None:
    offer = candidate.offer
    carried = offer.carries is None or stored in offer.carries
    for syntax in candidate.transfer_syntaxes:
        if syntax in (ORIGINAL, stored):
            if carried:
                return stored
        elif syntax in offer.targets and can_transcode(stored, syntax):
            return syntax
    return None


def negotiate_json(accept: Sequence[MediaRange]) -> str:
    """The media type of metadata, of search results and of the answer to a store: always `application/dicom+json`.

    `application/json` is accepted as another name of it. Raises NotAcceptable when neither is acceptable.
    """
    for each in accept:
        if each.q > 0 and not each.multipart and any(covers(each.media, media) for media in (DICOM_JSON, JSON)):
            return DICOM_JSON
    raise NotAcceptable(f"nothing in Accept is offered; on offer: {DICOM_JSON}")


def covers(media: str, offered: str) -> bool:
    """Whether a media type of Accept, perhaps with wildcards, names one on offer (RFC 9110 §12.5.1)."""
    return media in ("*/*", offered, offered.partition("/")[0] + "/*")


def _candidates(media_range: MediaRange, offers: Sequence[Offer]) -> Iterator[Candidate]:
    """What a range may mean among the offers, the likeliest first."""
    wildcard = _is_wildcard(media_range)
    for offer in offers:
        if not covers(media_range.media, offer.media):
            continue
        asked = media_range.transfer_syntax
        if asked is None:
            meant = (ORIGINAL,) if wildcard and ORIGINAL in offer.targets else offer.meant
        elif asked in offer.targets or asked in (_MAY_BE_STORED if offer.carries is None else offer.carries):
            meant = (asked,)
        else:
            continue
        for multipart in offer.forms:
            if multipart == media_range.multipart or (wildcard and not media_range.multipart):
                yield Candidate(offer, multipart, meant, media_range.q)


def _is_wildcard(media_range: MediaRange) -> bool:
    return media_range.media.endswith("/*")


def _is_refused(candidate: Candidate, refused: set[tuple[str, bool, str | None]]) -> bool:
    named = {(candidate.offer.media, candidate.multipart, syntax) for syntax in (None, *candidate.transfer_syntaxes)}
    return not named.isdisjoint(refused)


def _described(offers: Sequence[Offer]) -> str:
    return ", ".join(
        (f'multipart/related; type="{offer.media}"' if multipart else offer.media)
        + f"; transfer-syntax={' or '.join(offer.targets)}"
        for offer in offers
        for multipart in offer.forms
    )
