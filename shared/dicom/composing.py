"""A PS3.10 file made of a data set in the DICOM JSON model (PS3.18 §F.2) and of bulk data that came apart from it.

    text --data_sets_in--> where each data set is --read_data_set--> JSON --compose--> [bytes, BulkPart, bytes, ...]

What is composed is a list of pieces: what the JSON holds as bytes, and between them the bulk parts, which are not
touched here. So a file of any size is made without being held.

Decides
- The file is in Explicit VR Little Endian (PS3.5 §A.2), or in the transfer syntax of its pixel data (encapsulation.py).
- Texts are in UTF-8, the one encoding of JSON, and the data set says so (PS3.3 §C.12.1.1.2).
- Numbers in a VR that is text are written as the JSON spells them; a DS of over sixteen characters is rounded to them.
- A value too long for its VR's 16-bit length is written as UN (PS3.5 §6.2.2).
- Group 0002, group lengths and Available Transfer Syntax UID (0008,3002) are not taken over: the file has its own.

Left out: whether values keep the rules of their VR, which is judged as for any file (services/judging.py); where bulk
parts lie; attributes that describe an image and could be derived from its pixels, as PS3.18 §10.5.2 allows.
"""

import base64
import binascii
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydicom.valuerep import format_number_as_ds

from shared.dicom.encapsulation import (
    UNDEFINED,
    CannotCompose,
    Piece,
    encapsulated,
    pixel_syntax,
    size_of,
)
from shared.dicom.explicit import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION
from shared.dicom.json_model import BULK_VRS
from shared.dicom.syntaxes import EXPLICIT_LITTLE
from shared.dicom.validation import is_uid
from shared.dicom.walk import MAX_DEPTH, VRS

type Json = Mapping[str, Any]
#: The parts that a BulkDataURI names, in order; none where the request has none of that name.
type FindBulk = Callable[[str], Sequence[Piece]]

#: Data sets of one request, each an item of its answer.
MAX_DATA_SETS = 20_000
#: Values and containers of one JSON text, each of which becomes an object of some hundred bytes while it is parsed.
MAX_JSON_VALUES = 2_000_000

_TEXTS = frozenset("AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split())
#: Binary numbers: the struct code of one value (PS3.5 §6.2).
_NUMBERS = {"FL": "<f", "FD": "<d", "SL": "<i", "SS": "<h", "SV": "<q", "UL": "<I", "US": "<H", "UV": "<Q"}
#: VRs of a 16-bit length (PS3.5 §7.1.2).
_SHORT = (_TEXTS - {"UC", "UR", "UT"}) | (_NUMBERS.keys() - {"SV", "UV"}) | {"AT"}
_MOST_IN_SHORT, _MOST = 0xFFFE, 0xFFFFFFFE

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_SPACE = re.compile(r"[ \t\r\n]*")
#: Text whose backslashes are no separators (PS3.5 §6.2).
_ONE_TEXT = frozenset({"LT", "ST", "UR", "UT"})
_DECIMAL = re.compile(r"[+-]?[0-9.]{1,64}([eE][+-]?[0-9]{1,4})?")
_SPECIFIC_CHARACTER_SET, _AVAILABLE_TRANSFER_SYNTAX, _PIXEL_DATA = "00080005", "00083002", "7FE00010"
_SOP_CLASS, _SOP_INSTANCE = "00080016", "00080018"

_ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
_ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def _refuse(constant: str) -> str:
    raise ValueError(f"{constant} is no JSON")


# Numbers stay texts, so that what is written is what was sent.
_decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_refuse)


def data_sets_in(text: str) -> list[tuple[int, int]]:
    """Where each data set of a JSON text begins and ends: those of an array, or the one object that the text is.

    Raises ValueError when the text is neither, or holds more than `MAX_DATA_SETS` or `MAX_JSON_VALUES`. Its message
    quotes nothing.
    """
    if text.count(",") + text.count("[") + text.count("{") > MAX_JSON_VALUES:
        raise ValueError(f"there are more than {MAX_JSON_VALUES} values")
    found: list[tuple[int, int]] = []
    at = _behind_space(text, 0)
    if not text.startswith("[", at):
        found.append(_object_at(text, at))
        at = _behind_space(text, found[0][1])
    elif text.startswith("]", end := _behind_space(text, at + 1)):
        at = _behind_space(text, end + 1)
    else:
        separator = ","
        while separator == ",":
            found.append(_object_at(text, _behind_space(text, at + 1)))
            if len(found) > MAX_DATA_SETS:
                raise ValueError(f"there are more than {MAX_DATA_SETS} data sets")
            at = _behind_space(text, found[-1][1])
            separator = text[at : at + 1]
        if separator != "]":
            raise ValueError("the array of data sets does not end")
        at = _behind_space(text, at + 1)
    if at != len(text):
        raise ValueError("something follows the data sets")
    return found


