"""Where each frame of one instance lies, so that a frame is one ranged read of the stored file.

Decides: the byte range of every frame of native pixel data (PS3.3 §C.7.6.3 Image Pixel Module, PS3.5 §8.1 Pixel and
Overlay Data), and which fragments make up every frame of encapsulated pixel data (PS3.5 §A.4 Transfer Syntaxes for
Encapsulation of Encoded Pixel Data), by the Basic Offset Table, the Extended Offset Table (7FE0,0001) or the
end-of-image markers. Also the compact form in which a table is kept beside its instance.

Leaves out: decoding. A frame of encapsulated pixel data is its fragments put together, padding included.

Facts
- The items walked are the truth; an offset table only says which of them begin a frame. One that points elsewhere is
  not believed.
- A table is refused (None) rather than guessed: a wrong frame is worse than none.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from shared.dicom.scanned import EncapsulatedPixels, NativePixels, ScannedFile
from shared.dicom.syntaxes import EXPLICIT_BIG, VIDEO, ends_with_marker

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BBIQQ")  # version, kind, frames, offset, bits of a frame or number of fragments
_NATIVE: Final = 0
_ENCAPSULATED: Final = 1
_ONE_EACH: Final = 2  # encapsulated, and every frame is one fragment

_MAX_COUNT: Final = 0xFFFFFFFF  # frames a packed table can number
_MAX_SIDE: Final = 0xFFFF  # Rows, Columns, Samples per Pixel and Bits Allocated are US
_ITEM_HEAD: Final = 8  # Item tag and its length, between fragments
_BITS_OF_FLOATS: Final = {0x7FE00008: 32, 0x7FE00009: 64}  # Float Pixel Data, Double Float Pixel Data


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """The bytes of one frame: one range, in bytes counted as `ScannedFile.deflated` says.

    `fragments` are the lengths of the fragments inside the range, with an 8-byte item head between each two; empty for
    native pixel data. A native frame that neither begins nor ends with a byte has a `bit_length`, and begins at bit
    `bit_offset` of its first byte, counted from the least significant; otherwise both are 0.
    """

    offset: int
    length: int
    fragments: tuple[int, ...] = ()
    bit_offset: int = 0
    bit_length: int = 0


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Where every frame of one instance lies.

    `offset` is that of the first frame's first byte. Native: every frame has `frame_bits` bits. Encapsulated: `lengths`
    are those of all fragments in stream order, `first` is the index of each frame's first fragment and one more entry
    for the end, and `starts` the offset of each frame's first byte.
    """

    kind: Literal["native", "encapsulated"]
    count: int
    offset: int
    frame_bits: int
    lengths: array[int]
    first: array[int]
    starts: array[int]

    def locate(self, number: int) -> FrameSpan:
        """The range of frame `number`, counted from 1. Raises IndexError for a frame the table does not hold."""
        if not 1 <= number <= self.count:
            raise IndexError(f"there is no frame {number} among {self.count}")
        if self.kind == "native":
            begin = (number - 1) * self.frame_bits
            byte, bit = divmod(begin, 8)
            length = (bit + self.frame_bits + 7) // 8
            if self.frame_bits % 8 == 0:
                return FrameSpan(self.offset + byte, length)
            return FrameSpan(self.offset + byte, length, (), bit, self.frame_bits)
        fragments = tuple(self.lengths[self.first[number - 1] : self.first[number]])
        length = sum(fragments) + _ITEM_HEAD * (len(fragments) - 1)
        return FrameSpan(self.starts[number - 1], length, fragments)

    def pack(self) -> bytes:
        """The table in few bytes: 22 for native pixel data, else those and the compressed fragment lengths."""
        if self.kind == "native":
            return _HEAD.pack(_VERSION, _NATIVE, self.count, self.offset, self.frame_bits)
        sizes = array("I", (after - before for before, after in zip(self.first, self.first[1:], strict=False)))
        one_each = len(self.lengths) == self.count and all(size == 1 for size in sizes)
        kind = _ONE_EACH if one_each else _ENCAPSULATED
        body = _planes(self.lengths) + (b"" if one_each else _planes(sizes))
        return _HEAD.pack(_VERSION, kind, self.count, self.offset, len(self.lengths)) + zlib.compress(body, 9)

    @classmethod
    def unpack(cls, data: bytes) -> "FrameTable":
        """The table that `pack` made bytes of. Raises ValueError for bytes it did not make."""
        if len(data) < _HEAD.size:
            raise ValueError("a frame table is at least 22 bytes")
        version, kind, count, offset, number = _HEAD.unpack_from(data)
        if version != _VERSION or kind not in (_NATIVE, _ENCAPSULATED, _ONE_EACH):
            raise ValueError(f"a frame table of version {version} and kind {kind} is not known")
        if kind == _NATIVE:
            return _native(count, offset, number)
        expected = 4 * number + (4 * count if kind == _ENCAPSULATED else 0)
        try:
            inflater = zlib.decompressobj()
            body = inflater.decompress(data[_HEAD.size :], expected + 1)
        except (zlib.error, OverflowError):
            raise ValueError("the fragment lengths of a frame table cannot be inflated") from None
        if len(body) != expected or (kind == _ONE_EACH and count != number):
            raise ValueError("a frame table does not have the size it says")
        lengths = _unplanes(body[: 4 * number])
        if kind == _ONE_EACH:
            return _encapsulated(offset, lengths, range(number + 1))
        first = [0, *accumulate(_unplanes(body[4 * number :]))]
        if first[-1] > number:
            raise ValueError("a frame table gives its frames more fragments than there are")
        return _encapsulated(offset, lengths, first)


