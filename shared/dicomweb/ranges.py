"""Ranges of bytes a client asks for (RFC 9110 §14).

Decides: one range of bytes, or the last so many of them, is answered with 206; what lies behind the end with 416.
Several ranges, another unit, or what cannot be read, are as if nothing had been asked (RFC 9110 §14.2 allows it), and
so is a range whose If-Range names another representation.
"""

import re
from dataclasses import dataclass

from shared.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Some bytes of a representation: from `start`, `count` of them, of `length` in all."""

    start: int
    count: int
    length: int

    @property
    def content_range(self) -> str:
        """The value of Content-Range."""
        return f"bytes {self.start}-{self.start + self.count - 1}/{self.length}"


def requested_range(header: str | None, if_range: str | None, tag: str, length: int) -> ByteRange | None:
    """The range that a Range header asks for; None when the whole representation is to be sent.

    `tag` is the representation's ETag with its quotes, `length` its bytes. Raises RangeNotSatisfiable when no byte of
    it is in the range.
    """
    found = _RANGE.fullmatch(header) if header else None
    if found is None or (if_range is not None and if_range.strip() != tag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        count = min(int(last), length)
        start = length - count
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        count = min(int(last) + 1 if last else length, length) - start
    if count <= 0:
        raise RangeNotSatisfiable(length)
    return ByteRange(start, count, length)
