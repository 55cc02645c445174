"""What storage calls cost is counted where they are sent, for the request that makes them."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from azure.storage.blob._shared import constants
from azure.storage.blob.aio import ContainerClient

from local.azurite import Azurite
from shared.model import InstanceKey
from shared.storage.blobs import BlobStore
from shared.storage.usage import MeasuringTransport, Usage, measured

OWNER = InstanceKey("1.2", "1.2.3", "1.2.3.4")


@pytest.fixture
async def store(azurite: Azurite) -> AsyncIterator[BlobStore]:
    client = ContainerClient.from_connection_string(
        azurite.connection_string, f"t{secrets.token_hex(8)}", transport=MeasuringTransport()
    )
    async with client:
        made = BlobStore(client)
        await made.open()
        yield made
    await asyncio.sleep(0)  # aiohttp closes its sockets in the next turn of the loop


async def test_calls_and_bytes_are_counted_both_ways(store: BlobStore) -> None:
    data = secrets.token_bytes(300_000)
    written, read = Usage(), Usage()
    with measured(written):
        await store.put("one", data, OWNER)
    with measured(read):
        assert await store.read("one", 100_000, 50_000) == data[100_000:150_000]
    assert (written.calls, written.sent) == (1, 300_000)
    assert (read.calls, read.sent, read.received) == (1, 0, 50_000)


async def test_a_body_that_is_held_counts_as_it_is(store: BlobStore) -> None:
    await store.put("one", b"1", OWNER)
    usage = Usage()
    with measured(usage):
        assert [each.name async for each in store.list_names("")] == ["one"]
    assert usage.calls == 1
    assert usage.received > 200  # a listing is XML


async def test_what_tasks_do_counts_for_the_request_that_started_them(store: BlobStore) -> None:
    usage, other = Usage(), Usage()

    async def request() -> None:
        with measured(usage):
            await asyncio.gather(*(store.put(f"blob{number}", b"12345", OWNER) for number in range(4)))

    async def neighbour() -> None:
        with measured(other):
            await store.put("another", b"123", OWNER)

    await asyncio.gather(request(), neighbour())
    await store.put("nobody", b"1", OWNER)
    assert (usage.calls, usage.sent, other.calls, other.sent) == (4, 20, 1, 3)


async def test_the_transport_reads_as_the_one_the_sdk_would_have_made() -> None:
    # It makes one of its own unless it is given one, and then does not say how it would have.
    config = MeasuringTransport().connection_config
    assert (config.timeout, config.read_timeout, config.data_block_size) == (
        constants.CONNECTION_TIMEOUT,
        constants.READ_TIMEOUT,
        constants.DATA_BLOCK_SIZE,
    )
