"""Multipart bodies: every case is fed whole, byte by byte, in two pieces cut everywhere, and with rubbish after."""

import email
import email.policy
import itertools
import re
import time
import tracemalloc
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dicomweb import multipart
from shared.dicomweb.multipart import End, Event, MultipartReader, PartData, PartEnd, PartStart
from shared.errors import BadRequest

type Parts = list[tuple[dict[str, str], bytes]]

DICOM_HEADER = b"Content-Type: application/dicom\r\n"
DICOM = {"content-type": "application/dicom"}


def parts_of(events: list[Event]) -> Parts:
    """Fold events into parts, checking that they come in the only order there is."""
    parts: Parts = []
    data: bytearray | None = None
    headers: dict[str, str] = {}
    ended = False
    for event in events:
        assert not ended, "an event after End"
        match event:
            case PartStart():
                assert data is None
                headers, data = dict(event.headers), bytearray()
            case PartData():
                assert data is not None
                assert event.data
                data += event.data
            case PartEnd():
                assert data is not None
                parts.append((headers, bytes(data)))
                data = None
            case End():
                assert data is None
                ended = True
    assert ended
    return parts


def read(chunks: list[bytes], boundary: str = "b") -> Parts:
    reader = MultipartReader(boundary)
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return parts_of(events + reader.finish())


