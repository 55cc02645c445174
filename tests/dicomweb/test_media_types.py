"""Content-Type and Accept: what clients really send, and what nobody should."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicomweb.media_types import (
    MAX_CHARACTERS,
    MediaRange,
    MediaType,
    parse_accept,
    parse_media_type,
    split_unquoted,
    unquote,
)
from shared.errors import BadRequest

MEDIA_TYPES = {
    "application/dicom": MediaType("application/dicom"),
    " Application/DICOM ": MediaType("application/dicom"),
    "application/dicom;Transfer-Syntax=*": MediaType("application/dicom", (("transfer-syntax", "*"),)),
    'a/b; x="1;2,3\\"4"; Y=z': MediaType("a/b", (("x", '1;2,3"4'), ("y", "z"))),
    "a/b;; x = 1 ;": MediaType("a/b", (("x", "1"),)),
    "a/b; type=application/dicom": MediaType("a/b", (("type", "application/dicom"),)),
    "a/b; x=": MediaType("a/b", (("x", ""),)),
    'a/b; x=""': MediaType("a/b", (("x", ""),)),
    "a/b; x=y=z": MediaType("a/b", (("x", "y=z"),)),
    "application/vnd.x+json": MediaType("application/vnd.x+json"),
}


@pytest.mark.parametrize(("text", "expected"), MEDIA_TYPES.items())
def test_a_media_type_is_read(text: str, expected: MediaType) -> None:
    assert parse_media_type(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a/",
        "/b",
        "a/b/c",
        "a b/c",
        "a/b c",
        "a/b; x",
        'a/b; x="1',
        'a/b; x=1"2"',
        'a/b; x="1"2',
        "a/b; =1",
        "a/b; x y=1",
        "a/b\r\n",
        "a/b; x=\x00",
        "é/b",
        "a/b, c/d",
        "a/" + "b" * MAX_CHARACTERS,
    ],
)
def test_what_is_no_media_type_is_none(text: str) -> None:
    assert parse_media_type(text) is None


def test_the_last_of_repeated_parameters_counts() -> None:
    # What curl makes of a Content-Type that has a boundary already.
    written = parse_media_type('multipart/related; type="application/dicom"; boundary=ABCD1234; boundary=---2a72')
    assert written is not None
    assert written.get("boundary") == "---2a72"
    assert written.get("type") == "application/dicom"
    assert written.get("start") is None


OCTETS = "application/octet-stream"

ACCEPTS: dict[str, tuple[list[str], list[MediaRange]]] = {
    "none": ([], [MediaRange("*/*")]),
    "empty ones": (["", " , "], [MediaRange("*/*")]),
    "star": (["*"], [MediaRange("*/*")]),
    "Java": (
        ["text/html, *; q=.2, */*; q=.2"],
        [MediaRange("text/html"), MediaRange("*/*", q=0.2, position=1), MediaRange("*/*", q=0.2, position=2)],
    ),
    "OHIF frames": (
        ["multipart/related; type=application/octet-stream; transfer-syntax=*"],
        [MediaRange(OCTETS, True, "*")],
    ),
    "OHIF frames, quoted": (
        ['multipart/related; type="application/octet-stream"; transfer-syntax="*"'],
        [MediaRange(OCTETS, True, "*")],
    ),
    "OHIF bulk data": (
        ['multipart/related; type="application/pdf", multipart/related; type="application/octet-stream"'],
        [MediaRange("application/pdf", True), MediaRange(OCTETS, True, position=1)],
    ),
    "Python client frames": (['multipart/related; type="*/*"'], [MediaRange("*/*", True)]),
    "unquoted */*": (["multipart/related;type=*/*"], [MediaRange("*/*", True)]),
    "Python client metadata": (
        ["application/dicom+json, application/json"],
        [MediaRange("application/dicom+json"), MediaRange("application/json", position=1)],
    ),
    "several headers": (["a/b", "c/d;q=0.5"], [MediaRange("a/b"), MediaRange("c/d", q=0.5, position=1)]),
    "multipart without type": (["multipart/related"], [MediaRange("*/*", True)]),
    "multipart with any subtype": (["multipart/*"], [MediaRange("*/*", True)]),
    "case": (
        ["Multipart/Related; TYPE=Application/DICOM; Transfer-Syntax=1.2"],
        [MediaRange("application/dicom", True, "1.2")],
    ),
    "transfer syntax inside the type": (
        ['multipart/related; type="application/dicom; transfer-syntax=*"'],
        [MediaRange("application/dicom", True, "*")],
    ),
    "comma in quotes": (['a/b; x="1, c/d", e/f'], [MediaRange("a/b"), MediaRange("e/f", position=1)]),
    "a malformed element": (["a/b, nonsense, c/d"], [MediaRange("a/b"), MediaRange("c/d", position=1)]),
    "a malformed inner type": (['multipart/related; type="x", c/d'], [MediaRange("c/d")]),
    "a quote that never closes": (['a/b; x="1, c/d'], [MediaRange("c/d")]),
    "a closed quote, then one that never closes": (
        ['a/b; x="1", c/d; y="2, e/f'],
        [MediaRange("a/b"), MediaRange("e/f", position=1)],
    ),
    "nothing readable": (["nonsense"], []),
    "empty transfer syntax": (["a/b; transfer-syntax="], [MediaRange("a/b")]),
    "trailing comma": (["a/b,"], [MediaRange("a/b")]),
}


@pytest.mark.parametrize(("headers", "expected"), ACCEPTS.values(), ids=ACCEPTS.keys())
def test_accept_is_read_leniently(headers: list[str], expected: list[MediaRange]) -> None:
    assert parse_accept(headers) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "q"),
    [
        ("1", 1),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.000", 1),
        ("0.", 0),
        ("2", 1),
        ("99999999", 1),
        ("-1", 1),
        ("high", 1),
        ("", 1),
        ("nan", 1),
        ("1e9", 1),
        ("\u0665", 1),
        ('"0.3"', 0.3),
    ],
)
def test_a_q_that_is_no_number_counts_as_one(text: str, q: float) -> None:
    assert parse_accept([f"a/b;q={text}"]) == (MediaRange("a/b", q=q),)


def test_accept_is_bounded() -> None:
    assert len(parse_accept(["*," * (MAX_CHARACTERS // 2)])) == MAX_CHARACTERS // 2
    with pytest.raises(BadRequest, match="8192 characters"):
        parse_accept(["a/b"] * 4000)


@pytest.mark.parametrize("text", ['"' * 8192, '"\\' * 4096, "a/b;" * 2048, 'a/b;x="' * 1170, '\\"' * 4096])
def test_hostile_accepts_take_little_time(text: str) -> None:
    begin = time.perf_counter()
    parse_accept([text])
    assert time.perf_counter() - begin < 2


@given(st.text(st.sampled_from('a/*;=,"\\ \tq0.5'), max_size=60))
def test_no_accept_makes_the_reader_fail(text: str) -> None:
    for position, media_range in enumerate(parse_accept([text])):
        assert media_range.position == position
        assert 0 <= media_range.q <= 1


@given(st.lists(st.text(st.sampled_from('ab,;"\\ '), max_size=10), min_size=1, max_size=5))
def test_quoted_pieces_come_back(values: list[str]) -> None:
    quoted = ['"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values]
    assert [unquote(piece) for piece in split_unquoted(",".join(quoted), ",")] == values
