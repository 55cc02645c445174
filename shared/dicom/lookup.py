"""Lookup tables as data sets hold them (PS3.3 §C.11.1.1, §C.7.6.3.1.5, §C.7.9.2), and frames looked up strip by strip.

Decides what the bytes of LUT data mean when they and their descriptor do not agree: of what is there as much is used
as the descriptor counts, and the last entry stands for what is missing. A table never has more than 65536 entries,
whatever its data say.

Facts
- The first number of a descriptor is 0 for 65536 entries; the second is written unsigned by some where it is negative.
- Entries of 8 bits are packed two to a word, or have a word each, in its lower or its upper byte.
- Segments of a palette (discrete, linear, indirect) add at least one entry each, so that expanding them ends.
  *Deviation from pydicom:* the offset of an indirect segment is in bytes, as §C.7.9.2.3 says, not in entries.

Left out: what the entries stand for (grayscale.py, colour.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.errors import CannotRender

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray
    from pydicom import Dataset

_MOST_ENTRIES: Final = 1 << 16
#: Pixels of a strip of rows: bounds the memory of whatever is reckoned in wider numbers than those of the frame.
_STRIP: Final = 1 << 18

_DISCRETE, _LINEAR, _INDIRECT = range(3)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """How many entries a table has, the value the first one is for, and the bits of each: 1 to 16."""

    count: int
    first: int
    bits: int


def descriptor_of(value: Any, *, signed: bool) -> Descriptor:
    """A LUT descriptor; `signed`: the values looked up may be negative. Raises CannotRender when it is none."""
    if value is None or isinstance(value, (str, bytes, int, float)) or len(value) < 3:
        raise CannotRender("the image cannot be rendered: a lookup table has no descriptor of three numbers")
    count, first, bits = (int(each) for each in value[:3])
    if not 0 <= count <= _MOST_ENTRIES or not 1 <= bits <= 16:
        raise CannotRender("the image cannot be rendered: a lookup table has an impossible descriptor")
    return Descriptor(count or _MOST_ENTRIES, first - 0x10000 if signed and first >= 0x8000 else first, bits)


def entries_of(data_set: "Dataset", keyword: str, descriptor: Descriptor) -> "NDArray[Any]":
    """The entries of a table, as uint16, at most as many as the descriptor counts. Raises CannotRender for none."""
    import numpy

    data = data_set.get(keyword)
    if isinstance(data, bytes):
        entries = _unpacked(_little_endian(data, data_set), descriptor)
    else:
        numbers = data if hasattr(data, "__len__") else [data]
        entries = numpy.array([int(number) & 0xFFFF for number in numbers[: descriptor.count]], dtype=numpy.uint16)
    if not entries.size:
        raise CannotRender("the image cannot be rendered: a lookup table is empty")
    return entries[: descriptor.count]


def expanded(data_set: "Dataset", keyword: str, descriptor: Descriptor) -> "NDArray[Any]":
    """The entries of a segmented table (PS3.3 §C.7.9.2), as uint16. Raises CannotRender where segments are none."""
    import numpy

    data = data_set.get(keyword)
    if not isinstance(data, bytes):
        raise CannotRender("the image cannot be rendered: a lookup table is missing")
    size = 1 if descriptor.bits <= 8 else 2
    data = _little_endian(data, data_set)
    words = numpy.frombuffer(data[: len(data) // size * size], f"<u{size}")
    out = numpy.zeros(descriptor.count, dtype=numpy.uint16)
    filled, place = 0, 0
    # A byte alone at the end fills the value up to an even length.
    while filled < out.size and place + 1 < words.size:
        if words[place] == _INDIRECT:
            offset = words[place + 2 : place + 2 + 4 // size]
            begin = int.from_bytes(offset.tobytes(), "little") // size
            for _ in range(_length(words, place)):
                if filled == out.size:
                    break
                begin, filled = _segment(words, begin, out, filled)
            place += 2 + 4 // size
        else:
            place, filled = _segment(words, place, out, filled)
    if not filled:
        raise CannotRender("the image cannot be rendered: a segmented lookup table is empty")
    return out[:filled]


def looked_up(table: "NDArray[Any]", first: float, values: "NDArray[Any]") -> "NDArray[Any]":
    """The entry for each value; values before and behind the table have its first and its last."""
    import numpy

    # Clipping comes before the cast, which has no answer for infinity.
    places = numpy.clip(numpy.floor(numpy.nan_to_num(values - first)), 0, len(table) - 1)
    return table[places.astype(numpy.intp)]


def in_strips(
    pixels: "NDArray[Any]", work: Callable[["NDArray[Any]"], "NDArray[Any]"], *shape: int, dtype: "DTypeLike"
) -> "NDArray[Any]":
    """What `work` makes of the rows of an image, a strip at a time; `shape` is that of what it makes of one pixel."""
    import numpy

    rows, columns = pixels.shape[:2]
    out = numpy.empty((rows, columns, *shape), dtype=dtype)
    for top, bottom in strips(rows, columns):
        out[top:bottom] = work(pixels[top:bottom])
    return out


def strips(rows: int, columns: int) -> list[tuple[int, int]]:
    """First row of each strip, and the one behind its last."""
    height = max(1, _STRIP // columns)
    return [(top, min(top + height, rows)) for top in range(0, rows, height)]


def _little_endian(data: bytes, data_set: "Dataset") -> bytes:
    """Words as a little endian file has them: pydicom leaves those of OW as they are in the file."""
    import numpy

    if data_set.original_encoding[1] is not False:
        return data
    return numpy.frombuffer(data[: len(data) // 2 * 2], numpy.uint16).byteswap().tobytes()


def _unpacked(data: bytes, descriptor: Descriptor) -> "NDArray[Any]":
    import numpy

    count = descriptor.count
    # As many bytes as entries: packed, whatever the bits. A byte more fills the value up to an even length.
    packed = len(data) < 2 * count and (descriptor.bits <= 8 or len(data) in (count, count + 1))
    if packed:
        entries = numpy.frombuffer(data[:count], numpy.uint8).astype(numpy.uint16)
        # A byte where the descriptor says that there are more bits stands for the upper ones.
        return entries << max(0, descriptor.bits - 8)
    entries = numpy.frombuffer(data[: min(len(data) // 2, count) * 2], "<u2")
    if descriptor.bits <= 8 and entries.size and entries.max() > 0xFF:
        return entries >> 8
    return entries


def _length(words: "NDArray[Any]", place: int) -> int:
    """The length of a segment, or the number of those that an indirect one copies."""
    length = int(words[place + 1])
    if not length:
        raise CannotRender("the image cannot be rendered: a segmented lookup table has a segment of no length")
    return length


def _segment(words: "NDArray[Any]", place: int, out: "NDArray[Any]", filled: int) -> tuple[int, int]:
    """Expand a discrete or linear segment into `out`; where the next one begins, and how much is filled then."""
    import numpy

    if place + 2 >= words.size or words[place] not in (_DISCRETE, _LINEAR):
        raise CannotRender("the image cannot be rendered: a segmented lookup table has a segment of no known kind")
    length = _length(words, place)
    room = min(length, out.size - filled)
    if words[place] == _DISCRETE:
        entries = words[place + 2 : place + 2 + room]
        out[filled : filled + entries.size] = entries
        return place + 2 + length, filled + entries.size
    if not filled:
        raise CannotRender("the image cannot be rendered: a segmented lookup table begins with a linear segment")
    begin, end = int(out[filled - 1]), int(words[place + 2])
    steps = numpy.arange(1, room + 1)
    out[filled : filled + room] = numpy.rint(begin + (end - begin) * steps / length)
    return place + 3, filled + room
