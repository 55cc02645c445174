"""Where everything lies in one PS3.10 file, found while the file is still arriving.

Decides: where a value starts and ends (PS3.5 §7.1 Data Elements, §7.5 Nesting of Data Sets), which values are copied
into a small header that pydicom can read and which are left out because they are bulk, and where the pixel data is
(PS3.5 §A.4 Encapsulation of Encoded Pixel Data). The file layout is PS3.10 §7.1 File Meta Information; deflated files
are PS3.5 §A.5. Edition: PS3.5 2024e.

Leaves out: the meaning of every value except the Transfer Syntax UID, and cutting pixel data into frames (frames.py).

Facts
- The header is read by pydicom afterwards, so wherever the standard leaves a reader a choice this file makes pydicom's:
  an explicit VR data set, item or element whose VR is not two capitals is implicit VR; a VR nobody knows has a 16-bit
  length; a UN of undefined length is a sequence (PS3.5 §6.2.2).
- Leaving out a nested value changes every length above it, so descended sequences and their items are written with
  undefined length and delimiters.
- The walk is one generator asking for bytes; nothing is buffered but the few bytes of an element's head, so a value
  costs the same whether it comes whole or byte by byte.
"""

import re
import sys
import zlib
from array import array
from collections.abc import Generator
from dataclasses import dataclass, replace
from struct import Struct
from typing import Final

from pydicom.datadict import dictionary_VR

from shared.dicom.scanned import BulkValue, EncapsulatedPixels, NativePixels, ScannedFile
from shared.errors import MalformedDicom

EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"

MAX_FRAGMENTS: Final = 4_000_000  # 5 bytes each: 20 MB of lengths and end marks
MAX_BULK_VALUES: Final = 65_536  # about 300 bytes each: 20 MB, where tiny icons could otherwise name millions
MAX_ELEMENTS: Final = 300_000  # elements and items; about 1.7 kB each once pydicom and the JSON model have made them
MAX_DEPTH: Final = 100  # sequences within sequences; pydicom recurses about five calls for each
_INFLATE_IN: Final = 16 * 1024  # compressed bytes handed to zlib at once, so that its unread tail stays small
_INFLATE_OUT: Final = 256 * 1024  # inflated bytes held at once, however far the input expands

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000  # Item
_ITEM_END: Final = 0xFFFEE00D  # Item Delimitation Item
_SEQUENCE_END: Final = 0xFFFEE0DD  # Sequence Delimitation Item
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_OFFSET_TABLES: Final = frozenset({0x7FE00001, 0x7FE00002})  # Extended Offset Table, Extended Offset Table Lengths
_PIXELS: Final = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}  # Float, Double Float, Pixel Data

_BULK_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_LONG_VRS: Final = _BULK_VRS | {"SQ", "SV", "UC", "UR", "UT", "UV"}  # 32-bit length, PS3.5 §7.1.2
# pydicom converts the first element of the file meta while it opens a file, and fails on VRs it cannot convert.
_META_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "OB", "SH", "ST", "UI", "UL", "UN", "UR", "UT"})

_UID: Final = re.compile(rb"[0-9.]{1,64}")
_END_OF_IMAGE: Final = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_END_OF_IMAGE_WITHIN: Final = 10  # last bytes searched: room for padding, and the number pydicom uses
_NO_LIMIT: Final = 1 << 63

_READ, _COPY, _SKIP, _INFLATE = range(4)
type _Walk[T] = Generator[tuple[int, int], bytes, T]


@dataclass(slots=True)
class _Level:
    """An open data set, sequence or item. No byte of it lies at or beyond `limit`; `end` is None when undefined."""

    name: str  # its part of a path: a tag, or the index of an item
    sequence: bool
    end: int | None
    limit: int
    implicit: bool | None  # None until the first element of the data set shows which it is
    items: int = 0


