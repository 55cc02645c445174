"""The body of a store request as a stream of parts; and the rest of it, when a request has failed before its end."""

from collections.abc import AsyncIterator, Mapping

from starlette.requests import ClientDisconnect, Request

from shared.dicomweb.multipart import MultipartReader, PartData, PartEnd, PartStart
from shared.dicomweb.store_request import StoreContent, described_part, part_media_type
from shared.errors import BadRequest
from shared.services.composed import DescribedPart

#: Parts of one request: each is an item of the answer, which is held whole.
MAX_PARTS = 20_000
#: Bytes of a body that are read and thrown away after its request has failed, so that the client, and the platform's
#: proxy, which both send before they listen, hear why. A longer rest is cut off.
MAX_DRAINED = 256 * 1024 * 1024


async def parts_of(stream: AsyncIterator[bytes], content: StoreContent) -> AsyncIterator[AsyncIterator[bytes]]:
    """The parts of a body, each a stream of its bytes; a body that is one instance has one part.

    Read each part to its end before asking for the next. Raises BadRequest for a broken multipart body,
    UnsupportedMedia for a part of a type that cannot be stored.
    """
    if not content.multipart:
        yield stream
        return
    async for index, headers, chunks in _parts(stream, content):
        part_media_type(headers, content.type_parameter, index)
        yield chunks


async def described_parts_of(
    stream: AsyncIterator[bytes], content: StoreContent, base: str
) -> AsyncIterator[DescribedPart]:
    """The parts of a body of metadata and bulk data. Read and raises as `parts_of`; `base` as for `described_part`."""
    async for index, headers, chunks in _parts(stream, content):
        yield DescribedPart(described_part(headers, content.type_parameter, index, base), chunks)


async def _parts(
    stream: AsyncIterator[bytes], content: StoreContent
) -> AsyncIterator[tuple[int, Mapping[str, str], AsyncIterator[bytes]]]:
    """Position, headers and bytes of each part."""
    events = _events(stream, MultipartReader(content.boundary))
    index = 0
    async for event in events:
        if isinstance(event, PartStart):
            if index >= MAX_PARTS:
                raise BadRequest(f"the body has more than {MAX_PARTS} parts")
            yield index, event.headers, _part(events)
            index += 1


async def _events(stream: AsyncIterator[bytes], reader: MultipartReader) -> AsyncIterator[object]:
    async for chunk in stream:
        for event in reader.feed(chunk):
            yield event
    for event in reader.finish():
        yield event


async def _part(events: AsyncIterator[object]) -> AsyncIterator[bytes]:
    async for event in events:
        if isinstance(event, PartData):
            yield event.data
        elif isinstance(event, PartEnd):
            return
    raise BadRequest("the multipart body ends within a part")


async def drain(request: Request) -> None:
    """Read on to the end of a body nobody wants any more, or until `MAX_DRAINED` bytes of it have come."""
    drained = 0
    try:
        async for chunk in request.stream():
            drained += len(chunk)
            if drained > MAX_DRAINED:
                return
    except (ClientDisconnect, RuntimeError):
        return  # gone, or read to its end already
