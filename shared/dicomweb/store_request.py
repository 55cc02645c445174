"""What kind of body a store request brings, and what each part of it is (PS3.18 §10.5.1).

| Content-Type                                    | body                                                             |
|-------------------------------------------------|------------------------------------------------------------------|
| `application/dicom`                             | one instance                                                     |
| `multipart/related`, any `type` but the next    | a part for each instance                                         |
| `multipart/related; type=application/dicom+json`| metadata, then the bulk data that it refers to (PS3.18 §10.5.2)  |
| anything else, multipart/form-data included     | 415                                                              |

Deviations. PS3.18 knows only multipart; the original service takes a single instance, and then no parameters, so that
they are refused here as well. The original takes no metadata. Parts may have parameters.

Facts. curl 7.88 with `--header 'Content-Type: multipart/related; type="application/dicom"'` and `--form` appends
`; boundary=------------------------{16 hex digits}` to that very header and sends every part with
`Content-Disposition: attachment; name="file1"; filename="x.dcm"` and the Content-Type its `;type=` names. Where the
header holds a boundary already, curl's own follows it: the last one counts (media_types.py).

Left out: metadata as `application/dicom+xml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urljoin

from shared.dicomweb.media_types import MediaType, parse_media_type
from shared.dicomweb.negotiation import IMAGE_MEDIA, VIDEO_MEDIA
from shared.errors import BadRequest, UnsupportedMedia

_DICOM = "application/dicom"
_DICOM_JSON = "application/dicom+json"
_MULTIPART = "multipart/related"
_JPEG = "image/jpeg"

#: Media types that come with metadata but are no bulk data.
_NO_BULK = frozenset({_DICOM, "application/dicom+xml", "application/json"})


@dataclass(frozen=True, slots=True)
class StoreContent:
    """What a store request's Content-Type says.

    `multipart` is False when the body is one instance. `boundary` and `type_parameter` are those of multipart/related;
    `type` may be absent.
    """

    multipart: bool
    boundary: str = ""
    type_parameter: str | None = None

    @property
    def metadata(self) -> bool:
        """Whether the parts are metadata and bulk data, not instances."""
        named = parse_media_type(self.type_parameter or "")
        return named is not None and named.name == _DICOM_JSON


@dataclass(frozen=True, slots=True)
class MetadataPart:
    """A part that holds data sets in the DICOM JSON model."""


@dataclass(frozen=True, slots=True)
class BulkDataPart:
    """A part that holds a bulk value, or a frame of it.

    `names` are what a BulkDataURI may call it, as `bulk_name` spells them. `syntax` is the transfer syntax its media
    type names; None where that names none, or where the bytes must be asked, which `jpeg` says.
    """

    names: tuple[str, ...]
    syntax: str | None = None
    jpeg: bool = False


def parse_store_content(content_type: str | None) -> StoreContent:
    """Read the Content-Type of a store request.

    Raises UnsupportedMedia when it is absent, of no type that can be stored, or of parts without a boundary; BadRequest
    for a `start` parameter, since the first part is the root (RFC 2387 §3.2).
    """
    media_type = parse_media_type(content_type or "")
    if media_type is not None and media_type.name == _DICOM and not media_type.parameters:
        return StoreContent(multipart=False)
    if media_type is None or media_type.name != _MULTIPART:
        raise UnsupportedMedia(f'Content-Type must be {_DICOM} without parameters or {_MULTIPART}; type="{_DICOM}"')
    if media_type.get("start") is not None:
        raise BadRequest(f"the start parameter of {_MULTIPART} is not supported")
    boundary = media_type.get("boundary")
    if boundary is None:
        raise UnsupportedMedia(f"the Content-Type {_MULTIPART} has no boundary parameter")
    return StoreContent(True, boundary, media_type.get("type"))


def part_media_type(headers: Mapping[str, str], type_parameter: str | None, index: int) -> str:
    """The media type of one part, always `application/dicom`.

    `headers` are the part's, by lower-case name; `index` counts parts from 0. The first part, the root of
    multipart/related (RFC 2387 §3.1), is of the request's `type` if it does not say; no other part inherits.

    Raises UnsupportedMedia for a part of another type or of none.
    """
    media_type = _type_of_part(headers, type_parameter, index, _DICOM)
    if media_type is None or media_type.name != _DICOM:
        raise UnsupportedMedia(f"part {index + 1} is not of type {_DICOM}")
    return media_type.name


def described_part(
    headers: Mapping[str, str], type_parameter: str | None, index: int, base: str
) -> MetadataPart | BulkDataPart:
    """What one part of a request with metadata is. The first part must be metadata, and others may.

    `base` is the URL that relative names are relative to: that of the request. Raises UnsupportedMedia for a part of no
    type, or of one that is neither, and BadRequest for bulk data without a name.
    """
    media_type = _type_of_part(headers, type_parameter, index, _DICOM_JSON)
    if media_type is not None and media_type.name == _DICOM_JSON:
        return MetadataPart()
    if media_type is None or index == 0 or media_type.name in _NO_BULK:
        raise UnsupportedMedia(f"part {index + 1} is not of type {_DICOM_JSON}, nor bulk data behind such a part")
    location, identifier = headers.get("content-location"), headers.get("content-id")
    names = [bulk_name(location, base)] if location else []
    if identifier:
        names.append(f"cid:{identifier.strip('<> ')}")
    if not names:
        raise BadRequest(f"part {index + 1} has neither Content-Location nor Content-ID")
    syntax = syntax_of(media_type)
    return BulkDataPart(tuple(names), syntax, jpeg=media_type.name == _JPEG and syntax is None)


def syntax_of(media_type: MediaType) -> str | None:
    """The transfer syntax of bulk data of this media type: what it says, else the default of its type.

    None where there is no default, and for image/jpeg. Deviation: PS3.18 Table 8.7.3-5 takes a JPEG stream that says
    nothing for lossless; most are not, and the stream itself can tell.
    """
    named = (media_type.get("transfer-syntax") or "").strip()
    if named and named != "*":
        return named
    if media_type.name == _JPEG:
        return None
    return next(iter({**IMAGE_MEDIA, **VIDEO_MEDIA}.get(media_type.name, ())), None)


def bulk_name(reference: str, base: str) -> str:
    """One spelling for all references to the same bulk data: absolute URLs, and `cid:` for a Content-ID (RFC 2392)."""
    reference = reference.strip()
    if reference[:4].lower() == "cid:":
        return f"cid:{unquote(reference[4:])}"
    try:
        return urljoin(base, reference)
    except ValueError:
        return reference


def _type_of_part(
    headers: Mapping[str, str], type_parameter: str | None, index: int, expected: str
) -> MediaType | None:
    written = headers.get("content-type")
    if written is None and index == 0:
        written = type_parameter
    if written is None:
        raise UnsupportedMedia(f"part {index + 1} has no Content-Type; it must be {expected}")
    return parse_media_type(written)
