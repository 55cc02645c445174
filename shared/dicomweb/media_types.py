"""Media types and Accept headers as values.

Decides how the text of Content-Type and Accept is read. Accept is read leniently, because the original service's strict
reading is what its clients complain about most:

- no Accept header, or only empty ones, means `*/*` (RFC 9110 §12.5.1); `*` alone means `*/*` as well;
- several Accept headers are one list; a comma or semicolon inside a quoted string separates nothing;
- parameter values may hold `/` and `*` without quotes: `type=application/octet-stream`, `transfer-syntax=*`;
- one element that cannot be read is dropped, the others count;
- a `q` that is no number counts as 1, one beyond 0..1 as the nearer end.

Facts. `multipart/related; type="X"` asks for X in parts (PS3.18 §8.6.1.2); without `type` the parts may be anything.
Some clients put the transfer syntax inside the quotes: `type="application/dicom; transfer-syntax=*"`. curl appends its
own `boundary` to a Content-Type that already has one, so of parameters of the same name the last counts.

Left out: which of the acceptable types is chosen (negotiation.py), and whether an `accept` query parameter takes the
place of the header (PS3.18 §8.3.3.1): the caller passes what counts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import BadRequest

#: Characters of all Accept headers together, or of one media type. Bounds the work and the list made of it; the longest
#: list seen from a viewer has some 600.
MAX_CHARACTERS = 8192

ANY = "*/*"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_NAME = re.compile(rf"{_TOKEN.pattern}/{_TOKEN.pattern}")
_QUOTED_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"')  # RFC 9110 §5.6.4
_QUOTED_PAIR = re.compile(r"\\(.)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # all but the tab
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")
_WHITESPACE = " \t"


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type: `name` and the names of parameters in lower case, values as sent, without their quotes."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, parameter: str) -> str | None:
        """The value of a parameter, the last one where it is repeated; None where there is none."""
        return next((value for name, value in reversed(self.parameters) if name == parameter), None)


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One element of Accept.

    `media` is the type of the payload, in lower case, perhaps with wildcards; `multipart` says whether it was asked for
    as the parts of multipart/related. `transfer_syntax` is a UID, `*`, or None where none was named. `q` is in 0..1.
    `position` counts the elements that could be read, from 0.
    """

    media: str
    multipart: bool = False
    transfer_syntax: str | None = None
    q: float = 1.0
    position: int = 0


def parse_media_type(text: str) -> MediaType | None:
    """Read one media type with its parameters (RFC 9110 §8.3.1); None where the text is not one.

    Deviation: an unquoted parameter value may hold any characters but separators, not only those of a token.
    """
    if len(text) > MAX_CHARACTERS or _CONTROL.search(text):
        return None
    name, *pieces = (piece.strip(_WHITESPACE) for piece in split_unquoted(text, ";"))
    if not _NAME.fullmatch(name):
        return None
    parameters: list[tuple[str, str]] = []
    for piece in filter(None, pieces):
        key, equals, written = piece.partition("=")
        key, value = key.strip(_WHITESPACE), unquote(written.strip(_WHITESPACE))
        if not equals or value is None or not _TOKEN.fullmatch(key):
            return None
        parameters.append((key.lower(), value))
    return MediaType(name.lower(), tuple(parameters))


def parse_accept(headers: Sequence[str]) -> tuple[MediaRange, ...]:
    """The elements of all Accept headers that can be read, in the order sent; empty where none can.

    Raises BadRequest when the headers are longer than `MAX_CHARACTERS` together.
    """
    text = ",".join(headers)
    if len(text) > MAX_CHARACTERS:
        raise BadRequest(f"Accept is longer than {MAX_CHARACTERS} characters")
    elements = [element for each in split_unquoted(text, ",") if (element := each.strip(_WHITESPACE))]
    if not elements:
        return (MediaRange(ANY),)
    ranges: list[MediaRange] = []
    for element in elements:
        media_range = _media_range(element, len(ranges))
        if media_range is not None:
            ranges.append(media_range)
    return tuple(ranges)


def split_unquoted(text: str, separator: str) -> list[str]:
    """The pieces of a header value between the separators that are not inside a quoted string.

    A quote that is never closed quotes nothing, so that it spoils its own piece only.
    """
    pieces: list[str] = []
    begin = position = 0
    while position < len(text):
        if text[position] == separator:
            pieces.append(text[begin:position])
            begin = position + 1
        elif text[position] == '"':
            quoted = _QUOTED_STRING.match(text, position)
            if quoted is None:
                return pieces + text[begin:].split(separator)
            position = quoted.end()
            continue
        position += 1
    return [*pieces, text[begin:]]


def unquote(text: str) -> str | None:
    """A parameter value without its quotes and quoted pairs; None where its quotes do not match."""
    if '"' not in text:
        return text
    if not _QUOTED_STRING.fullmatch(text):
        return None
    return _QUOTED_PAIR.sub(r"\1", text[1:-1])


def _media_range(element: str, position: int) -> MediaRange | None:
    written = parse_media_type(re.sub(r"^\*(?=[ \t]*(?:;|$))", ANY, element))
    if written is None:
        return None
    q = _quality(written.get("q"))
    syntax = written.get("transfer-syntax")
    if written.name not in ("multipart/related", "multipart/*"):
        return MediaRange(written.name, False, _nothing_if_empty(syntax), q, position)
    payload = parse_media_type(written.get("type") or ANY)
    if payload is None:
        return None
    syntax = syntax or payload.get("transfer-syntax")
    return MediaRange(payload.name, True, _nothing_if_empty(syntax), q, position)


def _quality(text: str | None) -> float:
    if text is None or not _NUMBER.fullmatch(text):
        return 1.0
    return min(float(text), 1.0)


def _nothing_if_empty(syntax: str | None) -> str | None:
    return (syntax or "").strip(_WHITESPACE) or None