class Part10Scanner:
    """Push parser of one PS3.10 file: `feed` it the bytes in any pieces, then `finish`.

    Memory is at most `max_header_bytes` (twice while finishing), MAX_FRAGMENTS, MAX_BULK_VALUES and one piece of
    inflated data, whatever is sent; MAX_ELEMENTS bounds that of whoever reads the header. Values of bulk VRs longer
    than `elide_over` bytes are left out of the header.
    """

    def __init__(self, *, max_header_bytes: int = 64 * 1024 * 1024, elide_over: int = 4096) -> None:
        self._max_header = max_header_bytes
        self._elide_over = elide_over
        self._header = bytearray()
        self._bulk: list[BulkValue] = []
        self._pixels: NativePixels | EncapsulatedPixels | None = None
        self._syntax = ""
        self._group_length_at: int | None = None  # where in the header the value of (0002,0000) is
        self._set_order(little=True)
        self._length = 0
        self._offset = 0  # of the next byte the walk has not been given
        self._held = bytearray()  # the beginning of what the walk waits to read
        self._inflater: zlib._Decompress | None = None
        self._carried = b""  # compressed bytes read while looking for the end of the file meta
        self._mark = (0, 0)  # header bytes and bulk values before the top-level element now being walked
        self._between = False  # whether a stream that ends here ends cleanly
        self._rubbish = False
        self._elements = 0  # elements and items of the data set so far
        self._done = False
        self._failure: MalformedDicom | None = None
        self._walk = self._file()
        self._ask, self._count = next(self._walk)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the file. Raises MalformedDicom; the scanner is of no more use then."""
        if self._failure:
            raise self._failure
        view = memoryview(data).cast("B")
        self._length += len(view)
        try:
            if self._inflater is None:
                view = view[self._advance(view) :]
            if self._inflater is not None:
                self._inflate(self._inflater, view)
        except MalformedDicom as error:
            self._failure = error
            raise
        except zlib.error:
            self._failure = MalformedDicom("the deflated data set cannot be inflated")
            raise self._failure from None

    def finish(self) -> ScannedFile:
        """Say what was found. Raises MalformedDicom when the stream ended before a data set could begin."""
        if self._failure:
            raise self._failure
        if not self._syntax:
            raise MalformedDicom(f"the file ends after {self._length} bytes, before a transfer syntax or a data set")
        # NUL padding after the data set is no sign that something is missing; anything else left over may be.
        clean = self._done or (self._between and not any(self._held))
        truncated = self._rubbish or not clean or (self._inflater is not None and not self._inflater.eof)
        del self._header[self._mark[0] :]
        del self._bulk[self._mark[1] :]
        if isinstance(self._pixels, NativePixels):
            present = min(self._pixels.length, self._offset - self._pixels.offset)
            self._pixels = replace(self._pixels, length=present)
        return ScannedFile(
            transfer_syntax=self._syntax,
            header=bytes(self._header),
            bulk=tuple(self._bulk),
            pixels=self._pixels,
            deflated=self._syntax == DEFLATED,
            length=self._length,
            truncated=truncated,
        )

    # Bytes in: what the walk asked for is taken from the pieces as they come.

    def _advance(self, data: memoryview) -> int:
        """Hand the walk what it asks for; gives the bytes used, fewer than came only where deflated data begins."""
        at, size = 0, len(data)
        while not self._done:
            answer = b""
            if self._ask == _READ:
                piece = min(self._count - len(self._held), size - at)
                self._held += data[at : at + piece]
                at += piece
                if len(self._held) < self._count:
                    return at
                answer = bytes(self._held)
                self._held.clear()
                self._offset += len(answer)
            elif self._ask == _INFLATE:
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                self._offset = 0
            else:
                piece = min(self._count, size - at)
                if self._ask == _COPY:
                    self._header += data[at : at + piece]
                at += piece
                self._offset += piece
                self._count -= piece
                if self._count:
                    return at
            starting = self._inflater if self._ask == _INFLATE else None
            try:
                self._ask, self._count = self._walk.send(answer)
            except StopIteration:
                self._done = True
            if starting:
                self._inflate(starting, memoryview(self._carried))
                return at
        return size

    def _inflate(self, inflater: "zlib._Decompress", data: memoryview) -> None:
        for at in range(0, len(data), _INFLATE_IN):
            rest: bytes | memoryview = data[at : at + _INFLATE_IN]
            # Once the walk has what it came for nothing more is inflated: the rest could be a bomb.
            while not self._done and not inflater.eof:
                piece = inflater.decompress(rest, _INFLATE_OUT)
                self._advance(memoryview(piece))
                rest = inflater.unconsumed_tail
                if not rest and len(piece) < _INFLATE_OUT:
                    break

    # The walk: what it yields is (what to do, how many bytes).

    def _file(self) -> _Walk[None]:
        preamble = yield _READ, 132
        if not preamble.endswith(b"DICM"):
            raise MalformedDicom("a 128-byte preamble and the prefix DICM are missing")
        self._emit(preamble)
        first = yield from self._file_meta()
        if self._syntax == DEFLATED:
            self._carried, first = first, b""
            yield _INFLATE, 0
        self._set_order(little=self._syntax != EXPLICIT_BIG)
        yield from self._data_set(first)

    def _file_meta(self) -> _Walk[bytes]:
        """Walk group 0002 until the group changes (its length may lie); gives the two bytes read of what follows."""
        empty = True
        while True:
            self._start_element()
            group = yield _READ, 2
            self._between = False
            if group != b"\x02\x00":
                break
            empty = False
            head, tag, vr, length = yield from self._head(group + (yield _READ, 6), implicit=False)
            if length == _UNDEFINED or (vr and vr not in _META_VRS) or (vr == "UL" and length % 4):
                raise MalformedDicom(f"file meta element {_name(tag)} is not readable")
            at = len(self._header) + len(head)
            yield from self._copy(head, length)
            if tag == 0x00020000:  # File Meta Information Group Length
                self._group_length_at = at if length == 4 else None
            elif tag == 0x00020010:  # Transfer Syntax UID
                if vr not in ("UI", "UN", ""):
                    raise MalformedDicom("(0002,0010) has a VR that cannot hold a UID")
                self._take_syntax(at - len(head), at)
        if empty:
            raise MalformedDicom("file meta information is missing")
        return group

    def _take_syntax(self, start: int, at: int) -> None:
        value = bytes(self._header[at:]).rstrip(b"\0 ")
        if value and not _UID.fullmatch(value):
            raise MalformedDicom("the value of (0002,0010) is not a UID")
        self._syntax = value.decode("ascii")
        if self._syntax == DEFLATED:  # the header holds the inflated data set, and says so
            before = len(self._header)
            self._header[start:] = _syntax_element(EXPLICIT_LITTLE)
            if (where := self._group_length_at) is not None:
                group = int.from_bytes(self._header[where : where + 4], "little") + len(self._header) - before
                self._header[where : where + 4] = (group & 0xFFFFFFFF).to_bytes(4, "little")

    def _data_set(self, first: bytes) -> _Walk[None]:
        stack = [_Level("", False, None, _NO_LIMIT, None)]
        while True:
            level = stack[-1]
            if level.end == self._offset:
                self._emit(self._sequence_end if level.sequence else self._item_end)
                stack.pop()
                continue
            self._fits(8, level)
            if len(stack) == 1 and not first:
                self._start_element()
            head = first + (yield _READ, 8 - len(first))
            first = b""
            self._between = False
            self._elements += 1
            if self._elements > MAX_ELEMENTS:
                raise MalformedDicom(f"there are more than {MAX_ELEMENTS} elements and items")
            tag = self._tag(head)
            if level.sequence:
                if tag == _ITEM:
                    end, limit = self._extent(self._u32(head, 4), level)
                    self._emit(self._item)
                    stack.append(_Level(str(level.items), False, end, limit, level.implicit or None))
                    level.items += 1
                elif tag == _SEQUENCE_END:
                    yield from self._end_early(level, stack)
                else:
                    raise MalformedDicom(f"{_name(tag)} before byte {self._offset} is no item of a sequence")
            elif tag == _ITEM_END and len(stack) > 1:
                yield from self._end_early(level, stack)
            elif tag >> 16 in (0x0000, 0xFFFE, 0xFFFF):  # groups no data set has (PS3.5 §7.1)
                if len(stack) > 1:
                    raise MalformedDicom(f"{_name(tag)} before byte {self._offset} is no data element of an item")
                # Rubbish after the data set is ignored, so that the file can be kept; it is reported as truncated
                # because nobody can say what it was. NULs are padding to a block size and no such sign.
                self._rubbish = any(head)
                return
            else:
                yield from self._element(head, stack)

    def _element(self, head: bytes, stack: list[_Level]) -> _Walk[None]:
        level, nested = stack[-1], len(stack) > 1
        if level.implicit is None:
            level.implicit = not (0x40 < head[4] < 0x5B and 0x40 < head[5] < 0x5B)  # VR of two capital letters
            if not nested and not self._syntax:
                self._syntax = IMPLICIT_LITTLE if level.implicit else EXPLICIT_LITTLE
                self._emit(_syntax_element(self._syntax))  # so that pydicom need not guess
        head, tag, stated, length = yield from self._head(head, level.implicit)
        known = _dictionary_vr(tag)
        vr = stated or known
        if tag == _SPECIFIC_CHARACTER_SET and (vr not in ("CS", "UN") or length == _UNDEFINED):
            raise MalformedDicom("(0008,0005) has a VR that cannot hold a character set")
        if tag in _PIXELS and not nested:
            yield from self._pixel_data(tag, stated or _PIXELS[tag], length)
            return
        end, limit = self._extent(length, level)
        if tag not in _PIXELS and ((vr == "SQ" and length) or (vr == "UN" and end is None)):
            if len(stack) >= 2 * MAX_DEPTH:
                raise MalformedDicom(f"sequences are nested deeper than {MAX_DEPTH}")
            self._emit(head[:-4] + b"\xff\xff\xff\xff")
            stack.append(_Level(f"{tag:08X}", True, end, limit, level.implicit))
        elif end is None:
            start = self._offset
            yield from self._nested_fragments(level)
            self._elide(head, tag, vr, start, self._offset - 8 - start, stack)
        elif self._is_bulk(tag, vr, known, length, nested):
            self._elide(head, tag, vr, self._offset, length, stack)
            yield _SKIP, length
        else:
            yield from self._copy(head, length)

    def _is_bulk(self, tag: int, vr: str, known: str, length: int, nested: bool) -> bool:
        if nested and tag in _PIXELS:
            return length > 0
        if vr == "UN" and known not in _BULK_VRS and length < 0xFFFF:
            return False  # pydicom reads these by the dictionary: identifiers of a file that once was implicit VR
        return vr in _BULK_VRS and length > self._elide_over and (nested or tag not in _OFFSET_TABLES)

    def _pixel_data(self, tag: int, vr: str, length: int) -> _Walk[None]:
        if self._pixels:
            raise MalformedDicom("there is more than one pixel data element")
        if length != _UNDEFINED:
            self._pixels = NativePixels(tag, vr, self._offset, length)
            yield _SKIP, length
            return
        size = yield from self._next_item(None)
        if size is not None and (size % 4 or size > 4 * MAX_FRAGMENTS):
            raise MalformedDicom(f"the Basic Offset Table has an impossible length of {size} bytes")
        raw = yield _READ, size or 0
        table = array("I", raw)
        if (sys.byteorder == "little") != (self._order == "<"):
            table.byteswap()
        found = self._pixels = EncapsulatedPixels(self._offset + 8, table, array("I"), bytearray(), complete=False)
        while size is not None and (size := (yield from self._next_item(None))) is not None:
            if len(found.lengths) >= MAX_FRAGMENTS:
                raise MalformedDicom(f"pixel data has more than {MAX_FRAGMENTS} fragments")
            tail = min(size, _END_OF_IMAGE_WITHIN)
            yield _SKIP, size - tail
            last = yield _READ, tail
            found.lengths.append(size)
            found.ends_frame.append(_END_OF_IMAGE in last)
        self._pixels = replace(found, complete=True)

    def _nested_fragments(self, level: _Level) -> _Walk[None]:
        """Walk over an encapsulated value inside an item (an icon), to just behind its Sequence Delimitation Item."""
        while (size := (yield from self._next_item(level))) is not None:
            yield _SKIP, size

    def _next_item(self, level: _Level | None) -> _Walk[int | None]:
        """The length of the next fragment, or None at the Sequence Delimitation Item."""
        if level:
            self._fits(8, level)
        head = yield _READ, 8
        tag, length = self._tag(head), self._u32(head, 4)
        if tag == _SEQUENCE_END:
            return None
        if tag != _ITEM or length == _UNDEFINED:
            raise MalformedDicom(f"{_name(tag)} before byte {self._offset} is no fragment of encapsulated data")
        if level:
            self._fits(length, level)
        return length

    def _head(self, head: bytes, implicit: bool) -> _Walk[tuple[bytes, int, str, int]]:
        """An element's head from its first 8 bytes: all its bytes, tag, VR ("" when it states none) and length."""
        tag = self._tag(head)
        vr = head[4:6]
        if implicit or not b"AA" <= vr <= b"ZZ":
            return head, tag, "", self._u32(head, 4)
        name = vr.decode("latin-1")
        if name in _LONG_VRS:
            head += yield _READ, 4
            return head, tag, name, self._u32(head, 8)
        return head, tag, name, int.from_bytes(head[6:8], "little" if self._order == "<" else "big")

    def _end_early(self, level: _Level, stack: list[_Level]) -> _Walk[None]:
        """Leave a level at its delimiter; one of defined length that has a delimiter too ends where its length says."""
        if level.end is not None:
            yield _SKIP, level.end - self._offset
        self._emit(self._sequence_end if level.sequence else self._item_end)
        stack.pop()

    def _elide(self, head: bytes, tag: int, vr: str, offset: int, length: int, stack: list[_Level]) -> None:
        if len(self._bulk) >= MAX_BULK_VALUES:
            raise MalformedDicom(f"there are more than {MAX_BULK_VALUES} bulk values")
        self._emit(head[:-4] + b"\0\0\0\0")
        path = "/".join([*(level.name for level in stack[1:]), f"{tag:08X}"])
        self._bulk.append(BulkValue(path, vr, offset, length))

    def _extent(self, length: int, level: _Level) -> tuple[int | None, int]:
        """End (None when undefined) and limit of a value of `length` that starts here, inside `level`."""
        if length == _UNDEFINED:
            return None, level.limit
        self._fits(length, level)
        return self._offset + length, self._offset + length

    def _fits(self, length: int, level: _Level) -> None:
        if self._offset + length > level.limit:
            raise MalformedDicom(f"a length near byte {self._offset} reaches beyond the item or sequence around it")

    def _copy(self, head: bytes, length: int) -> _Walk[None]:
        self._emit(head, length)
        yield _COPY, length

    def _emit(self, data: bytes, following: int = 0) -> None:
        """Add to the header, if that leaves room for so many bytes `following`."""
        if len(self._header) + len(data) + following > self._max_header:
            raise MalformedDicom(f"the data set without bulk values is larger than {self._max_header} bytes")
        self._header += data

    def _start_element(self) -> None:
        self._mark = (len(self._header), len(self._bulk))
        self._between = True

    def _set_order(self, *, little: bool) -> None:
        self._order = "<" if little else ">"
        self._pair = Struct(f"{self._order}HH")
        self._word = Struct(f"{self._order}I")
        self._item = self._pair.pack(0xFFFE, 0xE000) + b"\xff\xff\xff\xff"
        self._item_end = self._pair.pack(0xFFFE, 0xE00D) + b"\0\0\0\0"
        self._sequence_end = self._pair.pack(0xFFFE, 0xE0DD) + b"\0\0\0\0"

    def _tag(self, head: bytes) -> int:
        group, element = self._pair.unpack_from(head)
        return int(group << 16 | element)

    def _u32(self, head: bytes, at: int) -> int:
        return int(self._word.unpack_from(head, at)[0])


def _dictionary_vr(tag: int) -> str:
    """VR of PS3.6, UN for private and unknown tags; a choice that may be OW is OW (PS3.5 §A.1)."""
    if tag >> 16 & 1:
        return "UN"
    if not tag & 0xFFFF:
        return "UL"  # group length
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return "OW" if vr.endswith("or OW") else vr


def _syntax_element(uid: str) -> bytes:
    value = uid.encode("ascii") + b"\0" * (len(uid) % 2)
    return b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
