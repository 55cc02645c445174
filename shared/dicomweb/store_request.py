"""What kind of body a store request brings, and what each part of it is (PS3.18 §10.5.1).

- `application/dicom`: the body is one instance. Deviation: PS3.18 knows only multipart; the original service takes it.
- `multipart/related`: each part is an instance. `type` may be absent or anything. Deviation: `boundary` may be absent,
  as in the original service's tutorial; then the body's first line tells it (multipart.py).
- Anything else, multipart/form-data included, is an unsupported media type.

Facts. curl 7.88 with `--header 'Content-Type: multipart/related; type="application/dicom"'` and `--form` appends
`; boundary=------------------------{16 hex digits}` to that very header and sends every part with
`Content-Disposition: attachment; name="file1"; filename="x.dcm"` and the Content-Type its `;type=` names. Where the
header holds a boundary already, curl's own follows it: the last one counts (media_types.py).

Left out: metadata with bulk data in separate parts (PS3.18 §10.5.1.2), which the service does not take.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.dicomweb.media_types import parse_media_type
from shared.errors import BadRequest, UnsupportedMedia

_DICOM = "application/dicom"
_MULTIPART = "multipart/related"


@dataclass(frozen=True, slots=True)
class StoreContent:
    """What a store request's Content-Type says.

    `multipart` is False when the body is one instance. `boundary` and `type_parameter` are those of multipart/related,
    None where absent.
    """

    multipart: bool
    boundary: str | None = None
    type_parameter: str | None = None


def parse_store_content(content_type: str | None) -> StoreContent:
    """Read the Content-Type of a store request.

    Raises UnsupportedMedia when it is absent or of no type that can be stored, BadRequest for a `start` parameter:
    there is no root part here (RFC 2387 §3.2).
    """
    media_type = parse_media_type(content_type or "")
    if media_type is not None and media_type.name == _DICOM:
        return StoreContent(multipart=False)
    if media_type is None or media_type.name != _MULTIPART:
        raise UnsupportedMedia(f'Content-Type must be {_DICOM} or {_MULTIPART}; type="{_DICOM}"')
    if media_type.get("start") is not None:
        raise BadRequest(f"the start parameter of {_MULTIPART} is not supported")
    return StoreContent(True, media_type.get("boundary"), media_type.get("type"))


def part_media_type(headers: Mapping[str, str], type_parameter: str | None, index: int) -> str:
    """The media type of one part, always `application/dicom`.

    `headers` are the part's, by lower-case name; `index` counts parts from 0. The first part, the root of
    multipart/related (RFC 2387 §3.1), is of the request's `type` if it does not say; no other part inherits.

    Raises UnsupportedMedia for a part of another type or of none.
    """
    written = headers.get("content-type")
    if written is None and index == 0:
        written = type_parameter
    if written is None:
        raise UnsupportedMedia(f"part {index + 1} has no Content-Type; it must be {_DICOM}")
    media_type = parse_media_type(written)
    if media_type is None or media_type.name != _DICOM:
        raise UnsupportedMedia(f"part {index + 1} is not of type {_DICOM}")
    return media_type.name
