"""Where the bulk values of one instance lie, and what they are called (PS3.18 §10.4.1.1.5, §F.2.6).

Decides which values metadata refers to instead of holding them, the references themselves, and the compact form in
which their places are kept beside the instance:

    ScannedFile --bulk_table--> BulkTable --pack--> a column of the instance's row
                                    |
                                    +--> `bulkdata/54000100.1.54001010`, relative to the instance's URL

A reference spells the path to a value from the top: tags, and between them item numbers that count from 1, with dots.

Left out: reading the values (services/bulkdata.py), and the URL of the instance (dicomweb/urls.py).
"""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.dicom.scanned import BulkValue, NativePixels, ScannedFile

#: What every reference begins with; the resource of an instance's bulk values.
BULKDATA = "bulkdata"

#: Pixel Data, Float Pixel Data, Double Float Pixel Data.
PIXEL_TAGS = frozenset({"7FE00010", "7FE00008", "7FE00009"})

_NAME = re.compile(r"[0-9A-F]{8}(\.[1-9][0-9]{0,9}\.[0-9A-F]{8})*")


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The top-level pixel data element: `begin` to `end` are its bytes with its head, `offset` is that of its value.

    `length` is that of a native value; of an encapsulated one it is the length of all items, heads included. Counted
    from where `ScannedFile.deflated` says.
    """

    tag: str
    vr: str
    begin: int
    end: int
    offset: int
    length: int
    encapsulated: bool


@dataclass(frozen=True, slots=True)
class BulkTable:
    """The pixel data of an instance and its other bulk values, by name."""

    pixels: PixelElement | None = None
    values: Mapping[str, BulkValue] = field(default_factory=dict)

    def pack(self) -> bytes:
        """The table in few bytes: some 60 where there is nothing but pixel data."""
        pixels = self.pixels
        document = {
            "pixels": pixels
            and [pixels.tag, pixels.vr, pixels.begin, pixels.end, pixels.offset, pixels.length, pixels.encapsulated],
            "values": [
                [name, value.vr, value.offset, value.length, value.in_items] for name, value in self.values.items()
            ],
        }
        return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 6)

    @classmethod
    def unpack(cls, data: bytes) -> "BulkTable":
        """The table that `pack` made bytes of."""
        document: dict[str, Any] = json.loads(zlib.decompress(data))
        values = {
            name: BulkValue(_path_of(name), vr, offset, length, in_items)
            for name, vr, offset, length, in_items in document["values"]
        }
        return cls(PixelElement(*document["pixels"]) if document["pixels"] else None, values)


def bulk_table(scanned: ScannedFile) -> BulkTable | None:
    """Where the bulk values of a scanned file lie; None where it has none."""
    pixels = _pixels_of(scanned)
    values = {bulk_name(value.path): value for value in scanned.bulk}
    return BulkTable(pixels, values) if pixels or values else None


def _pixels_of(scanned: ScannedFile) -> PixelElement | None:
    found = scanned.pixels
    if found is None:
        return None
    if isinstance(found, NativePixels):
        offset, length = found.offset, found.length
    else:
        # From the head of the first fragment's item to behind the last fragment.
        offset = found.first_item - 8
        length = sum(found.lengths) + 8 * len(found.lengths)
    return PixelElement(
        f"{found.tag:08X}", found.vr, found.begin, found.end, offset, length, not isinstance(found, NativePixels)
    )


def bulk_name(path: str) -> str:
    """The name of the value at a path of tags and 0-based item indexes that `BulkValue` spells with slashes."""
    pieces = path.split("/")
    return ".".join(piece if position % 2 == 0 else str(int(piece) + 1) for position, piece in enumerate(pieces))


def _path_of(name: str) -> str:
    pieces = name.split(".")
    return "/".join(piece if position % 2 == 0 else str(int(piece) - 1) for position, piece in enumerate(pieces))


def is_bulk_name(text: str) -> bool:
    """Whether a text could be the name of a bulk value."""
    return len(text) <= 4096 and _NAME.fullmatch(text) is not None


def bulk_reference(name: str) -> str:
    """The BulkDataURI of a value, relative to the URL of its instance."""
    return f"{BULKDATA}/{name}"


#: What a BulkDataURI looks like in JSON as we write it. No text can hold these bytes: within a JSON string every
#: quotation mark has a backslash before it, which here would stand before the colon's.
_IN_JSON = b'"BulkDataURI":"'


class ReferenceResolver:
    """Makes the relative references in the JSON of one instance absolute, a piece of it at a time."""

    def __init__(self, instance_url: str) -> None:
        self._absolute = _IN_JSON + instance_url.encode() + b"/"
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """The next piece of JSON, as far as it is certain that no reference begins at its end."""
        text = (self._held + piece).replace(_IN_JSON, self._absolute)
        held = min(len(text), len(_IN_JSON) - 1)
        text, self._held = text[: len(text) - held], text[len(text) - held :]
        return text

    def finish(self) -> bytes:
        """The rest."""
        rest, self._held = self._held, b""
        return rest


def resolved(json_text: bytes, instance_url: str) -> bytes:
    """The JSON of one instance with absolute references."""
    resolver = ReferenceResolver(instance_url)
    return resolver.feed(json_text) + resolver.finish()
