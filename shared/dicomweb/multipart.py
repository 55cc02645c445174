"""Multipart bodies, read as they arrive and written piece by piece (RFC 2046 §5.1, RFC 2387).

    chunk --feed--> [PartStart, PartData, PartData, PartEnd, PartStart, ... End] --finish--> [...]

Facts.

- A delimiter is CRLF, `--` and the boundary; the CRLF belongs to it and not to the part. Before the first delimiter,
  and before one that follows a part's headers at once, the CRLF is that of the line before; the reader pretends it saw
  it again.
- A delimiter holds one CR, its first byte. So what the end of a chunk may have begun is known from the last CR alone,
  and once the next byte does not fit, nothing of what was held back can begin another delimiter. No byte is looked at
  more than a fixed number of times, whatever the body.
- What follows the boundary on its line is `--` for the closing delimiter, then padding, then CRLF, or for the closing
  delimiter the end of the body. A line that goes on in any other way, or with more than `MAX_PADDING` bytes of padding,
  is data. RFC 2046 §5.1.1 would let a reader stop at the boundary; then an instance that holds a longer line would be
  cut short without anybody noticing.
- A body without any byte has no parts, and so has one that is a closing delimiter alone.

Header lines end in CRLF; a bare LF or CR is refused. A writer that ends lines in LF ends its delimiters so as well, and
those cannot be told from binary data.

Deviation: a boundary may hold any visible ASCII characters, not only the bchars of RFC 2046: some clients put a GUID
in braces.

Memory: at most one chunk, one delimiter line and one block of part headers are held.

Left out: what a part is (store_request.py), nested multiparts and content transfer encodings, which PS3.18 §8.6.1.2
has no use for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from shared.errors import BadRequest

#: Text before the first delimiter. It is dropped, so this protects from reading on for ever in a body of another kind.
MAX_PREAMBLE_BYTES = 64 * 1024
#: The headers of one part, which are held whole.
MAX_PART_HEADER_BYTES = 16 * 1024
#: Header lines of one part, folded ones included; bounds the work of unfolding them.
MAX_PART_HEADER_LINES = 64
#: Spaces and tabs after a boundary, held until the line is known to be a delimiter.
MAX_PADDING = 64

_CRLF = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"
_HEADER_WINDOW = 512  # bytes looked at together for the end of a part's headers; they seldom have more
_BOUNDARY = re.compile(rb"[!-~](?:[ -~]{0,68}[!-~])?")
_LINE_END = re.compile(rb"(--)?[ \t]{0,%d}\r\n" % MAX_PADDING)
_LINE_BEGUN = re.compile(rb"-|(?:--)?[ \t]{0,%d}\r?" % MAX_PADDING)
_LINE_WINDOW = len(b"--") + MAX_PADDING + len(_CRLF)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:([^\x00\r\n]*)")


@dataclass(frozen=True, slots=True)
class PartStart:
    """A part begins. `headers` are its headers by lower-case name, unfolded; the first of repeated ones counts."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Some bytes of the part, never none. A chunk that lies wholly inside a part is handed on without a copy."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete."""


@dataclass(frozen=True, slots=True)
class End:
    """No part follows; whatever else comes is ignored."""


type Event = PartStart | PartData | PartEnd | End


class _State(Enum):
    TEXT = auto()  # in a part, or in the preamble, looking for a delimiter
    LINE = auto()  # after a boundary, reading the rest of its line
    HEADERS = auto()
    EPILOGUE = auto()


class MultipartReader:
    """Reads one multipart body as it arrives. After it has raised it must not be used again."""

    def __init__(self, boundary: str) -> None:
        """Raises BadRequest when the boundary is not 1 to 70 visible characters (RFC 2046 §5.1.1)."""
        told = boundary.encode("utf-8", "surrogateescape")
        if not _BOUNDARY.fullmatch(told):
            raise BadRequest("the multipart boundary must be 1 to 70 visible ASCII characters")
        self._state = _State.TEXT
        self._delimiter = b"\r\n--" + told
        self._block = bytearray()  # HEADERS: what came, after the CRLF before it
        self._line = b""  # LINE: what came after the boundary
        self._held = _CRLF  # TEXT: the beginning of a delimiter; other states: the delimiter whole
        self._pretended = len(_CRLF)  # how many bytes of `_held` are not in the body
        self._in_part = False
        self._preamble = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """What a chunk of any length completes. Raises BadRequest when the body is malformed."""
        events: list[Event] = []
        position = 0
        while position < len(chunk):
            match self._state:
                case _State.TEXT:
                    position = self._read_text(chunk, position, events)
                case _State.LINE:
                    position = self._read_line(chunk, position, events)
                case _State.HEADERS:
                    position = self._read_headers(chunk, position, events)
                case _State.EPILOGUE:
                    break
        return events

    def finish(self) -> list[Event]:
        """What the end of the body completes. Raises BadRequest when the closing delimiter never came."""
        match self._state:
            case _State.EPILOGUE:
                return []
            case _State.LINE if self._line.startswith(b"--"):
                return self._close()
            case _State.TEXT if not self._in_part and self._untouched():
                return self._close()
        raise BadRequest("the multipart body ends before its closing delimiter")

    def _untouched(self) -> bool:
        return self._preamble == 0 and self._held == _CRLF and self._pretended == len(_CRLF)

    def _read_text(self, chunk: bytes, position: int, events: list[Event]) -> int:
        """Pass on data up to the next delimiter, or up to what may be the beginning of one."""
        delimiter = self._delimiter
        if self._held:
            more = chunk[position : position + len(delimiter) - len(self._held)]
            if delimiter.startswith(self._held + more):
                self._held += more
                if len(self._held) == len(delimiter):
                    self._state = _State.LINE
                return position + len(more)
            self._release(b"", events)
        end = chunk.find(delimiter, position)
        if end >= 0:
            self._emit(chunk[position:end], events)
            self._held = delimiter
            self._state = _State.LINE
            return end + len(delimiter)
        end = chunk.rfind(b"\r", max(position, len(chunk) - len(delimiter) + 1))
        if end < 0 or not delimiter.startswith(chunk[end:]):
            end = len(chunk)
        self._emit(chunk[position:end], events)
        self._held = chunk[end:]
        return len(chunk)

    def _read_line(self, chunk: bytes, position: int, events: list[Event]) -> int:
        """Decide by the rest of the line whether the boundary was one."""
        line = self._line + chunk[position : position + _LINE_WINDOW]
        ended = _LINE_END.match(line)
        if ended is None and _LINE_BEGUN.fullmatch(line):
            self._line = line
            return len(chunk)
        if ended is None:
            self._release(self._line, events)
            self._state = _State.TEXT
            return position
        position += ended.end() - len(self._line)
        if ended.group(1):
            events += self._close()
        else:
            events += self._end_part()
            self._begin_headers()
        return position

    def _read_headers(self, chunk: bytes, position: int, events: list[Event]) -> int:
        before = len(self._block)
        self._block += chunk[position : position + _HEADER_WINDOW]
        end = self._block.find(_BLANK_LINE, max(0, before - len(_BLANK_LINE) + 1))
        length = end if end >= 0 else len(self._block) - len(_BLANK_LINE) + 1  # without what may be the blank line's
        if length > len(_CRLF) + MAX_PART_HEADER_BYTES:
            raise BadRequest(f"the headers of a part are longer than {MAX_PART_HEADER_BYTES} bytes")
        if end < 0:
            return position + len(self._block) - before
        events.append(PartStart(_parse_headers(bytes(self._block[len(_CRLF) : end]))))
        self._block.clear()
        self._in_part = True
        self._state = _State.TEXT
        self._held, self._pretended = _CRLF, len(_CRLF)
        return position + end + len(_BLANK_LINE) - before

    def _begin_headers(self) -> None:
        self._state = _State.HEADERS
        self._block[:] = _CRLF
        self._line = b""

    def _release(self, more: bytes, events: list[Event]) -> None:
        """What was held back is data after all."""
        data = self._held[self._pretended :] + more
        self._held, self._pretended, self._line = b"", 0, b""
        self._emit(data, events)

    def _emit(self, data: bytes, events: list[Event]) -> None:
        if self._in_part:
            if data:
                events.append(PartData(data))
            return
        self._preamble += len(data)
        if self._preamble > MAX_PREAMBLE_BYTES:
            raise BadRequest(f"no delimiter with the boundary of Content-Type in the first {MAX_PREAMBLE_BYTES} bytes")

    def _end_part(self) -> list[Event]:
        ended: list[Event] = [PartEnd()] if self._in_part else []
        self._in_part = False
        return ended

    def _close(self) -> list[Event]:
        self._state = _State.EPILOGUE
        return [*self._end_part(), End()]


def _parse_headers(block: bytes) -> dict[str, str]:
    """The header fields of one part (RFC 2046 §5.1, RFC 5322 §2.2). Raises BadRequest."""
    if block.count(_CRLF) >= MAX_PART_HEADER_LINES:
        raise BadRequest(f"a part has more than {MAX_PART_HEADER_LINES} header lines")
    lines: list[bytes] = []
    for line in block.split(_CRLF) if block else ():
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1] += b" " + line.strip(b" \t")
        else:
            lines.append(line)
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise BadRequest("a header line of a part is not 'name: value' ended by CRLF")
        headers.setdefault(match[1].decode("ascii").lower(), match[2].strip(b" \t").decode("utf-8", "replace"))
    return headers


# Writing: content_type as the response header; then for each part part_header, its bytes, PART_END; then closing.

#: Follows the bytes of every part.
PART_END = _CRLF

_PLAIN_BOUNDARY = re.compile(r"[0-9A-Za-z_.-]{1,70}")
_HEADER_VALUE = re.compile(r"[!-~]+")


def content_type(boundary: str, media: str) -> str:
    """The Content-Type of a multipart answer whose parts are of one media type (RFC 2387 §3).

    Deviation: the original service leaves out `type`, which the standard requires and viewers miss.
    """
    return f'multipart/related; type="{_value(media)}"; boundary={_boundary(boundary)}'


def part_header(boundary: str, media: str, transfer_syntax: str | None = None, location: str | None = None) -> bytes:
    """The delimiter line and the headers of one part (PS3.18 §8.6.1.2.1).

    `transfer_syntax` is a UID, `location` an absolute URL. Raises ValueError for values that no header may hold.
    """
    syntax = "" if transfer_syntax is None else f"; transfer-syntax={_value(transfer_syntax)}"
    where = "" if location is None else f"Content-Location: {_value(location)}\r\n"
    return f"--{_boundary(boundary)}\r\nContent-Type: {_value(media)}{syntax}\r\n{where}\r\n".encode("ascii")


def closing(boundary: str) -> bytes:
    """The closing delimiter line."""
    return f"--{_boundary(boundary)}--\r\n".encode("ascii")


def _boundary(text: str) -> str:
    """A boundary that needs no quotes in Content-Type; the caller makes it, so another one is a defect."""
    if not _PLAIN_BOUNDARY.fullmatch(text):
        raise ValueError("a boundary must be 1 to 70 letters, digits, '.', '_' and '-'")
    return text


def _value(text: str) -> str:
    if not _HEADER_VALUE.fullmatch(text):
        raise ValueError("a header value must be visible ASCII without spaces")
    return text
