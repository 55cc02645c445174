"""What the scan of one PS3.10 file finds (part10.py), as values: the header, what it leaves out, the pixel data."""

from array import array
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BulkValue:
    """One value of a bulk VR (PS3.5 §6.2), in bytes from where `ScannedFile.deflated` says.

    `path` names it from the top: tags of eight hex digits with 0-based item indexes between them. The range of a
    nested encapsulated value holds its items with their heads, without the Sequence Delimitation Item; such a value is
    `in_items`.
    """

    path: str
    vr: str
    offset: int
    length: int
    in_items: bool = False


@dataclass(frozen=True, slots=True)
class NativePixels:
    """Pixel data of a defined length; `length` is the bytes really present, at most the declared length.

    `begin` is the offset of the element itself, whose head comes before its value.
    """

    tag: int
    vr: str
    begin: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte behind the element."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class EncapsulatedPixels:
    """Pixel data in fragments (PS3.5 §A.4); a fragment's value follows the one before after an 8-byte item head.

    `begin` and `end` are the offsets of the element's first byte and of the first one behind it. `first_item` is the
    offset of the first fragment's value. `offset_table` holds the Basic Offset Table, empty when that is. `ends_frame`
    holds 1 for each fragment whose last bytes hold an end-of-image marker, else 0. `complete` says whether the Sequence
    Delimitation Item was reached; a fragment cut short is left out.
    """

    tag: int
    vr: str
    begin: int
    end: int
    first_item: int
    offset_table: array[int]
    lengths: array[int]
    ends_frame: bytearray
    complete: bool


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """What one file holds and where.

    `header` is preamble, prefix, file meta and data set without pixel data and with every long bulk value empty; `bulk`
    lists the long and the short ones.
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
