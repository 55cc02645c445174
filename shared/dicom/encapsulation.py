"""Pixel data that came apart from its metadata: which transfer syntax it is in, and how its parts become one element.

    parts of Pixel Data --pixel_syntax--> transfer syntax --encapsulated--> fragments (PS3.5 §A.4)

Decides the transfer syntax, in this order:

1. what the parts themselves say (`BulkPart.syntax`);
2. what the data set states as its Transfer Syntax UID or Available Transfer Syntax UID, where that is encapsulated and
   the parts are not exactly as long as native frames of that image would be;
3. native, Explicit VR Little Endian: PS3.18 §8.7.3.3.2 has uncompressed bulk data in little endian.

Left out: recompressing. What came in a consumer format that no transfer syntax holds is refused.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.dicom.syntaxes import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_FIRST_ORDER,
    JPEG_PROGRESSIVE,
    NATIVE,
)

#: Syntaxes nobody can mean by a bulk part: there is no data set to deflate, and bulk data is not in big endian.
_NOT_OF_PARTS = frozenset({EXPLICIT_BIG, DEFLATED})

UNDEFINED = 0xFFFFFFFF
_MOST = 0xFFFFFFFE  # bytes of a value of defined length
_PIXEL_DATA = "7FE00010"

_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"

#: Start of frame to transfer syntax (ISO/IEC 10918-1 Table B.1, PS3.5 §A.4.1).
_JPEG_FRAMES = {
    0xC0: JPEG_BASELINE,
    0xC1: JPEG_EXTENDED,
    0xC2: JPEG_PROGRESSIVE,  # retired, but there is no other
}
#: In place of a transfer syntax: the part says that it is a picture, and is none that a transfer syntax holds.
NO_SYNTAX = ""
_SOF_LOSSLESS, _START_OF_SCAN = 0xC3, 0xDA
#: Bytes at the beginning of a JPEG stream in which its frame header is looked for, behind profiles and comments.
JPEG_HEAD = 256 * 1024


@dataclass(frozen=True, slots=True)
class BulkPart:
    """Bytes that came as a part of their own, `offset` and `length` in where they are kept.

    `syntax` is the transfer syntax that the part's media type names; None where it names none, and `NO_SYNTAX` where
    there is none for what it is.
    """

    offset: int
    length: int
    syntax: str | None = None


type Piece = bytes | BulkPart


class CannotCompose(Exception):
    """A data set and its bulk data make no file. `tag` is the attribute that is at fault, None where it has no name."""

    def __init__(self, tag: str | None, message: str) -> None:
        super().__init__(message)
        self.tag = tag
        self.message = message


def size_of(pieces: Sequence[Piece]) -> int:
    """Bytes of some pieces together."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces)


def pixel_syntax(data_set: Mapping[str, Mapping[str, Any]], parts: Sequence[Piece]) -> str:
    """The transfer syntax of a data set whose Pixel Data are these parts. Raises CannotCompose."""
    named = {part.syntax for part in parts if isinstance(part, BulkPart) and part.syntax is not None}
    if NO_SYNTAX in named:
        raise CannotCompose(_PIXEL_DATA, "a part of the pixel data is no JPEG stream that a transfer syntax holds")
    if len(named) > 1 or named & _NOT_OF_PARTS:
        raise CannotCompose(
            _PIXEL_DATA, "the parts of the pixel data are not all in one transfer syntax that parts may have"
        )
    if named:
        (syntax,) = named
        return EXPLICIT_LITTLE if syntax in NATIVE else syntax
    stated = _stated_syntax(data_set)
    size = size_of(parts)
    if stated is None or stated in NATIVE or size + size % 2 == _native_size(data_set):
        return EXPLICIT_LITTLE
    return stated


def _stated_syntax(data_set: Mapping[str, Mapping[str, Any]]) -> str | None:
    for tag in ("00020010", "00083002"):
        for value in data_set.get(tag, {}).get("Value") or ():
            if isinstance(value, str) and value.strip(" \0"):
                return value.strip(" \0")
    return None


def _native_size(data_set: Mapping[str, Mapping[str, Any]]) -> int | None:
    """Bytes of the image's native pixel data, padded (PS3.5 §8.1.1); None where the data set does not tell."""
    factors = [_number(data_set, tag) for tag in ("00280010", "00280011", "00280100")]
    if None in factors:
        return None
    bits = (_number(data_set, "00280002") or 1) * (_number(data_set, "00280008") or 1)
    for factor in factors:
        bits *= factor or 0
    size = (bits + 7) // 8
    return size + size % 2


def _number(data_set: Mapping[str, Mapping[str, Any]], tag: str) -> int | None:
    for value in (data_set.get(tag, {}).get("Value") or ())[:1]:
        if isinstance(value, str) and value.strip().isdecimal() and len(value) <= 12:
            return int(value)
    return None


def encapsulated(parts: Sequence[Piece]) -> Iterator[Piece]:
    """Pixel Data of one fragment a part, each a frame; a Basic Offset Table where there is more than one.

    Raises CannotCompose when a part is too long for a fragment.
    """
    sizes = [size_of([part]) for part in parts]
    if any(size > _MOST - 1 for size in sizes):
        raise CannotCompose(_PIXEL_DATA, "a frame is too long for a fragment")
    offsets, at = [], 0
    for size in sizes:
        offsets.append(at)
        at += 8 + size + size % 2
    table = b""
    if 1 < len(offsets) <= _MOST // 4 and offsets[-1] < UNDEFINED:
        table = struct.pack(f"<{len(offsets)}I", *offsets)
    yield b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + _ITEM + struct.pack("<I", len(table)) + table
    for part, size in zip(parts, sizes, strict=True):
        yield _ITEM + struct.pack("<I", size + size % 2)
        yield part
        if size % 2:
            yield b"\0"
    yield _SEQUENCE_END


def jpeg_syntax(head: bytes) -> str | None:
    """The transfer syntax of a JPEG stream by its frame header (ISO/IEC 10918-1 §B.2.2); None where it is no such.

    `head` is its beginning, at most `JPEG_HEAD` bytes are looked at.
    """
    at, lossless = 2, False
    if head[:2] != b"\xff\xd8":
        return None
    while at + 4 <= min(len(head), JPEG_HEAD) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _JPEG_FRAMES:
            return _JPEG_FRAMES[marker]
        length = int.from_bytes(head[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN and at + 4 < len(head):
            # The selection value follows the components of the scan, two bytes each.
            selection = head[at + 5 + 2 * head[at + 4]] if at + 5 + 2 * head[at + 4] < len(head) else 0
            return (JPEG_LOSSLESS_FIRST_ORDER if selection == 1 else JPEG_LOSSLESS) if lossless else None
        lossless = lossless or marker == _SOF_LOSSLESS
        at += 2 + length
    return None
