"""The rules of every VR, as tables; and that what is recognised at once breaks none of them."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dicom import value_rules
from shared.dicom.value_rules import MAX_QUOTED, RULES, SIZES, broken, broken_rule, quoted

#: VR to values that pass.
GOOD: dict[str, list[str]] = {
    "AE": ["STORE_SCP", "a b-c/d", "A" * 16],
    "AS": ["018M", "000D", "120Y", "003W"],
    "CS": ["ORIGINAL", "ISO_IR 192", "A_1 2", "A" * 16],
    "DA": ["20240229", "20000229", "19760000", "19761200", "20200101-20200202", "-20200202", "20200101-"],
    "DS": ["1", "-1.5", "+.5", "1.", "1e10", "-1.5E-05", "  1.5", "1234567890.12345"],
    "DT": ["2024", "202402", "2024022910", "20240229101500.123456", "20240229+0100", "2024-1200", "202401-202402"],
    "IS": ["0", "-2147483648", "+2147483647", "  12", "000000000000012"],
    "LO": ["L" * 64, "Müller", "esc\x1b(B"],
    "LT": ["several\r\nlines\twith\fcontrol", "x" * 10240, "back\\slash"],
    "PN": ["Doe^Jane^Q^Dr^Jr=漢字^名=かな", "=only ideographic", "x" * 64 + "=" + "y" * 64, "^^^^"],
    "SH": ["S" * 16, "esc\x1b"],
    "ST": ["x" * 1024, "lines\r\n"],
    "TM": ["10", "1015", "101500", "101500.1", "235960.999999", "1015-1100"],
    "UC": ["x" * 100_000],
    "UI": ["1", "1.2.840.10008.1.2", "0.1", "1.0.2", "1" * 64],
    "UR": ["https://example.org/a?b=c d"],
    "UT": ["x" * 100_000, "\t\x07"],
}

LONG = "value length exceeds {} characters"
CHARACTER = "value contains invalid character"
DATE = "one of the date values does not match the pattern YYYYMMDD"
MONTH_OR_DAY = "one of the date values is no day of the calendar"
AGE = "value does not match the pattern nnnD, nnnW, nnnM or nnnY"
DECIMAL = "value is not a decimal number"
DATE_TIME = "value does not match the pattern YYYY[MM[DD[HH[MM[SS[.FFFFFF]]]]]][&ZZXX]"
TIME = "value does not match the pattern HH[MM[SS[.FFFFFF]]]"

#: VR, value, and the rule it breaks.
BAD = [
    ("AE", "A" * 17, LONG.format(16)),
    ("AE", "tab\there", CHARACTER),
    ("AS", "22Y", AGE),
    ("AS", "022y", AGE),
    ("AS", "old", AGE),
    ("CS", "C" * 17, LONG.format(16)),
    ("CS", "lower", CHARACTER),
    ("CS", "ABDOM/RAD", CHARACTER),
    ("CS", "X\0X", CHARACTER),
    ("CS", "\0X", CHARACTER),
    ("DA", "NotAValidStudyDate", DATE),
    ("DA", "2020.01.01", DATE),
    ("DA", "202001", DATE),
    ("DA", " 20200101", DATE),
    ("DA", "20200101-20200102-20200103", DATE),
    ("DA", "20201301", MONTH_OR_DAY),
    ("DA", "20200132", MONTH_OR_DAY),
    ("DA", "20230229", MONTH_OR_DAY),
    ("DA", "19000229", MONTH_OR_DAY),
    ("DA", "20230431", MONTH_OR_DAY),
    ("DA", "20230015", MONTH_OR_DAY),
    ("DS", "1.2345678901234567", LONG.format(16)),
    ("DS", "1,5", DECIMAL),
    ("DS", "one", DECIMAL),
    ("DS", "0x10", DECIMAL),
    ("DS", "nan", DECIMAL),
    ("DT", "20241301", DATE_TIME),
    ("DT", "20240229101500.1234567", DATE_TIME),
    ("DT", "20240229-0000", DATE_TIME),
    ("DT", "20240229+1500", DATE_TIME),
    ("DT", "yesterday", DATE_TIME),
    ("IS", "1.0", "value is not an integer"),
    ("IS", "1A", "value is not an integer"),
    ("IS", "2147483648", "value does not fit into 32 bits"),
    ("IS", "-2147483649", "value does not fit into 32 bits"),
    ("IS", "9" * 5000, "value does not fit into 32 bits"),
    ("LO", "L" * 65, LONG.format(64)),
    ("LO", "line\nfeed", CHARACTER),
    ("LO", "back\\slash", CHARACTER),
    ("LT", "x" * 10241, LONG.format(10240)),
    ("LT", "a\0b", CHARACTER),
    ("PN", "a=b=c=d", "value has more than 3 component groups"),
    ("PN", "x" * 65, "a component group is longer than 64 characters"),
    ("PN", "x=" + "y" * 65, "a component group is longer than 64 characters"),
    ("PN", "a^b^c^d^e^f", "a component group has over 5 components"),
    ("PN", "a\0b", CHARACTER),
    ("SH", "S" * 17, LONG.format(16)),
    ("SH", "a\rb", CHARACTER),
    ("ST", "x" * 1025, LONG.format(1024)),
    ("ST", "\0a", CHARACTER),
    ("TM", "25", TIME),
    ("TM", "10:15:00", TIME),
    ("TM", "101500.1234567", TIME),
    ("TM", "noon", TIME),
    ("UC", "a\0b", CHARACTER),
    ("UI", "1" * 65, LONG.format(64)),
    ("UI", "1.2.a", CHARACTER),
    ("UI", "1 .2", CHARACTER),
    ("UI", "1..2", "a component is empty"),
    ("UI", ".1", "a component is empty"),
    ("UI", "1.", "a component is empty"),
    ("UI", "1.02", "a component begins with a zero"),
    ("UI", "00.1", "a component begins with a zero"),
    ("UR", "a\0b", CHARACTER),
    ("UT", "a\0b", CHARACTER),
]  # fmt: skip


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8")


@pytest.mark.parametrize("vr", RULES)
def test_values_in_order_pass_as_text_and_as_bytes(vr: str) -> None:
    for value in GOOD[vr]:
        for padded in (value, value + " ", value + "   ", value + "\0"):
            assert broken_rule(vr, padded) is None, padded
            assert broken(vr, bytes_of(padded), [padded]) is None, padded
        assert broken(vr, None, [value, None, value]) is None


@pytest.mark.parametrize("vr", [*RULES, *SIZES])
def test_no_value_is_in_order(vr: str) -> None:
    for raw in (b"", None):
        assert broken(vr, raw, []) is None
    if vr in RULES:
        for padding in (b" ", b"\0", b"    ", b"\\", b" \\ "):
            assert broken(vr, padding, [None]) is None


@pytest.mark.parametrize(("vr", "value", "reason"), BAD)
def test_values_that_break_a_rule_are_quoted_with_it(vr: str, value: str, reason: str) -> None:
    assert broken_rule(vr, value) == reason
    if "\\" in value and vr not in ("LT", "ST", "UR", "UT"):
        return  # no single value once it is bytes
    expected = f'Content "{quoted(value)}" does not validate VR {vr}: {reason}'
    assert broken(vr, bytes_of(value), [value]) == expected
    assert broken(vr, None, [value]) == expected


def test_the_first_value_that_breaks_a_rule_is_the_one_quoted() -> None:
    assert broken("CS", b"GOOD\\bad\\worse ", []) == f'Content "bad" does not validate VR CS: {CHARACTER}'
    assert broken("DS", b"1\\2\\x\\3", []) == f'Content "x" does not validate VR DS: {DECIMAL}'
    name = {"Alphabetic": "a" * 65, "Phonetic": "b"}
    assert broken("PN", None, [{"Alphabetic": "fine"}, name]) == (
        f'Content "{"a" * 64}…" does not validate VR PN: a component group is longer than 64 characters'
    )


def test_lengths_are_counted_in_characters_not_bytes() -> None:
    text = "漢" * 64
    assert broken("LO", text.encode(), [text]) is None
    assert broken("SH", ("漢" * 17).encode(), ["漢" * 17]) is not None


@pytest.mark.parametrize(("vr", "size"), SIZES.items())
def test_binary_values_are_whole(vr: str, size: int) -> None:
    assert broken(vr, bytes(3 * size), [0, 0, 0]) is None
    assert broken(vr, bytes(size + 1), [0]) == (
        f"Content of {size + 1} bytes does not validate VR {vr}: length is not a multiple of {size}"
    )


def test_quotations_are_short_and_on_one_line() -> None:
    assert quoted("plain \0") == "plain"
    assert quoted("a\0b\r\nc\x1bd\x85e\u2028f\ud800") == "a�b��c�d�e�f�"
    assert quoted("x" * MAX_QUOTED) == "x" * MAX_QUOTED
    assert quoted("x" * 10_000) == "x" * MAX_QUOTED + "…"


PIECES = st.sampled_from(
    [*"0123456789.+-eE^=\\ \0\t\x1b\x7fAaYDZ_", "20240229", "101500", "1.2", "ä", "漢", "\\", "1" * 16, "x" * 64]
)


@given(st.sampled_from(sorted(RULES)), st.lists(PIECES, max_size=12).map("".join))
@settings(max_examples=3000, deadline=None)
def test_what_is_recognised_at_once_breaks_no_rule(vr: str, text: str) -> None:
    if not value_rules._recognised[vr](text.encode("utf-8")):
        return
    values = [text] if vr in ("LT", "ST", "UR", "UT") else text.split("\\")
    assert [broken_rule(vr, value) for value in values] == [None] * len(values)


#: Values that are almost in order, to make an expression go back and forth.
HOSTILE = [b" ", b"1", b"1.", b"\0", b" \0", b"^", b"=", b"\\", b"a", b"20200101 ", b"1 \\", b"-", b"1e", b"\xc3\xa4"]


@pytest.mark.parametrize("vr", RULES)
def test_no_value_takes_more_than_linear_time(vr: str) -> None:
    begin = time.perf_counter()
    for pattern in HOSTILE:
        for end in (b"", b"\x01", b"x", b"\\x"):
            raw = pattern * (200_000 // len(pattern)) + end
            broken(vr, raw, [raw.decode("utf-8", "replace")])
    assert time.perf_counter() - begin < 20  # quadratic ones take many minutes


def test_every_rule_has_a_reason_in_one_sentence() -> None:
    for rules in RULES.values():
        for _, reason in rules:
            assert re.fullmatch(r"[a-z].*[^.]", reason)