def join_fragments(span: FrameSpan, data: bytes) -> bytes:
    """The frame in `data`, the bytes of `span`: its fragments without the item heads between them (PS3.5 §A.4).

    Native frames come back as they are. Raises ValueError when `data` is not as long as the span.
    """
    if len(data) != span.length:
        raise ValueError(f"the frame has {span.length} bytes and {len(data)} came")
    if len(span.fragments) < 2:
        return data
    pieces, at = [], 0
    view = memoryview(data)
    for length in span.fragments:
        pieces.append(view[at : at + length])
        at += length + _ITEM_HEAD
    return b"".join(pieces)


class FragmentJoiner:
    """The same piece by piece, for frames too large to hold: `feed` it the bytes of a span, in order.

    `fragments` are their lengths in bytes, as in `FrameSpan`.
    """

    def __init__(self, fragments: Sequence[int]) -> None:
        self._fragments = iter(fragments)
        self._keep = next(self._fragments, 0)
        self._drop = 0

    def feed(self, data: bytes) -> bytes:
        """Those of the next bytes that belong to the frame."""
        kept = []
        at = 0
        while at < len(data):
            if self._drop:
                dropped = min(self._drop, len(data) - at)
                at += dropped
                self._drop -= dropped
                continue
            if not self._keep:
                following = next(self._fragments, None)
                if following is None:
                    break
                self._keep, self._drop = following, _ITEM_HEAD
                continue
            piece = data[at : at + self._keep]
            kept.append(piece)
            at += len(piece)
            self._keep -= len(piece)
        return b"".join(kept)


