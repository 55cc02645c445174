"""A data set as the DICOM JSON model (PS3.18 §F.2), made from the bytes of its values.

Values are converted here rather than by the reading library, because what is stored must survive whatever a file holds:
a number that is none stays the text it is, text in an unknown character set is decoded as far as it goes.

Values of VR OB, OD, OF, OL, OV, OW and UN are referred to by a BulkDataURI (PS3.18 §F.2.6) instead of held, at every
level. Left out: group 0002, group lengths, and elements of Implicit VR that no dictionary knows, as the original
service does.
"""

import math
import re
import struct
from collections.abc import Callable, Container, Sequence
from typing import Any

from pydicom import DataElement, Dataset, charset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from shared.dicom.bulk import bulk_reference
from shared.dicom.walk import VRS
from shared.errors import MalformedDicom

#: VRs whose values stay out of the metadata (PS3.5 §6.2).
BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})

#: Text that the Specific Character Set applies to (PS3.5 §6.1.2.3).
_ENCODED_VRS = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
#: Text in which a backslash is a character and not the mark between two values (PS3.5 §6.2).
_SINGLE_VALUED = frozenset({"ST", "LT", "UT", "UR"})
#: Characters that end the effect of an escape sequence (PS3.5 §6.1.2.5.3).
_TEXT_DELIMITERS = {ord(character) for character in "\r\n\t\f"}
_NAME_DELIMITERS = {ord(character) for character in "^="}
#: ISO 646, what text is in when nothing else is said (PS3.5 §6.1.2.1); superset by which no byte is lost.
_DEFAULT_ENCODINGS = ["iso8859"]
#: How text in GB 2312 begins (PS3.5 §K.3); what decodes it leaves that in.
_GB_2312, _GB_2312_BEGINS = "iso_ir_58", "\x1b$)A"
# Latin-9, which the tables of the reading library lack (PS3.3 §C.12.1.1.2).
charset.python_encoding |= dict.fromkeys(("ISO_IR 203", "ISO 2022 IR 203"), "iso8859_15")
charset.CODES_TO_ENCODINGS[b"\x1b-b"] = "iso8859_15"

#: Binary numbers (PS3.5 §6.2): the struct code of one value.
_NUMBERS = {"FL": "f", "FD": "d", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}

#: VRs that the dictionary leaves open and that the data set decides (PS3.5 §A.1).
_SIGNED_BY_PIXELS = "US or SS"

#: DS and IS (PS3.5 §6.2), a little wider than their sixteen and twelve characters; Python's own reading is wider still.
_DECIMAL = re.compile(r" *[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})? *")
_INTEGER = re.compile(r" *[+-]?[0-9]{1,12} *")

_PIXEL_REPRESENTATION = 0x00280103
_SPECIFIC_CHARACTER_SET = 0x00080005


def data_set_json(data_set: Dataset, bulk: Container[str] = frozenset()) -> dict[str, dict[str, Any]]:
    """The data set in the DICOM JSON model: tags as eight upper-case hex digits, in order.

    An element without a value has no "Value". DS and IS are numbers where they parse as such (PS3.18 §F.2.4). Those
    bulk values whose names are in `bulk` get a BulkDataURI relative to the URL of the instance (bulk.py). Raises
    MalformedDicom when the element structure cannot be read.
    """
    try:
        return _json_of(data_set, bulk, "", _DEFAULT_ENCODINGS, signed=False)
    except RecursionError:
        raise MalformedDicom("sequences are nested too deeply") from None
    except (ValueError, TypeError, KeyError, AttributeError, OSError, EOFError, struct.error, NotImplementedError):
        # What the reading library raises for sequences that are none. Its text may quote values; ours may not.
        raise MalformedDicom("an element of the data set cannot be read") from None


def _json_of(
    data_set: Dataset, bulk: Container[str], above: str, encodings: Sequence[str], *, signed: bool
) -> dict[str, dict[str, Any]]:
    """`above` is the name of the item the data set is in, with its dot."""
    encodings = _encodings(data_set, encodings)
    signed = _signed(data_set, signed)
    result: dict[str, dict[str, Any]] = {}
    for tag in sorted(data_set.keys()):
        element = data_set.get_item(tag)
        vr = _vr(element, signed=signed)
        if tag.group == 0x0002 or tag.element == 0x0000:  # group lengths are retired
            continue
        name = f"{tag:08X}"
        if vr in BULK_VRS:
            if vr == "UN" and getattr(element, "VR", None) is None:
                continue
            if above + name in bulk:
                result[name] = {"vr": vr, "BulkDataURI": bulk_reference(above + name)}
            elif not getattr(element, "value", None):
                result[name] = {"vr": vr}
            continue
        if vr == "SQ":
            items = enumerate(data_set[tag].value or (), start=1)
            values: list[Any] = [
                _json_of(item, bulk, f"{above}{name}.{number}.", encodings, signed=signed) for number, item in items
            ]
        else:
            values = _values(vr, element, encodings)
        result[name] = {"vr": vr, "Value": values} if values else {"vr": vr}
    return result


