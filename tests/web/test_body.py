"""A body as a stream of parts, and the rest of a body that nobody wants any more."""

from collections.abc import AsyncIterator, Iterable

import pytest
from starlette.requests import Request
from starlette.types import Message

from shared.dicomweb.store_request import BulkDataPart, MetadataPart, StoreContent
from shared.errors import BadRequest, UnsupportedMedia
from shared.web import body as module
from shared.web.body import described_parts_of, drain, parts_of

MULTIPART = StoreContent(True, "b", "application/dicom")
TYPED = b"Content-Type: application/dicom\r\n\r\n"


async def stream(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def read(pieces: Iterable[bytes], content: StoreContent = MULTIPART) -> list[bytes]:
    return [b"".join([piece async for piece in part]) async for part in parts_of(stream(pieces), content)]


def whole(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + TYPED + part + b"\r\n" for part in parts) + b"--b--\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
async def test_parts_are_the_same_however_the_body_arrives(size: int) -> None:
    expected = [b"first\r\n--", b"", b"\r\n--c\r\n", bytes(range(256))]
    sent = whole(*expected)
    assert await read(sent[start : start + size] for start in range(0, len(sent), size)) == expected


async def test_a_body_that_is_one_instance_is_one_part_as_it_comes() -> None:
    assert await read([b"--b\r\n", b"anything"], StoreContent(False)) == [b"--b\r\nanything"]
    assert await read([], StoreContent(False)) == [b""]


async def test_a_body_without_parts_has_none() -> None:
    assert await read([]) == []
    assert await read([b"--b--\r\n"]) == []


async def test_a_part_of_another_type_is_refused_before_its_bytes_are_read() -> None:
    taken = []

    async def counted() -> AsyncIterator[bytes]:
        for piece in (whole(b"first")[: -len(b"--b--\r\n")], b"--b\r\nContent-Type: image/png\r\n\r\n", b"pixels"):
            taken.append(piece)
            yield piece

    with pytest.raises(UnsupportedMedia, match="part 2"):
        async for part in parts_of(counted(), MULTIPART):
            assert b"".join([piece async for piece in part]) == b"first"
    assert taken[-1] != b"pixels"


@pytest.mark.parametrize("cut", range(1, len(whole(b"first")) - len(b"--\r\n")))
async def test_a_body_cut_anywhere_before_its_end_is_a_bad_request(cut: int) -> None:
    with pytest.raises(BadRequest):
        await read([whole(b"first")[:cut]])


DESCRIBED = StoreContent(True, "b", "application/dicom+json")
BASE = "https://host/v2/studies"


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_metadata_and_bulk_data_come_with_what_they_are(size: int) -> None:
    bulk = b"--b\r\nContent-Type: image/jls\r\nContent-Location: x\r\n\r\nbulk\r\n"
    sent = b"--b\r\n\r\n{}\r\n" + bulk + b"--b\r\nContent-Type: application/dicom+json\r\n\r\n[]\r\n--b--"
    body = stream(sent[start : start + size] for start in range(0, len(sent), size))
    found = [
        (part.role, b"".join([piece async for piece in part.chunks]))
        async for part in described_parts_of(body, DESCRIBED, BASE)
    ]
    assert found == [
        (MetadataPart(), b"{}"),
        (BulkDataPart(("https://host/v2/x",), "1.2.840.10008.1.2.4.80"), b"bulk"),
        (MetadataPart(), b"[]"),
    ]


async def test_the_number_of_parts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARTS", 2)
    assert len(await read([whole(b"1", b"2")])) == 2
    with pytest.raises(BadRequest, match="more than 2 parts"):
        await read([whole(b"1", b"2", b"3")])


class Sender:
    """The sending side of a request: so many messages, and how many of them have been taken."""

    def __init__(self, *messages: Message) -> None:
        self.messages = messages
        self.taken = 0

    async def __call__(self) -> Message:
        self.taken += 1
        return self.messages[self.taken - 1]

    def request(self) -> Request:
        return Request({"type": "http", "headers": [], "method": "POST", "path": "/"}, self)


def piece(size: int, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": b"\0" * size, "more_body": more}


async def test_draining_reads_to_the_end_of_the_body() -> None:
    sender = Sender(piece(10), piece(10), piece(10, more=False))
    await drain(sender.request())
    assert sender.taken == 3


async def test_draining_goes_on_where_reading_stopped() -> None:
    sender = Sender(piece(10), piece(10), piece(10, more=False))
    request = sender.request()
    reading = request.stream()
    await anext(reading)
    await drain(request)
    assert sender.taken == 3
    await reading.aclose()  # type: ignore[attr-defined]


async def test_draining_what_was_read_to_its_end_takes_nothing() -> None:
    sender = Sender(piece(10, more=False))
    request = sender.request()
    assert [len(each) async for each in request.stream()] == [10, 0]
    await drain(request)
    assert sender.taken == 1


async def test_draining_ends_when_the_client_has_gone() -> None:
    sender = Sender(piece(10), {"type": "http.disconnect"})
    await drain(sender.request())
    assert sender.taken == 2


async def test_draining_gives_up_on_a_body_that_goes_on_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DRAINED", 25)
    sender = Sender(*[piece(10)] * 100)
    await drain(sender.request())
    assert sender.taken == 3