def bytewise(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


WELL_FORMED: dict[str, tuple[bytes, Parts]] = {
    "one part": (b"--b\r\n" + DICOM_HEADER + b"\r\nDATA\r\n--b--\r\n", [(DICOM, b"DATA")]),
    "two parts": (
        b"--b\r\n" + DICOM_HEADER + b"\r\nONE\r\n--b\r\n" + DICOM_HEADER + b"\r\nTWO\r\n--b--\r\n",
        [(DICOM, b"ONE"), (DICOM, b"TWO")],
    ),
    "no CRLF after the closing delimiter": (b"--b\r\nA: 1\r\n\r\nDATA\r\n--b--", [({"a": "1"}, b"DATA")]),
    "CRLF before the first delimiter": (b"\r\n--b\r\nA: 1\r\n\r\nDATA\r\n--b--\r\n", [({"a": "1"}, b"DATA")]),
    "preamble": (b"for old mail readers\r\n--b\r\nA: 1\r\n\r\nDATA\r\n--b--\r\n", [({"a": "1"}, b"DATA")]),
    "preamble that is nearly a delimiter": (b"--bb\r\n--b\r\nA: 1\r\n\r\nD\r\n--b--\r\n", [({"a": "1"}, b"D")]),
    "padding after boundaries": (b"--b \t\r\nA: 1\r\n\r\nDATA\r\n--b--\t \r\n", [({"a": "1"}, b"DATA")]),
    "no headers": (b"--b\r\n\r\nDATA\r\n--b--\r\n", [({}, b"DATA")]),
    "empty part": (b"--b\r\nA: 1\r\n\r\n\r\n--b--\r\n", [({"a": "1"}, b"")]),
    "empty part whose blank line is the delimiter's": (b"--b\r\nA: 1\r\n\r\n--b--\r\n", [({"a": "1"}, b"")]),
    "part without anything": (b"--b\r\n\r\n--b\r\n\r\n\r\n--b--\r\n", [({}, b""), ({}, b"")]),
    "data of CRLF": (b"--b\r\n\r\n\r\n\r\n--b--\r\n", [({}, b"\r\n")]),
    "data that ends in CR": (b"--b\r\n\r\nX\r\r\n--b--\r\n", [({}, b"X\r")]),
    "data that ends in CRLF and dashes": (b"--b\r\n\r\nX\r\n--\r\n--b--\r\n", [({}, b"X\r\n--")]),
    "boundary inside a line": (b"--b\r\n\r\nX--b--Y\r\n--b--\r\n", [({}, b"X--b--Y")]),
    "boundary after a bare LF": (b"--b\r\n\r\nX\n--b\r\nY\r\n--b--\r\n", [({}, b"X\n--b\r\nY")]),
    "line that begins as a delimiter": (b"--b\r\n\r\nX\r\n--bc\r\nY\r\n--b--\r\n", [({}, b"X\r\n--bc\r\nY")]),
    "line that begins as the closing one": (b"--b\r\n\r\nX\r\n--b--c\r\nY\r\n--b--\r\n", [({}, b"X\r\n--b--c\r\nY")]),
    "line that ends as another": (b"--b\r\n\r\nX\r\n--b-\r\n--b- -\r\n--b--\r\n", [({}, b"X\r\n--b-\r\n--b- -")]),
    "CR after the boundary is no line end": (b"--b\r\n\r\nX\r\n--b\rY\r\n--b--\r\n", [({}, b"X\r\n--b\rY")]),
    "CR and a delimiter after the boundary": (b"--b\r\n\r\nX\r\n--b\r\r\n--b--\r\n", [({}, b"X\r\n--b\r")]),
    "padding, then text": (b"--b\r\n\r\nX\r\n--b  \r \r\n--b--\r\n", [({}, b"X\r\n--b  \r ")]),
    "data that begins as a delimiter": (b"--b\r\n\r\n--bc\r\n--b--\r\n", [({}, b"--bc")]),
    "more padding than allowed": (
        b"--b\r\n\r\nX\r\n--b" + b" " * 65 + b"\r\n--b--\r\n",
        [({}, b"X\r\n--b" + b" " * 65)],
    ),
    "as much padding as allowed": (b"--b" + b" " * 64 + b"\r\n\r\nX\r\n--b--" + b"\t" * 64 + b"\r\n", [({}, b"X")]),
    "closing delimiter alone": (b"--b--\r\n", []),
    "closing delimiter alone, no CRLF": (b"--b--", []),
    "preamble and closing delimiter": (b"nothing\r\n--b--\r\n", []),
    "headers": (
        b"--b\r\ncontent-TYPE:application/dicom\r\nX-None:\r\nX-Space : \t v \r\nX-None: second\r\n\r\nD\r\n--b--\r\n",
        [({"content-type": "application/dicom", "x-none": "", "x-space": "v"}, b"D")],
    ),
    "folded header": (
        b"--b\r\nContent-Type: application/dicom;\r\n\t transfer-syntax=1.2\r\n\r\nD\r\n--b--\r\n",
        [({"content-type": "application/dicom; transfer-syntax=1.2"}, b"D")],
    ),
    "non-ASCII file name": (
        b'--b\r\nContent-Disposition: attachment; filename="\xc3\xa9\xff"\r\n\r\nD\r\n--b--\r\n',
        [({"content-disposition": 'attachment; filename="é\ufffd"'}, b"D")],
    ),
}


@pytest.mark.parametrize(("body", "expected"), WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_a_well_formed_body_gives_its_parts_however_it_is_cut(body: bytes, expected: Parts) -> None:
    assert read([body]) == expected
    assert read(bytewise(body)) == expected
    for cut in range(len(body) + 1):
        assert read([body[:cut], body[cut:]]) == expected


@pytest.mark.parametrize(("body", "expected"), WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_what_follows_the_closing_delimiter_is_ignored(body: bytes, expected: Parts) -> None:
    line = body if body.endswith(b"\r\n") else body + b"\r\n"
    body = line + b"rubbish\r\n--b\r\nA: 1\r\n\r\nmore\r\n--b--\r\n\x00"
    assert read([body]) == expected
    assert read(bytewise(body)) == expected


@pytest.mark.parametrize(("body", "expected"), WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_a_body_that_ends_early_is_refused(body: bytes, expected: Parts) -> None:
    closing = body.rindex(b"--b--")
    for length in range(1, closing + len(b"--b-")):
        if re.search(rb"(^|\r\n)--b--[ \t]*\r?$", body[:length]):
            continue  # cut there, a longer line is the closing one
        for chunks in ([body[:length]], bytewise(body[:length])):
            with pytest.raises(BadRequest, match="before its closing delimiter"):
                read(chunks)


MALFORMED: dict[str, tuple[bytes, str, str]] = {
    "no delimiter": (b"DICM", "b", "before its closing delimiter"),
    "another boundary": (b"--c\r\n\r\nD\r\n--c--\r\n", "b", "before its closing delimiter"),
    "another boundary, long": (b"--c\r\n\r\n" + b"D" * 70_000, "b", "in the first 65536 bytes"),
    "line ends of LF": (b"--b\nA: 1\n\nD\n--b--\n", "b", "before its closing delimiter"),
    "header line that ends in LF": (b"--b\r\nA: 1\nB: 2\r\n\r\nD\r\n--b--\r\n", "b", "header line"),
    "header line with a CR": (b"--b\r\nA: 1\rB: 2\r\n\r\nD\r\n--b--\r\n", "b", "header line"),
    "header line without a colon": (b"--b\r\nContent-Type\r\n\r\nD\r\n--b--\r\n", "b", "header line"),
    "header name with a space": (b"--b\r\nContent Type: x\r\n\r\nD\r\n--b--\r\n", "b", "header line"),
    "first header line folded": (b"--b\r\n A: 1\r\n\r\nD\r\n--b--\r\n", "b", "header line"),
    "header with a NUL": (b"--b\r\nA: 1\x00\r\n\r\nD\r\n--b--\r\n", "b", "header line"),
    "delimiter among headers": (b"--b\r\n--b\r\n\r\nD\r\n--b--\r\n", "b", "header line"),
    "65 header lines": (b"--b\r\n" + b"A: 1\r\n" * 65 + b"\r\nD\r\n--b--\r\n", "b", "64 header lines"),
    "headers too long": (b"--b\r\nA: " + b"x" * 16_382 + b"\r\n\r\nD\r\n--b--\r\n", "b", "16384 bytes"),
    "headers without end": (b"--b\r\nA: " + b"x" * 40_000, "b", "16384 bytes"),
    "delimiter of a boundary that ends in dashes": (b"--b--\r\n", "b--", "before its closing delimiter"),
}


@pytest.mark.parametrize(("body", "boundary", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_body_is_refused(body: bytes, boundary: str, message: str) -> None:
    for chunks in ([body], bytewise(body)):
        with pytest.raises(BadRequest, match=message):
            read(chunks, boundary)


@pytest.mark.parametrize("boundary", ["", "x" * 71, "a\r\nb", "a ", "é", "a\x00", "\udc80"])
def test_a_boundary_parameter_that_is_not_one_is_refused(boundary: str) -> None:
    with pytest.raises(BadRequest, match="1 to 70"):
        MultipartReader(boundary)


@pytest.mark.parametrize("boundary", ["x" * 70, "{0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1}", "a b", "=_'()+,./:=?", "--"])
def test_any_visible_boundary_is_taken(boundary: str) -> None:
    body = f"--{boundary}\r\n\r\nD\r\n--{boundary}--".encode()
    assert read([body], boundary) == read(bytewise(body), boundary) == [({}, b"D")]


def test_an_empty_body_has_no_parts() -> None:
    assert read([]) == []
    assert read([b"", b""]) == []


def test_headers_of_the_greatest_size_are_taken() -> None:
    body = b"--b\r\nA: " + b"x" * 16_381 + b"\r\n\r\nD\r\n--b--\r\n"
    assert read([body]) == read(bytewise(body)) == [({"a": "x" * 16_381}, b"D")]
    assert len(read([b"--b\r\n" + b"".join(b"H%d: 1\r\n" % i for i in range(64)) + b"\r\nD\r\n--b--"])[0][0]) == 64


def test_the_greatest_preamble_is_taken() -> None:
    text = b"x" * multipart.MAX_PREAMBLE_BYTES
    assert read([text + b"\r\n--b--"]) == []
    with pytest.raises(BadRequest, match="in the first 65536 bytes"):
        read([b"x" + text + b"\r\n--b--"])


def test_what_curl_7_88_sends_is_read() -> None:
    body = (
        b"--------------------------6d1826de2e4b4eb7\r\n"
        b'Content-Disposition: attachment; name="file1"; filename="x.dcm"\r\n'
        b"Content-Type: application/dicom\r\n"
        b"\r\n"
        b"DICM-data\r\n"
        b"--------------------------6d1826de2e4b4eb7--\r\n"
    )
    headers = {"content-disposition": 'attachment; name="file1"; filename="x.dcm"', **DICOM}
    boundary = "------------------------6d1826de2e4b4eb7"
    assert read([body], boundary) == read(bytewise(body), boundary) == [(headers, b"DICM-data")]


def test_parts_are_told_as_soon_as_they_are_known() -> None:
    reader = MultipartReader("b")
    assert reader.feed(b"--b\r\nA: 1\r\n") == []
    assert reader.feed(b"\r\nDA") == [PartStart({"a": "1"}), PartData(b"DA")]
    assert reader.feed(b"TA\r") == [PartData(b"TA")]
    assert reader.feed(b"\n--b") == []
    assert reader.feed(b"\r\n") == [PartEnd()]
    assert reader.feed(b"\r\nX\r\n--b--\r\nrubbish") == [PartStart({}), PartData(b"X"), PartEnd(), End()]
    assert reader.feed(b"more") == reader.finish() == []


def test_a_chunk_inside_a_part_is_handed_on_without_a_copy() -> None:
    reader = MultipartReader("b")
    reader.feed(b"--b\r\n\r\nX")
    chunk = bytes(100_000)
    assert reader.feed(chunk)[0].data is chunk  # type: ignore[union-attr]


# Properties

NASTY = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"-",
        b"--",
        b"\r\n",
        b"\r\n--",
        b"\r\n--b",
        b"\r\n--bound",
        b"\r\n--boundaryX",
        b"\r\n--boundary-",
        b"--boundary",
        b"\r\n--boundary \rx",
        b"\r\n--boundary--x",
        b" ",
        b"\x00",
        b"b",
        b"DICM",
    ]
)
DATA = st.one_of(st.binary(max_size=60), st.lists(NASTY, max_size=12).map(b"".join))
HEADERS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True),
    st.from_regex(r"([!-~]([ -~]{0,20}[!-~])?)?", fullmatch=True),
    max_size=4,
)


def holds_delimiter(data: bytes) -> bool:
    """By RFC 2046: whether a line of the data is a delimiter."""
    return re.search(rb"\r\n--boundary(--)?[ \t]{0,64}\r\n", b"\r\n" + data + b"\r\n") is not None


def written(parts: Parts, boundary: bytes = b"boundary") -> bytes:
    heads = [b"".join(b"%s: %s\r\n" % (k.encode(), v.encode()) for k, v in headers.items()) for headers, _ in parts]
    pieces = [b"--%s\r\n%s\r\n%s\r\n" % (boundary, head, data) for head, (_, data) in zip(heads, parts, strict=True)]
    return b"".join(pieces) + b"--%s--\r\n" % boundary


@given(
    parts=st.lists(st.tuples(HEADERS, DATA.filter(lambda data: not holds_delimiter(data))), max_size=4),
    cuts=st.lists(st.integers(0, 600), max_size=20),
    preamble=st.sampled_from([b"", b"\r\n", b"text\r\n", b"--bound\r\n", b"--boundaryX\r\n\r\n"]),
    rubbish=st.binary(max_size=40),
)
@settings(max_examples=300, deadline=None)
def test_any_parts_in_any_chunks_come_back(parts: Parts, cuts: list[int], preamble: bytes, rubbish: bytes) -> None:
    body = preamble + written(parts) + rubbish
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[a:b] for a, b in itertools.pairwise(edges)]
    assert read(chunks, "boundary") == parts
    assert read(bytewise(body), "boundary") == parts


@given(chunks=st.lists(DATA, max_size=30), boundary=st.sampled_from(["boundary", "b"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_alike_however_they_are_cut(chunks: list[bytes], boundary: str) -> None:
    def outcome(pieces: list[bytes]) -> Parts | None:
        try:
            return read(pieces, boundary)
        except BadRequest:
            return None

    body = b"--boundary\r\n\r\n" + b"".join(chunks)
    assert outcome([body]) == outcome([b"--boundary\r\n\r\n", *chunks]) == outcome(bytewise(body))


@given(parts=st.lists(st.tuples(HEADERS, st.text("abc XYZ\r\n-.", max_size=40)), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_the_mail_parser_of_python_reads_the_same_parts(parts: list[tuple[dict[str, str], str]]) -> None:
    # Lines end in CRLF here: the mail parser takes a bare CR or LF for a line end, which in binary data is none.
    plain = [(headers, text.replace("\r", "").replace("\n", "\r\n").encode()) for headers, text in parts]
    headed = [({**headers, "content-type": "application/dicom"}, data) for headers, data in plain]
    body = written(headed, b"0123456789")
    head = b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=0123456789\r\n\r\n"
    message = email.message_from_bytes(head + body, EmailMessage, policy=email.policy.HTTP)
    seen = [part.get_payload(decode=True) for part in message.get_payload()]  # type: ignore[union-attr]
    assert seen == [data for _, data in read([body], "0123456789")]


# Cost

SECONDS = 20.0  # generous: quadratic behaviour takes minutes on these


@pytest.mark.parametrize(
    "pattern",
    [
        b"\r\n--",
        b"\r",
        b"\r\n--" + b"b" * 69,
        b"\r\n--" + b"b" * 70 + b"x",
        b"\r\n--" + b"b" * 70 + b"-",
        b"b",
        b"\r\r\n-",
    ],
    ids=["dashes", "CR", "all but one", "longer line", "half closed", "boundary characters", "broken"],
)
def test_bodies_made_of_near_delimiters_take_linear_time(pattern: bytes) -> None:
    boundary = "b" * 70
    data = pattern * (4_000_000 // len(pattern))
    head, tail = b"--%s\r\n\r\n" % boundary.encode(), b"\r\n--%s--\r\n" % boundary.encode()
    begin = time.perf_counter()
    for size in (1, 73, 65_536):
        used = data[: 300_000 if size == 1 else None]
        used = used[: len(used) // len(pattern) * len(pattern)]
        chunks = [used[i : i + size] for i in range(0, len(used), size)]
        assert read([head, *chunks, tail], boundary) == [({}, used)]
    assert time.perf_counter() - begin < SECONDS


def test_many_small_parts_take_linear_time() -> None:
    body = b"--b\r\nA: 1\r\n\r\nD\r\n" * 100_000 + b"--b--"
    begin = time.perf_counter()
    assert len(read([body])) == 100_000
    assert time.perf_counter() - begin < SECONDS


def test_memory_is_bounded_by_the_chunk_and_not_by_the_part() -> None:
    chunk = bytes(64 * 1024)
    reader = MultipartReader("b")
    reader.feed(b"--b\r\n\r\n")
    tracemalloc.start()
    try:
        for _ in range(500):
            reader.feed(chunk)
            reader.feed(b"\r\n--")
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


# Writing


def test_content_type_names_the_type_of_the_parts() -> None:
    assert (
        multipart.content_type("0f3c", "application/dicom")
        == 'multipart/related; type="application/dicom"; boundary=0f3c'
    )


def test_a_part_header_has_exactly_content_type_and_perhaps_location() -> None:
    assert multipart.part_header("x", "application/octet-stream", "1.2.840.10008.1.2.1") == (
        b"--x\r\nContent-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1\r\n\r\n"
    )
    assert multipart.part_header("x", "application/pdf", location="http://h/v2/studies/1") == (
        b"--x\r\nContent-Type: application/pdf\r\nContent-Location: http://h/v2/studies/1\r\n\r\n"
    )
    assert multipart.closing("x") == b"--x--\r\n"


@pytest.mark.parametrize("value", ["", "a b", "a\r\nX: y", "é", "a\x00"])
def test_no_header_can_be_smuggled_into_a_part(value: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        multipart.part_header("x", "application/dicom", value)
    with pytest.raises(ValueError, match="visible ASCII"):
        multipart.part_header("x", "application/dicom", location=value)
    with pytest.raises(ValueError, match="visible ASCII"):
        multipart.content_type("x", value)


@pytest.mark.parametrize("boundary", ["", "a b", 'a"', "a\r\n", "x" * 71])
def test_a_boundary_that_would_need_quotes_is_a_defect(boundary: str) -> None:
    for make in (
        multipart.closing,
        lambda b: multipart.part_header(b, "a/b"),
        lambda b: multipart.content_type(b, "a/b"),
    ):
        with pytest.raises(ValueError, match="a boundary must be"):
            make(boundary)


@given(parts=st.lists(st.binary(max_size=50), max_size=4))
@settings(max_examples=50, deadline=None)
def test_what_is_written_can_be_read(parts: list[bytes]) -> None:
    boundary = "0f3cf5c070e041efbaefc6f9f65ec3e1"
    pieces = [multipart.part_header(boundary, "application/dicom", "1.2") + data + multipart.PART_END for data in parts]
    body = b"".join(pieces) + multipart.closing(boundary)
    assert read([body], boundary) == [({"content-type": "application/dicom; transfer-syntax=1.2"}, p) for p in parts]
