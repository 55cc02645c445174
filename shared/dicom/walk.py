"""The walk over the elements of one PS3.10 file: where each value starts and ends, and what of it the header keeps.

Decides: where a value starts and ends (PS3.5 §7.1 Data Elements, §7.5 Nesting of Data Sets), which values are copied
into a small header that pydicom can read and which are left out because they are bulk, and where the pixel data is
(PS3.5 §A.4 Encapsulation of Encoded Pixel Data). The file layout is PS3.10 §7.1 File Meta Information.

Leaves out: where the bytes come from (part10.py), the meaning of every value except the Transfer Syntax UID, and
cutting pixel data into frames (frames.py).

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
from array import array
from collections.abc import Generator
from dataclasses import dataclass, replace
from struct import Struct
from typing import Final

from pydicom.datadict import dictionary_VR

from shared.dicom.scanned import BulkValue, EncapsulatedPixels, NativePixels
from shared.dicom.syntaxes import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from shared.errors import MalformedDicom

MAX_FRAGMENTS: Final = 4_000_000  # 5 bytes each: 20 MB of lengths and end marks
MAX_BULK_VALUES: Final = 65_536  # about 300 bytes each: 20 MB, where tiny icons could otherwise name millions
MAX_ELEMENTS: Final = 300_000  # elements and items; about 1.7 kB each once pydicom and the JSON model have made them
MAX_DEPTH: Final = 100  # sequences within sequences; pydicom recurses about five calls for each

_UNDEFINED: Final = 0xFFFFFFFF
_LONG_UNKNOWN: Final = 0xFFFF  # bytes of a UN value from which pydicom leaves it alone
_ITEM: Final = 0xFFFEE000  # Item
_ITEM_END: Final = 0xFFFEE00D  # Item Delimitation Item
_SEQUENCE_END: Final = 0xFFFEE0DD  # Sequence Delimitation Item
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_OFFSET_TABLES: Final = frozenset({0x7FE00001, 0x7FE00002})  # Extended Offset Table, Extended Offset Table Lengths
_PIXELS: Final = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}  # Float, Double Float, Pixel Data

#: Every value representation there is (PS3.5 §6.2).
VRS: Final = frozenset(
    "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_BULK_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_LONG_VRS: Final = _BULK_VRS | {"SQ", "SV", "UC", "UR", "UT", "UV"}  # 32-bit length, PS3.5 §7.1.2
# pydicom converts the first element of the file meta while it opens a file, and fails on VRs it cannot convert.
_META_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "OB", "SH", "ST", "UI", "UL", "UN", "UR", "UT"})

_UID: Final = re.compile(rb"[0-9.]{1,64}")
_END_OF_IMAGE: Final = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_END_OF_IMAGE_WITHIN: Final = 10  # last bytes searched: room for padding, and the number pydicom uses
_NO_LIMIT: Final = 1 << 63

#: What the walk may ask for: to be given bytes, to have them copied into the header, to have them passed over; and to
#: go on with what the rest of the file inflates to.
READ, COPY, SKIP, INFLATE = range(4)
type Steps[T] = Generator[tuple[int, int], bytes, T]


@dataclass(slots=True)
class _Level:
    """An open data set, sequence or item. No byte of it lies at or beyond `limit`; `end` is None when undefined."""

    name: str  # its part of a path: a tag, or the index of an item
    sequence: bool
    end: int | None
    limit: int
    implicit: bool | None  # None until the first element of the data set shows which it is
    items: int = 0


class Walk:
    """One file being walked over: `file` yields what it wants done and with how many bytes, and is sent those it reads.

    Whoever drives it adds copied bytes to `header` and keeps `offset`, that of the next byte the walk has not had.
    """

    def __init__(self, max_header_bytes: int, elide_over: int) -> None:
        self._max_header = max_header_bytes
        self._elide_over = elide_over
        self.header = bytearray()
        self.bulk: list[BulkValue] = []
        self.pixels: NativePixels | EncapsulatedPixels | None = None
        self.syntax = ""
        self.offset = 0
        self.carried = b""  # compressed bytes read while looking for the end of the file meta
        self.mark = (0, 0)  # header bytes and bulk values before the top-level element now being walked
        self.between = False  # whether a stream that ends here ends cleanly
        self.rubbish = False  # whether something followed that is no element
        self._elements = 0  # elements and items of the data set so far
        self._group_length_at: int | None = None  # where in the header the value of (0002,0000) is
        self._set_order(little=True)

    def file(self) -> Steps[None]:
        preamble = yield READ, 132
        if not preamble.endswith(b"DICM"):
            raise MalformedDicom("a 128-byte preamble and the prefix DICM are missing")
        self._emit(preamble)
        first = yield from self._file_meta()
        if self.syntax == DEFLATED:
            self.carried, first = first, b""
            yield INFLATE, 0
        self._set_order(little=self.syntax != EXPLICIT_BIG)
        yield from self._data_set(first)

    def _file_meta(self) -> Steps[bytes]:
        """Walk group 0002 until the group changes (its length may lie); gives the two bytes read of what follows."""
        empty = True
        while True:
            self._start_element()
            group = yield READ, 2
            self.between = False
            if group != b"\x02\x00":
                break
            empty = False
            head, tag, vr, length = yield from self._head(group + (yield READ, 6), implicit=False)
            if length == _UNDEFINED or (vr and vr not in _META_VRS) or (vr == "UL" and length % 4):
                raise MalformedDicom(f"file meta element {_name(tag)} is not readable")
            at = len(self.header) + len(head)
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
        value = bytes(self.header[at:]).rstrip(b"\0 ")
        if value and not _UID.fullmatch(value):
            raise MalformedDicom("the value of (0002,0010) is not a UID")
        self.syntax = value.decode("ascii")
        if self.syntax == DEFLATED:  # the header holds the inflated data set, and says so
            before = len(self.header)
            self.header[start:] = _syntax_element(EXPLICIT_LITTLE)
            if (where := self._group_length_at) is not None:
                group = int.from_bytes(self.header[where : where + 4], "little") + len(self.header) - before
                self.header[where : where + 4] = (group & 0xFFFFFFFF).to_bytes(4, "little")

    def _data_set(self, first: bytes) -> Steps[None]:
        stack = [_Level("", False, None, _NO_LIMIT, None)]
        while True:
            level = stack[-1]
            if level.end == self.offset:
                self._emit(self._sequence_end if level.sequence else self._item_end)
                stack.pop()
                continue
            self._fits(8, level)
            if len(stack) == 1 and not first:
                self._start_element()
            head = first + (yield READ, 8 - len(first))
            first = b""
            self.between = False
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
                    raise MalformedDicom(f"{_name(tag)} before byte {self.offset} is no item of a sequence")
            elif tag == _ITEM_END and len(stack) > 1:
                yield from self._end_early(level, stack)
            elif tag >> 16 in (0x0000, 0xFFFE, 0xFFFF):  # groups no data set has (PS3.5 §7.1)
                if len(stack) > 1:
                    raise MalformedDicom(f"{_name(tag)} before byte {self.offset} is no data element of an item")
                # Rubbish after the data set is ignored, so that the file can be kept; it is reported as truncated
                # because nobody can say what it was. NULs are padding to a block size and no such sign.
                self.rubbish = any(head)
                return
            else:
                yield from self._element(head, stack)

    def _element(self, head: bytes, stack: list[_Level]) -> Steps[None]:
        level, nested = stack[-1], len(stack) > 1
        begin = self.offset - len(head)
        if level.implicit is None:
            level.implicit = not (0x40 < head[4] < 0x5B and 0x40 < head[5] < 0x5B)  # VR of two capital letters
            if not nested and not self.syntax:
                self.syntax = IMPLICIT_LITTLE if level.implicit else EXPLICIT_LITTLE
                self._emit(_syntax_element(self.syntax))  # so that pydicom need not guess
        head, tag, stated, length = yield from self._head(head, level.implicit)
        known = _dictionary_vr(tag)
        # A VR that does not exist says as little as UN does, but it has a 16-bit length.
        vr = (stated if stated in VRS else "UN") if stated else known
        if tag == _SPECIFIC_CHARACTER_SET and (vr not in ("CS", "UN") or length == _UNDEFINED):
            raise MalformedDicom("(0008,0005) has a VR that cannot hold a character set")
        if tag in _PIXELS and not nested:
            yield from self._pixel_data(begin, tag, stated if stated in _BULK_VRS else _PIXELS[tag], length)
            return
        end, limit = self._extent(length, level)
        # pydicom reads a short UN by the dictionary; a long one that is a sequence is made one it can read.
        unknown = vr == "UN" and (end is None or (known == "SQ" and length >= _LONG_UNKNOWN))
        if tag not in _PIXELS and ((vr == "SQ" and length) or unknown):
            if len(stack) >= 2 * MAX_DEPTH:
                raise MalformedDicom(f"sequences are nested deeper than {MAX_DEPTH}")
            self._emit(head[:-4] + b"\xff\xff\xff\xff")
            stack.append(_Level(f"{tag:08X}", True, end, limit, level.implicit))
        elif end is None:
            start = self.offset
            yield from self._nested_fragments(level)
            self._leave_out(head, BulkValue(_path(stack, tag), vr, start, self.offset - 8 - start, in_items=True))
        elif not self._is_bulk(tag, vr, known, length, nested):
            yield from self._copy(head, length)
        else:
            # Nobody knows what an implicit value of unknown VR is, so nobody is told where it lies.
            value = BulkValue(_path(stack, tag), vr, self.offset, length) if stated or vr != "UN" else None
            if nested and tag in _PIXELS:
                short = False
            else:
                short = length <= self._elide_over or (not nested and tag in _OFFSET_TABLES)
            if not short:
                self._leave_out(head, value)
                yield SKIP, length
            else:
                if value and len(self.bulk) < MAX_BULK_VALUES:  # more are not worth their memory
                    self.bulk.append(value)
                yield from self._copy(head, length)

    def _is_bulk(self, tag: int, vr: str, known: str, length: int, nested: bool) -> bool:
        if not length:
            return False
        if nested and tag in _PIXELS:
            return True
        # What passed through a system without a dictionary, or is too long for the 16-bit length of its VR (PS3.5
        # §6.2.2), is UN, but the dictionary knows better.
        return vr in _BULK_VRS and not (vr == "UN" and known not in _BULK_VRS)

    def _pixel_data(self, begin: int, tag: int, vr: str, length: int) -> Steps[None]:
        if self.pixels:
            raise MalformedDicom("there is more than one pixel data element")
        if length != _UNDEFINED:
            self.pixels = NativePixels(tag, vr, begin, self.offset, length)
            yield SKIP, length
            return
        size = yield from self._next_item(None)
        if size is not None and (size % 4 or size > 4 * MAX_FRAGMENTS):
            raise MalformedDicom(f"the Basic Offset Table has an impossible length of {size} bytes")
        raw = yield READ, size or 0
        table = array("I", raw)
        if (sys.byteorder == "little") != (self._order == "<"):
            table.byteswap()
        found = self.pixels = EncapsulatedPixels(
            tag, vr, begin, begin, self.offset + 8, table, array("I"), bytearray(), complete=False
        )
        while size is not None and (size := (yield from self._next_item(None))) is not None:
            if len(found.lengths) >= MAX_FRAGMENTS:
                raise MalformedDicom(f"pixel data has more than {MAX_FRAGMENTS} fragments")
            tail = min(size, _END_OF_IMAGE_WITHIN)
            yield SKIP, size - tail
            last = yield READ, tail
            found.lengths.append(size)
            found.ends_frame.append(_END_OF_IMAGE in last)
        self.pixels = replace(found, end=self.offset, complete=True)

    def _nested_fragments(self, level: _Level) -> Steps[None]:
        """Walk over an encapsulated value inside an item (an icon), to just behind its Sequence Delimitation Item."""
        while (size := (yield from self._next_item(level))) is not None:
            yield SKIP, size

    def _next_item(self, level: _Level | None) -> Steps[int | None]:
        """The length of the next fragment, or None at the Sequence Delimitation Item."""
        if level:
            self._fits(8, level)
        head = yield READ, 8
        tag, length = self._tag(head), self._u32(head, 4)
        if tag == _SEQUENCE_END:
            return None
        if tag != _ITEM or length == _UNDEFINED:
            raise MalformedDicom(f"{_name(tag)} before byte {self.offset} is no fragment of encapsulated data")
        if level:
            self._fits(length, level)
        return length

    def _head(self, head: bytes, implicit: bool) -> Steps[tuple[bytes, int, str, int]]:
        """An element's head from its first 8 bytes: all its bytes, tag, VR ("" when it states none) and length."""
        tag = self._tag(head)
        vr = head[4:6]
        if implicit or not b"AA" <= vr <= b"ZZ":
            return head, tag, "", self._u32(head, 4)
        name = vr.decode("latin-1")
        if name in _LONG_VRS:
            head += yield READ, 4
            return head, tag, name, self._u32(head, 8)
        return head, tag, name, int.from_bytes(head[6:8], "little" if self._order == "<" else "big")

    def _end_early(self, level: _Level, stack: list[_Level]) -> Steps[None]:
        """Leave a level at its delimiter; one of defined length that has a delimiter too ends where its length says."""
        if level.end is not None:
            yield SKIP, level.end - self.offset
        self._emit(self._sequence_end if level.sequence else self._item_end)
        stack.pop()

    def _leave_out(self, head: bytes, value: BulkValue | None) -> None:
        self._emit(head[:-4] + b"\0\0\0\0")
        if value is None:
            return
        if len(self.bulk) >= MAX_BULK_VALUES:
            raise MalformedDicom(f"there are more than {MAX_BULK_VALUES} bulk values")
        self.bulk.append(value)

    def _extent(self, length: int, level: _Level) -> tuple[int | None, int]:
        """End (None when undefined) and limit of a value of `length` that starts here, inside `level`."""
        if length == _UNDEFINED:
            return None, level.limit
        self._fits(length, level)
        return self.offset + length, self.offset + length

    def _fits(self, length: int, level: _Level) -> None:
        if self.offset + length > level.limit:
            raise MalformedDicom(f"a length near byte {self.offset} reaches beyond the item or sequence around it")

    def _copy(self, head: bytes, length: int) -> Steps[None]:
        self._emit(head, length)
        yield COPY, length

    def _emit(self, data: bytes, following: int = 0) -> None:
        """Add to the header, if that leaves room for so many bytes `following`."""
        if len(self.header) + len(data) + following > self._max_header:
            raise MalformedDicom(f"the data set without bulk values is larger than {self._max_header} bytes")
        self.header += data

    def _start_element(self) -> None:
        self.mark = (len(self.header), len(self.bulk))
        self.between = True

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


def _path(stack: list[_Level], tag: int) -> str:
    """Where an element of the innermost open data set is, as `BulkValue.path` spells it."""
    return "/".join([*(level.name for level in stack[1:]), f"{tag:08X}"])


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