def _vr(element: RawDataElement | DataElement | None, *, signed: bool) -> str:
    """The VR of an element: its own, else the dictionary's, UN for what neither knows (PS3.5 §6.2.2)."""
    assert element is not None
    vr = element.VR
    if vr not in VRS or vr == "UN":
        # Explicit VR files that passed through a system without a dictionary say UN of everything it did not know.
        vr = _dictionary_vr(element.tag)
    if vr == _SIGNED_BY_PIXELS:
        return "SS" if signed else "US"
    return "OW" if " or " in vr else vr


def _dictionary_vr(tag: BaseTag) -> str:
    if tag.is_private_creator:
        return "LO"
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _encodings(data_set: Dataset, inherited: Sequence[str]) -> Sequence[str]:
    element = data_set.get_item(_SPECIFIC_CHARACTER_SET)
    value = getattr(element, "value", None)
    if isinstance(value, bytes):
        names = value.decode("ascii", "replace").rstrip(" \0").split("\\")
        return convert_encodings([name.strip() for name in names])
    if value:
        return convert_encodings(value if isinstance(value, str) else list(value))
    return inherited


def _signed(data_set: Dataset, inherited: bool) -> bool:
    value = getattr(data_set.get_item(_PIXEL_REPRESENTATION), "value", None)
    if isinstance(value, bytes):
        return any(value)
    return inherited if value is None else bool(value)


def _values(vr: str, element: RawDataElement | DataElement | None, encodings: Sequence[str]) -> list[Any]:
    raw = getattr(element, "value", None)
    if raw is None or raw in ("", b""):
        return []
    if not isinstance(raw, bytes):
        # Specific Character Set and Pixel Representation: the reader has converted them already, for its own use.
        values = [raw] if isinstance(raw, str | int) else list(raw)
        return [value or None if isinstance(value, str) else value for value in values]
    if vr == "AT":
        pairs = struct.iter_unpack(_order(element) + "HH", raw[: len(raw) // 4 * 4])
        return [f"{group:04X}{number:04X}" for group, number in pairs]
    if vr in _NUMBERS:
        size = struct.calcsize("<" + _NUMBERS[vr])
        numbers = struct.iter_unpack(_order(element) + _NUMBERS[vr], raw[: len(raw) // size * size])
        return [_number(number) for (number,) in numbers]
    texts = _texts(vr, raw, encodings)
    if not any(texts):
        return []
    convert = _CONVERSIONS.get(vr, str)
    return [convert(text) if text else None for text in texts]


def _order(element: RawDataElement | DataElement | None) -> str:
    return "<" if getattr(element, "is_little_endian", True) else ">"


def _number(number: float) -> float | str:
    """A binary number; those that JSON has no number for become text (PS3.18 §F.2.3)."""
    if isinstance(number, int) or math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _texts(vr: str, raw: bytes, encodings: Sequence[str]) -> list[str]:
    """The values of a text element without the spaces that pad them (PS3.5 §6.2).

    UIDs lose the NUL that pads them, but keep spaces, which do not belong there; other text keeps NULs, for the same
    reason: the metadata shows what a file holds, and comparing (matching.py) and naming (Scope) forgive both.
    """
    if vr in _ENCODED_VRS:
        delimiters = _NAME_DELIMITERS if vr == "PN" else _TEXT_DELIMITERS
        if vr in _SINGLE_VALUED or len(encodings) == 1:
            text = decode_bytes(raw, encodings, delimiters)
        else:
            # With code extensions a backslash byte may be half of a character; the decoder must see where values end.
            text = decode_bytes(raw, encodings, delimiters | {0x5C})
        if _GB_2312 in encodings:
            text = text.replace(_GB_2312_BEGINS, "")
    else:
        text = raw.decode("ascii" if vr != "UR" else "utf-8", "replace")
    padding = "\0" if vr == "UI" else " "
    return [value.rstrip(padding) for value in ([text] if vr in _SINGLE_VALUED else text.split("\\"))]


def _person_name(text: str) -> dict[str, str]:
    # A fourth group, which the standard does not know, stays with the third: validation.py is to see it.
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("=", 2), strict=False)
    return {name: group for name, group in groups if group}


def _decimal(text: str) -> float | str:
    if not _DECIMAL.fullmatch(text):
        return text
    number = float(text)
    return number if math.isfinite(number) else text


def _integer(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


_CONVERSIONS: dict[str, Callable[[str], Any]] = {"PN": _person_name, "DS": _decimal, "IS": _integer}