def extract_bits(span: FrameSpan, data: bytes) -> bytes:
    """The frame in `data`, the bytes of `span`, moved to begin with bit 0 of its first byte (PS3.5 §8.1.1).

    Unused bits of the last byte are 0. Frames made of whole bytes come back as they are. Raises ValueError when
    `data` is not as long as the span.
    """
    if len(data) != span.length:
        raise ValueError(f"the frame has {span.length} bytes and {len(data)} came")
    if not span.bit_length:
        return data
    bits = (int.from_bytes(data, "little") >> span.bit_offset) & ((1 << span.bit_length) - 1)
    return bits.to_bytes((span.bit_length + 7) // 8, "little")


def build_frame_table(
    scanned: ScannedFile,
    *,
    number_of_frames: int | None,
    rows: int | None,
    columns: int | None,
    samples_per_pixel: int | None,
    bits_allocated: int | None,
    photometric_interpretation: str | None,
    extended_offset_table: bytes | None = None,
    extended_offset_table_lengths: bytes | None = None,
) -> FrameTable | None:
    """The frames of what `Part10Scanner` found, or None when there are none or they cannot be told apart.

    The keywords are the values of the elements of those names; absent Number of Frames means one. The two of the
    Extended Offset Table are raw OV values. Frames cut short by the end of the file are not in the table.
    """
    frames = number_of_frames or 1
    if scanned.pixels is None or not 1 <= frames <= _MAX_COUNT:
        return None
    if isinstance(scanned.pixels, NativePixels):
        bits = _frame_bits(
            scanned.pixels.tag, rows, columns, samples_per_pixel, bits_allocated, photometric_interpretation
        )
        return _native_table(scanned.pixels, frames, bits, scanned.transfer_syntax == EXPLICIT_BIG)
    first = _frame_starts(
        scanned.pixels,
        frames,
        scanned.transfer_syntax,
        _extended_offsets(extended_offset_table, extended_offset_table_lengths),
    )
    if first is None or len(first) < 2:
        return None
    return _encapsulated(scanned.pixels.first_item, scanned.pixels.lengths, first)


def _frame_bits(
    tag: int, rows: int | None, columns: int | None, samples: int | None, bits: int | None, photometric: str | None
) -> int:
    """Bits of one native frame; 0 when an element that says so is missing or impossible."""
    if tag in _BITS_OF_FLOATS:  # single samples by definition (PS3.3 §C.7.6.24 and §C.7.6.25)
        samples, bits = samples or 1, _BITS_OF_FLOATS[tag]
    sides = (rows or 0, columns or 0, samples or 0, bits or 0)
    if any(not 0 < side <= _MAX_SIDE for side in sides):
        return 0
    total = sides[0] * sides[1] * sides[2] * sides[3]
    # Two pixels share their chrominance: Y Y Cb Cr, so 2 samples for each pixel (PS3.3 §C.7.6.3.1.2).
    return total // 3 * 2 if photometric == "YBR_FULL_422" else total


def _native_table(pixels: NativePixels, frames: int, bits: int, big_endian: bool) -> FrameTable | None:
    if not bits:
        return None
    # The words of big endian OW are swapped, so a frame that is not made of whole words has no bytes of its own.
    if frames > 1 and big_endian and pixels.vr == "OW" and bits % 16:
        return None
    count = min(frames, pixels.length * 8 // bits)
    return _native(count, pixels.offset, bits) if count else None


def _frame_starts(
    pixels: EncapsulatedPixels, frames: int, transfer_syntax: str, extended: Sequence[int]
) -> Sequence[int] | None:
    """Index of each frame's first fragment, and of the end of the last frame, by the first rule that decides.

    Of pixel data cut short only an offset table or the markers can tell which frames are whole.
    """
    fragments = len(pixels.lengths)
    if not fragments:
        return None
    video = transfer_syntax in VIDEO  # one stream, however many frames are declared (PS3.5 §8.2.5 to §8.2.9)
    if pixels.complete:
        if frames == 1 or video:
            return (0, fragments)
        if fragments == frames:
            return range(frames + 1)
    if video:
        return None
    return (
        _by_offsets(pixels, extended, frames)
        or _by_offsets(pixels, pixels.offset_table, frames)
        or _by_markers(pixels, frames, ends_with_marker(transfer_syntax))
    )


def _by_offsets(pixels: EncapsulatedPixels, offsets: Sequence[int], frames: int) -> Sequence[int] | None:
    """Frames that begin where `offsets` say, in bytes from the first fragment's item head."""
    if len(offsets) != frames:
        return None
    first: list[int] = []
    begin = 0
    wanted = iter(offsets)
    offset = next(wanted, None)
    for index, length in enumerate(pixels.lengths):
        if offset == begin:
            first.append(index)
            offset = next(wanted, None)
        begin += length + _ITEM_HEAD
    if not first or first[0] != 0:
        return None
    if pixels.complete:
        return [*first, len(pixels.lengths)] if len(first) == frames else None
    # Cut short: the last frame begun is whole only if the next was to begin where the fragments end, or it says so.
    if offset == begin or (offset is None and pixels.ends_frame[-1]):
        first.append(len(pixels.lengths))
    return first


def _by_markers(pixels: EncapsulatedPixels, frames: int, marked: bool) -> Sequence[int] | None:
    """Frames that end with the fragments holding an end-of-image marker, if that gives as many as declared.

    Of pixel data cut short it may give fewer, so there the two bytes must be known to be markers (`marked`).
    """
    first = [0, *(index + 1 for index, ends in enumerate(pixels.ends_frame) if ends)]
    if not pixels.complete:
        return first if marked and len(first) - 1 <= frames else None
    return first if len(first) - 1 == frames and first[-1] == len(pixels.lengths) else None


def _extended_offsets(table: bytes | None, lengths: bytes | None) -> Sequence[int]:
    """Values of the Extended Offset Table; none unless it comes with as many lengths (PS3.3 §C.7.6.3.1.8)."""
    if not table or not lengths or len(table) != len(lengths) or len(table) % 8:
        return ()
    return _little(array("Q", table))


def _native(count: int, offset: int, frame_bits: int) -> FrameTable:
    return FrameTable("native", count, offset, frame_bits, array("I"), array("I"), array("Q"))


def _encapsulated(offset: int, lengths: array[int], first: Sequence[int]) -> FrameTable:
    begins = list(accumulate(lengths, lambda at, length: at + length + _ITEM_HEAD, initial=offset))
    starts = array("Q", (begins[index] for index in first[:-1]))
    return FrameTable("encapsulated", len(first) - 1, offset, 0, lengths, array("I", first), starts)


def _planes(numbers: array[int]) -> bytes:
    """32-bit numbers as four planes, lowest bytes first: the high bytes are alike and compress to almost nothing."""
    raw = _little(array("I", numbers)).tobytes()
    return b"".join(raw[plane::4] for plane in range(4))


def _unplanes(data: bytes) -> array[int]:
    size = len(data) // 4
    raw = bytearray(len(data))
    for plane in range(4):
        raw[plane::4] = data[plane * size : (plane + 1) * size]
    return _little(array("I", bytes(raw)))


def _little(numbers: array[int]) -> array[int]:
    """The array with its bytes swapped where the machine is not little endian."""
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers
