"""Cutting a range out of a deflated data set without ever holding more than a piece of it (PS3.5 §A.5).

Frame tables of deflated instances count from the first byte of the inflated data set (part10.py). `RangeInflater` is
fed the bytes of the file, inflates them, and gives those of the range.
"""

import struct
import zlib
from collections.abc import Iterator

from shared.errors import MalformedDicom

#: Bytes that are inflated at a time; bounds what a file that expands a thousandfold can make us hold.
_INFLATED_AT_ONCE = 1024 * 1024
#: Bytes within which the file meta information must end.
MAX_FILE_META = 1024 * 1024

_LONG_VRS = frozenset({b"OB", b"UN", b"UT", b"OW", b"SQ", b"UR", b"UC"})


def data_set_start(data: bytes) -> int:
    """Where the data set begins in a PS3.10 file whose first bytes are `data` (PS3.10 §7.1).

    The elements of group 0002 are walked; their group length is often wrong. Raises MalformedDicom when they do not end
    within `data`.
    """
    offset = 132
    while offset + 12 <= len(data):
        group, _, vr, short = struct.unpack_from("<HH2sH", data, offset)
        if group != 0x0002:
            return offset
        offset += 12 + struct.unpack_from("<I", data, offset + 8)[0] if vr in _LONG_VRS else 8 + short
    raise MalformedDicom("the file meta information does not end")


class RangeInflater:
    """Inflates a data set that is fed piece by piece and gives the bytes from `offset` for `length`."""

    def __init__(self, offset: int, length: int) -> None:
        self._skip = offset
        self._left = length
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def done(self) -> bool:
        """Whether the whole range has been given."""
        return self._left == 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bytes of the range that `data`, the next bytes of the deflated data set, leads to.

        Raises MalformedDicom for bytes that cannot be inflated.
        """
        full = False  # zlib may have read all of the input and still hold output
        while (data or full) and not self.done:
            try:
                inflated = self._inflater.decompress(data, _INFLATED_AT_ONCE)
            except zlib.error:
                raise MalformedDicom("the deflated data set cannot be inflated") from None
            data = self._inflater.unconsumed_tail
            full = len(inflated) == _INFLATED_AT_ONCE
            skipped = min(self._skip, len(inflated))
            self._skip -= skipped
            piece = inflated[skipped : skipped + self._left]
            self._left -= len(piece)
            if piece:
                yield piece
            if self._inflater.eof:
                return
