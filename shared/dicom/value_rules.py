"""What a value of each VR may look like (PS3.5 §6.2, Table 6.2-1): a table of rules, and the first one a value breaks.

    VR, bytes of the value, values in JSON --broken--> None, or which value breaks which rule

Facts
- Most values are in order. One expression over the bytes of a whole element says so of them; only what it does not
  recognise is split into values and taken through the rules, so that a data set costs little more than being read.
- Lengths are in characters, not bytes (PS3.5 §6.2, Note to Table 6.2-1). No encoding has more characters than bytes.
- Spaces and NULs at the end of a value are padding (PS3.5 §6.2), more of them than the standard allows too. A value
  that has nothing else is empty, and passes.
- Where the original service's library is more lenient than the standard, so is this table, or drop-in clients would see
  warnings that they never saw: ranges of dates and times pass, which belong into queries, so do dates that no calendar
  has, control characters in long texts, and IS of more than twelve characters. Of long texts only NULs are looked at.

Left out: values of bulk VRs (OB to OW, UN), which neither metadata nor index hold; value multiplicity; whether a VR is
the right one.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

#: Characters of a value that a comment quotes.
MAX_QUOTED = 64

type _Check = Callable[[str], object]

_CONTROL = r"\x00-\x1f\x7f"
_CONTROL_BUT_ESCAPE = r"\x00-\x1a\x1c-\x1f\x7f"  # ESC begins an escape sequence (PS3.5 §6.1.2.5)

_DATE = r"[0-9]{8} *+"
_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
# A month or a day that nobody knows is written as 00, as the library of the original service accepts it.
_DAY = (
    r"(?:[0-9]{4}(?:0000|(?:0[13578]|1[02])(?:[0-2][0-9]|3[01])|(?:0[469]|11)(?:[0-2][0-9]|30)"
    rf"|02(?:[01][0-9]|2[0-8]))|{_LEAP_YEAR}0229) *+"
)
_SECONDS = r"(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?"
_CLOCK = rf"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:{_SECONDS})?)?"
_OFFSET = r"(?:\+(?:0[0-9]|1[0-4])[0-5][0-9]|-(?!0000)(?:0[0-9]|1[0-2])[0-5][0-9])"
_DATE_TIME = rf"[0-9]{{4}}(?:(?:0[1-9]|1[0-2])(?:(?:0[1-9]|[12][0-9]|3[01])(?:{_CLOCK})?)?)?{_OFFSET}? *+"
_DECIMAL = r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"


def _range_of(one: str) -> str:
    """An expression, or two with a hyphen between them of which either may be missing."""
    return rf"(?:{one})?(?:-(?:{one})?)?"


def _is(pattern: str) -> _Check:
    return re.compile(pattern, re.DOTALL).fullmatch


def _at_most(number: int) -> tuple[_Check, str]:
    return lambda text: len(text) <= number, f"value length exceeds {number} characters"


def _fits_32_bits(text: str) -> bool:
    return len(text) <= 64 and -(2**31) <= int(text) < 2**31


_INVALID_CHARACTER = "value contains invalid character"
_NO_NUL = (_is(r"[^\0]*"), _INVALID_CHARACTER)
_NAME = (_is(rf"[^{_CONTROL_BUT_ESCAPE}\\]*"), _INVALID_CHARACTER)

#: VR to what its values must satisfy, in this order, and what is wrong where they do not.
RULES: dict[str, tuple[tuple[_Check, str], ...]] = {
    "AE": (_at_most(16), (_is(rf"[^{_CONTROL}\\]*"), _INVALID_CHARACTER)),
    "AS": ((_is(r"[0-9]{3}[DWMY]"), "value does not match the pattern nnnD, nnnW, nnnM or nnnY"),),
    "CS": (_at_most(16), (_is(r"[A-Z0-9_ ]*"), _INVALID_CHARACTER)),
    "DA": (
        (_is(_range_of(_DATE)), "one of the date values does not match the pattern YYYYMMDD"),
        (_is(_range_of(_DAY)), "one of the date values is no day of the calendar"),
    ),
    "DS": (_at_most(16), (_is(rf" *{_DECIMAL}"), "value is not a decimal number")),
    "DT": (
        (
            _is(rf"(?!.*-0000){_range_of(_DATE_TIME)}"),
            "value does not match the pattern YYYY[MM[DD[HH[MM[SS[.FFFFFF]]]]]][&ZZXX]",
        ),
    ),
    "IS": ((_is(r" *[+-]?[0-9]+"), "value is not an integer"), (_fits_32_bits, "value does not fit into 32 bits")),
    "LO": (_at_most(64), _NAME),
    "LT": (_at_most(10240), _NO_NUL),
    "PN": (
        (_is(r"[^=]*(?:=[^=]*){0,2}"), "value has more than 3 component groups"),
        (_is(r"[^=]{0,64}(?:=[^=]{0,64}){0,2}"), "a component group is longer than 64 characters"),
        (_is(r"[^=^]*(?:\^[^=^]*){0,4}(?:=[^=^]*(?:\^[^=^]*){0,4}){0,2}"), "a component group has over 5 components"),
        _NAME,
    ),
    "SH": (_at_most(16), _NAME),
    "ST": (_at_most(1024), _NO_NUL),
    "TM": ((_is(_range_of(rf"{_CLOCK} *+")), "value does not match the pattern HH[MM[SS[.FFFFFF]]]"),),
    "UC": (_NO_NUL,),
    "UI": (
        _at_most(64),
        (_is(r"[0-9.]*"), _INVALID_CHARACTER),
        (_is(r"[^.]+(?:\.[^.]+)*"), "a component is empty"),
        (_is(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*"), "a component begins with a zero"),
    ),
    "UR": (_NO_NUL,),
    "UT": (_NO_NUL,),
}

#: Bytes of one value of the binary VRs (PS3.5 Table 6.2-1).
SIZES = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}

#: VRs in the default character repertoire (PS3.5 §6.1.2.1), whose values are looked at as bytes; those of the others
#: depend on the Specific Character Set, and are looked at as JSON has them.
_ASCII = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
#: A backslash in these is a character (PS3.5 §6.2).
_SINGLE_VALUED = frozenset({"LT", "ST", "UR", "UT"})

_TEXT = r"[ -\[\]-~\x80-\xff]"
_GROUP = r"(?![^=\\]{65})(?:[ -<>-\[\]_-~\x80-\xff]*+\^){0,4}[ -<>-\[\]_-~\x80-\xff]*+"

#: What values in order look like, as far as one expression can say; none of them allows what a rule forbids. All that
#: repeats is possessive: no value, however hostile, is gone through more than a fixed number of times.
_IN_ORDER = {
    "AE": r"[ -\[\]-~]{0,16}+",
    "AS": r"(?:[0-9]{3}[DWMY])?",
    "CS": r"[A-Z0-9_ ]{0,16}+",
    "DA": rf"(?:{_DAY})?",
    "DS": rf"(?![^\\]{{17}})(?: *+{_DECIMAL} *+)?",
    "DT": rf"(?:{_DATE_TIME})?",
    "IS": r"(?: *+[+-]?[0-9]{1,9}+ *+)?",
    "LO": _TEXT + "{0,64}+",
    "PN": rf"{_GROUP}(?:={_GROUP}){{0,2}}",
    "SH": _TEXT + "{0,16}+",
    "TM": rf"(?:{_CLOCK} *+)?",
    "UI": r"(?![^\\]{65})(?:(?:0|[1-9][0-9]*+)(?:\.(?:0|[1-9][0-9]*+))*+)?",
}
_LONG_IN_ORDER = {
    "LT": r"[^\0]{0,10240}+",
    "ST": r"[^\0]{0,1024}+",
    "UC": r"[^\0]*+",
    "UR": r"[^\0]*+",
    "UT": r"[^\0]*+",
}


def _recognise(pattern: str) -> Callable[[bytes], object]:
    return re.compile(pattern.encode("latin-1"), re.DOTALL).fullmatch


_recognised = {
    **{vr: _recognise(rf"{one}(?:\\{one})*+[ \0]*+") for vr, one in _IN_ORDER.items()},
    **{vr: _recognise(rf"{whole}[ \0]*+") for vr, whole in _LONG_IN_ORDER.items()},
}


def broken(vr: str, raw: object, values: Sequence[Any]) -> str | None:
    """What is wrong with the value of an element of this VR, as a sentence that quotes it; None where nothing is.

    `raw` is the value as the file has it, where that is known as bytes; `values` are those of its DICOM JSON.
    The quotation is for whoever sent the value: it identifies patients and belongs into no log.
    """
    if isinstance(raw, bytes):
        size = SIZES.get(vr)
        if size is not None:
            return _odd_length(vr, len(raw), size) if len(raw) % size else None
        recognised = _recognised.get(vr)
        if recognised is None or recognised(raw):
            return None
        if vr in _ASCII:
            text = raw.decode("ascii", "replace")
            values = [text] if vr in _SINGLE_VALUED else text.split("\\")
    for value in values:
        reason = broken_rule(vr, text := _text(value))
        if reason is not None:
            return f'Content "{quoted(text)}" does not validate VR {vr}: {reason}'
    return None


def broken_rule(vr: str, text: str) -> str | None:
    """The first rule of its VR that one value breaks, or None."""
    text = text.rstrip(" \0")
    if not text:
        return None
    return next((reason for check, reason in RULES.get(vr, ()) if not check(text)), None)


def quoted(text: str) -> str:
    """A value as a comment quotes it: of bounded length, on one line."""
    text = text.rstrip(" \0")
    short = text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "\ufffd", short)


def _odd_length(vr: str, length: int, size: int) -> str:
    return f"Content of {length} bytes does not validate VR {vr}: length is not a multiple of {size}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "=".join(str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return "" if value is None else str(value)