def _object_at(text: str, at: int) -> tuple[int, int]:
    if not text.startswith("{", at):
        raise ValueError("a data set is not an object")
    try:
        return at, _decoder.raw_decode(text, at)[1]
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("a data set cannot be read") from None


def _behind_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def read_data_set(text: str) -> Json:
    """One data set that `data_sets_in` has found, with all its numbers as texts."""
    data_set: Json = _decoder.decode(text)
    return data_set


def uids_of(data_set: Json) -> tuple[str | None, str | None]:
    """SOP Class UID and SOP Instance UID of a data set nobody has looked at; None for what cannot be read."""
    return _first_text(data_set, _SOP_CLASS), _first_text(data_set, _SOP_INSTANCE)


def _first_text(data_set: Json, tag: str) -> str | None:
    element = data_set.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    found = values[0] if isinstance(values, list) and values else None
    return found.rstrip(" \0") if isinstance(found, str) else None


def compose(data_set: Json, find: FindBulk) -> list[Piece]:
    """The pieces of the PS3.10 file of a data set. Work for a thread. Raises CannotCompose."""
    elements = {
        tag: element
        for tag, element in _checked(data_set)
        if not (tag.startswith("0002") or tag == _AVAILABLE_TRANSFER_SYNTAX)
    }
    elements[_SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    syntax, pixels = EXPLICIT_LITTLE, elements.get(_PIXEL_DATA, {})
    parts: Sequence[Piece] = ()
    if "BulkDataURI" in pixels or "InlineBinary" in pixels:
        parts = _value(_PIXEL_DATA, pixels, find)
        syntax = pixel_syntax(dict(_checked(data_set)), parts)
    pieces: list[Piece] = [_file_meta(syntax, uids_of(data_set))]
    for tag in sorted(elements):
        if tag == _PIXEL_DATA and syntax != EXPLICIT_LITTLE:
            pieces += encapsulated(parts)
        else:
            pieces += _element(tag, elements[tag], find, 0)
    return list(_joined(pieces))


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The same with all bytes that follow one another in one piece."""
    held: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            held.append(piece)
            continue
        if held:
            yield b"".join(held)
            held.clear()
        yield piece
    if held:
        yield b"".join(held)


def _file_meta(syntax: str, uids: tuple[str | None, str | None]) -> bytes:
    """Preamble, prefix and File Meta Information (PS3.10 §7.1)."""
    sop_class, sop_instance = (uid if uid is not None and is_uid(uid) else None for uid in uids)
    values = (
        ("00020002", "UI", sop_class),
        ("00020003", "UI", sop_instance),
        ("00020010", "UI", syntax),
        ("00020012", "UI", IMPLEMENTATION_CLASS),
        ("00020013", "SH", IMPLEMENTATION_VERSION),
    )
    group = _head("00020001", "OB", 2) + b"\x00\x01"
    for tag, vr, value in values:
        if value is not None:
            text = value.encode("ascii", "replace")
            text += (b"\0" if vr == "UI" else b" ") * (len(text) % 2)
            group += _head(tag, vr, len(text)) + text
    return bytes(128) + b"DICM" + _head("00020000", "UL", 4) + struct.pack("<I", len(group)) + group


def _checked(data_set: Json) -> Iterator[tuple[str, Json]]:
    """The elements of a data set by upper-case tag, as far as their form goes. Raises CannotCompose."""
    for name, element in data_set.items():
        if not _TAG.fullmatch(name):
            raise CannotCompose(None, "an attribute's name is not a tag of eight hex digits")
        tag = name.upper()
        if not isinstance(element, dict) or str(element.get("vr")) not in VRS:
            raise CannotCompose(tag, "the attribute is not an object with a vr of PS3.5")
        if len(element.keys() & {"Value", "InlineBinary", "BulkDataURI"}) > 1:
            raise CannotCompose(tag, "the attribute has more than one of Value, InlineBinary and BulkDataURI")
        if not tag.endswith("0000"):
            yield tag, element


def _element(tag: str, element: Json, find: FindBulk, depth: int) -> Iterator[Piece]:
    if element["vr"] == "SQ":
        yield from _sequence(tag, element, find, depth)
        return
    pieces = _value(tag, element, find)
    if size_of(pieces) % 2:
        pieces.append(b" " if element["vr"] in _TEXTS and element["vr"] != "UI" else b"\0")
    size = size_of(pieces)
    if size > _MOST:
        raise CannotCompose(tag, "the value is too long for an element")
    yield _head(tag, element["vr"], size)
    yield from pieces


def _sequence(tag: str, element: Json, find: FindBulk, depth: int) -> Iterator[Piece]:
    items = element.get("Value") or ()
    if not isinstance(items, list | tuple) or not all(item is None or isinstance(item, dict) for item in items):
        raise CannotCompose(tag, "the value of a sequence is not an array of data sets")
    if "InlineBinary" in element or "BulkDataURI" in element or depth >= MAX_DEPTH:
        raise CannotCompose(tag, f"a sequence cannot be bulk data, nor nested in more than {MAX_DEPTH}")
    yield _head(tag, "SQ", UNDEFINED)
    for item in items:
        yield _ITEM
        nested = {name: each for name, each in _checked(item or {}) if name != _SPECIFIC_CHARACTER_SET}
        for name in sorted(nested):
            yield from _element(name, nested[name], find, depth + 1)
        yield _ITEM_END
    yield _SEQUENCE_END


def _head(tag: str, vr: str, length: int) -> bytes:
    """The head of an element (PS3.5 §7.1.2), as UN where the length does not fit into that of its VR."""
    start = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16))
    if vr in _SHORT:
        if length <= _MOST_IN_SHORT:
            return start + vr.encode("ascii") + struct.pack("<H", length)
        vr = "UN"
    return start + vr.encode("ascii") + struct.pack("<HI", 0, length)


def _value(tag: str, element: Json, find: FindBulk) -> list[Piece]:
    """The bytes of a value, without padding. Raises CannotCompose."""
    vr = element["vr"]
    if "BulkDataURI" in element:
        uri = element["BulkDataURI"]
        found = find(uri) if isinstance(uri, str) else ()
        if not found:
            raise CannotCompose(tag, "no part of the request has the name that BulkDataURI gives")
        return list(found)
    if "InlineBinary" in element:
        return [_inline(tag, element["InlineBinary"])]
    values = element.get("Value")
    if values is None or values == []:
        return []
    if not isinstance(values, list):
        raise CannotCompose(tag, "Value is not an array")
    if vr in BULK_VRS:
        raise CannotCompose(tag, f"a value of VR {vr} is neither InlineBinary nor BulkDataURI")
    try:
        return [_encoded(vr, values)]
    except (ValueError, TypeError, AttributeError, OverflowError, struct.error):
        # What they say may quote the value, which need not be said: it is in the request.
        raise CannotCompose(tag, f"a value is not one of VR {vr}") from None


def _inline(tag: str, text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise CannotCompose(tag, "InlineBinary is not base64") from None


def _encoded(vr: str, values: list[Any]) -> bytes:
    """Values as bytes. Raises all sorts of errors for what is none of this VR."""
    if vr == "AT":
        return b"".join(struct.pack("<HH", *_group_and_element(value)) for value in values)
    if vr in ("FL", "FD"):
        return b"".join(struct.pack(_NUMBERS[vr], float(value)) for value in values)
    if vr in _NUMBERS:
        return b"".join(struct.pack(_NUMBERS[vr], int(value)) for value in values)
    convert = {"PN": _name, "DS": _decimal}.get(vr, _text)
    texts = ["" if value is None else convert(value) for value in values]
    if vr not in _ONE_TEXT and any("\\" in text for text in texts):
        raise ValueError("a backslash would make two values of one")
    return "\\".join(texts).encode("utf-8", "replace")


def _group_and_element(value: Any) -> tuple[int, int]:
    if not _TAG.fullmatch(value):
        raise ValueError("not a tag")
    return int(value[:4], 16), int(value[4:], 16)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _name(value: Any) -> str:
    """A person name (PS3.18 §F.2.2); plain text passes for the alphabetic group."""
    if isinstance(value, str):
        return value
    groups = [_text(value.get(group) or "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    if any("=" in group for group in groups):
        raise ValueError("an equals sign would make two groups of one")
    return "=".join(groups).rstrip("=")


def _decimal(value: Any) -> str:
    text = _text(value)
    return format_number_as_ds(float(text)) if len(text) > 16 and _DECIMAL.fullmatch(text) else text
