"""Writing and reading blobs over the real blob service: one call or blocks, bounded pieces, nothing half visible."""

import secrets
from typing import Any

import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobClient

from shared.errors import NotFound, Unavailable
from shared.model import InstanceKey
from shared.storage.blobs import BLOCK, PARALLEL_BLOCKS, PIECE
from tests.storage.conftest import Bench

OWNER = InstanceKey("1.2", "1.2.3", "1.2.3.4")


@pytest.mark.parametrize(
    ("length", "calls"),
    [
        (0, {"blob put": 1}),
        (1, {"blob put": 1}),
        (BLOCK, {"blob put": 1}),
        (BLOCK + 1, {"blob block": 2, "blob block list": 1}),
        (2 * BLOCK, {"blob block": 2, "blob block list": 1}),
        (3 * BLOCK + 5, {"blob block": 4, "blob block list": 1}),
    ],
)
async def test_small_blobs_are_one_call_and_large_ones_are_blocks(
    bench: Bench, length: int, calls: dict[str, int]
) -> None:
    data = secrets.token_bytes(length)
    upload = bench.archive.blobs.upload("name")
    for at in range(0, length, 700_001):
        await upload.write(data[at : at + 700_001])
    await upload.finish(OWNER)
    assert dict(bench.calls) == calls
    assert b"".join([piece async for piece in bench.archive.blobs.pieces("name", 0, length)]) == data
    assert [(blob.name, blob.owner) async for blob in bench.archive.blobs.list_names("na")] == [("name", OWNER)]


@pytest.mark.parametrize(
    ("offset", "length", "reads"), [(0, 10, 1), (5, PIECE, 1), (5, PIECE + 1, 2), (PIECE, 2 * PIECE, 2)]
)
async def test_ranges_are_read_in_pieces(bench: Bench, offset: int, length: int, reads: int) -> None:
    data = secrets.token_bytes(3 * PIECE)
    await bench.archive.blobs.put("name", data, OWNER)
    bench.calls.clear()
    pieces = [piece async for piece in bench.archive.blobs.pieces("name", offset, length)]
    assert b"".join(pieces) == data[offset : offset + length]
    assert bench.calls["blob read"] == len(pieces) == reads
    assert max(map(len, pieces)) <= PIECE


async def test_an_upload_that_is_not_finished_is_not_visible_and_one_that_is_discarded_leaves_nothing(
    bench: Bench,
) -> None:
    for length in (10, 2 * BLOCK):
        upload = bench.archive.blobs.upload(f"name{length}")
        await upload.write(bytes(length))
        assert await bench.blobs() == []
        await upload.discard()
        assert await bench.blobs() == []


async def test_no_more_blocks_are_under_way_than_memory_allows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = most = 0
    stage_block = BlobClient.stage_block

    async def counted(self: BlobClient, *args: Any, **kwargs: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await stage_block(self, *args, **kwargs)
        finally:
            under_way -= 1

    monkeypatch.setattr(BlobClient, "stage_block", counted)
    upload = bench.archive.blobs.upload("name")
    for _ in range(2 * PARALLEL_BLOCKS):
        await upload.write(bytes(BLOCK))
    await upload.finish(OWNER)
    assert 1 < most <= PARALLEL_BLOCKS


async def test_a_block_that_cannot_be_staged_fails_the_upload(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(self: BlobClient, *args: Any, **kwargs: Any) -> None:
        raise Unavailable("blob storage answered 503")

    monkeypatch.setattr(BlobClient, "stage_block", failing)
    upload = bench.archive.blobs.upload("name")
    with pytest.raises(Unavailable):
        for _ in range(10):
            await upload.write(bytes(BLOCK))
        await upload.finish(OWNER)
    monkeypatch.undo()
    await upload.discard()
    assert await bench.blobs() == []


async def test_deleting_what_is_gone_is_no_error_and_reading_it_is(bench: Bench) -> None:
    await bench.archive.blobs.put("name", b"abc", OWNER)
    await bench.archive.blobs.delete(["name", "name", "other"])
    assert await bench.blobs() == []
    with pytest.raises(NotFound):
        await bench.archive.blobs.read("name")


async def test_a_reader_that_stops_early_leaves_no_read_behind(bench: Bench) -> None:
    await bench.archive.blobs.put("name", bytes(3 * PIECE), OWNER)
    pieces = bench.archive.blobs.pieces("name", 0, 3 * PIECE)
    assert len(await anext(pieces)) == PIECE
    await pieces.aclose()  # a task left behind would fail the test as a warning


async def test_unreachable_storage_says_so_without_quoting_the_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.core.exceptions import HttpResponseError

    async def failing(self: BlobClient, *args: Any, **kwargs: Any) -> None:
        raise HttpResponseError(message="GET /1.2.840.113619 failed for Doe^Jane")

    monkeypatch.setattr(BlobClient, "download_blob", failing)
    with pytest.raises(Unavailable) as raised:
        await bench.archive.blobs.read("name")
    assert "Doe" not in str(raised.value) and "1.2.840" not in str(raised.value)


async def test_an_answer_that_no_storage_gives_is_no_defect_of_the_service(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.archive.blobs.put("name", b"seven b", OWNER)
    send = AioHttpTransport.send

    async def without_range(self: AioHttpTransport, *args: Any, **kwargs: Any) -> Any:
        answer = await send(self, *args, **kwargs)
        answer.headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-range"}
        return answer

    monkeypatch.setattr(AioHttpTransport, "send", without_range)
    with pytest.raises(Unavailable, match="makes no sense"):
        await bench.archive.blobs.read("name", 0, 3)


async def test_a_blob_is_found_as_a_listing_shows_it(bench: Bench) -> None:
    await bench.archive.blobs.put("name", b"seven b", OWNER)
    bench.calls.clear()
    found = await bench.archive.blobs.find("name")
    assert found is not None
    assert dict(bench.calls) == {"blob length": 1}
    assert (found.name, found.owner, found.length) == ("name", OWNER, 7)
    assert [blob async for blob in bench.archive.blobs.list_names("")] == [found]
    assert await bench.archive.blobs.find("nobody") is None
