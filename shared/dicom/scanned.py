"""What the scan of one PS3.10 file finds (part10.py), as values: the header, what it leaves out, the pixel data."""

from array import array
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BulkValue:
    """One value left out of the header, in bytes from where `ScannedFile.deflated` says.

    `path` names it from the top: tags of eight hex digits with 0-based item indexes between them. The range of a
    nested encapsulated value holds its items with their heads, without the Sequence Delimitation Item.
    """

    path: str
    vr: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class NativePixels:
    """Pixel data of a defined length; `length` is the bytes really present, at most the declared length."""

    tag: int
    vr: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class EncapsulatedPixels:
    """Pixel data in fragments (PS3.5 §A.4); a fragment's value follows the one before after an 8-byte item head.

    `first_item` is the offset of the first fragment's value. `offset_table` holds the Basic Offset Table, empty when
    that is. `ends_frame` holds 1 for each fragment whose last bytes hold an end-of-image marker, else 0. `complete`
    says whether the Sequence Delimitation Item was reached; a fragment cut short is left out.
    """

    first_item: int
    offset_table: array[int]
    lengths: array[int]
    ends_frame: bytearray
    complete: bool


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """What one file holds and where.

    `header` is preamble, prefix, file meta and data set without pixel data and with every bulk value empty.
    `deflated` says that offsets count from the first byte of the inflated data set rather than of the file, and that
    the header's own transfer syntax is Explicit VR Little Endian. `length` is the bytes fed. `truncated` says that the
    stream ended inside a value or sequence, or went on with something that is no data element.
    """

    transfer_syntax: str
    header: bytes
    bulk: tuple[BulkValue, ...]
    pixels: NativePixels | EncapsulatedPixels | None
    deflated: bool
    length: int
    truncated: bool
