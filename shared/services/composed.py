"""Metadata and bulk data (PS3.18 §10.5.2) as a stream of files, so that they are stored as any instance is.

    parts --read, spooled--> data sets, bulk parts --compose--> one stream of bytes for each data set

A data set that makes no file is that instance's failure, with the reason in its comment; JSON that cannot be read at
all fails the request, before anything is stored.

Memory: the JSON of a request is held as text, `MAX_METADATA_BYTES` of it at most, and one data set at a time is
unpacked; bulk data is in spool.py.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field, replace

from shared.dicom.composing import compose, data_sets_in, read_data_set, uids_of
from shared.dicom.encapsulation import JPEG_HEAD, NO_SYNTAX, BulkPart, CannotCompose, Piece, jpeg_syntax
from shared.dicom.validation import Finding
from shared.dicomweb.store_request import BulkDataPart, MetadataPart, bulk_name
from shared.dicomweb.store_response import FailureReason
from shared.errors import BadRequest, TooLarge
from shared.services.judging import Outcome
from shared.services.spool import Spool

#: JSON of one request, which is held; see also `MAX_JSON_VALUES` in composing.py.
MAX_METADATA_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DescribedPart:
    """A part of a request with metadata, what it is, and its bytes."""

    role: MetadataPart | BulkDataPart
    chunks: AsyncIterator[bytes]


@dataclass(slots=True)
class _Bulk:
    """The bulk parts of a request by name; those of one name are frames in the order in which they came."""

    base: str
    parts: dict[str, list[Piece]] = field(default_factory=lambda: defaultdict(list))
    frames: dict[str, dict[int, Piece]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, names: Sequence[str], part: BulkPart) -> None:
        for name in names:
            self.parts[name].append(part)
            # As frames of a bulk value are called in answers (PS3.18 §8.6.1.2.3).
            if frame := _FRAME.fullmatch(name):
                self.frames[frame[1]][int(frame[2])] = part

    def find(self, uri: str) -> Sequence[Piece]:
        """What a BulkDataURI names; nothing where that is not in the request. Nothing is fetched from elsewhere."""
        name = bulk_name(uri, self.base)
        frames = self.frames.get(name, {})
        return self.parts.get(name) or [frames[number] for number in sorted(frames)]


_FRAME = re.compile(r"(.+)/frames/([0-9]{1,9})")


async def composed(
    parts: AsyncIterator[DescribedPart], base: str, most: int, parsing: Executor
) -> AsyncGenerator[AsyncIterator[bytes] | Outcome]:
    """The file of every data set in the order of the request, or how it failed. Read each to its end before the next.

    `base` is what relative names of bulk data are relative to, `most` bounds the bytes of all bulk data. Raises
    BadRequest for JSON that cannot be read, TooLarge for too much of either, and whatever `parts` raises.
    """
    loop = asyncio.get_running_loop()
    texts: list[tuple[str, list[tuple[int, int]]]] = []
    room = MAX_METADATA_BYTES
    bulk = _Bulk(base)
    with closing(Spool(most, parsing)) as spool:
        async for part in parts:
            if isinstance(part.role, BulkDataPart):
                bulk.add(part.role.names, await _kept(part.role, part.chunks, spool))
                continue
            data = await _read(part.chunks, room)
            room -= len(data)
            texts.append(await loop.run_in_executor(parsing, _parsed, data))
        for text, extents in texts:
            for begin, end in extents:
                made = await loop.run_in_executor(parsing, _file, text[begin:end], bulk)
                yield made if isinstance(made, Outcome) else spool.stream(made)


async def _read(chunks: AsyncIterator[bytes], room: int) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > room:
            raise TooLarge(f"the metadata of the request is larger than {MAX_METADATA_BYTES} bytes")
    return bytes(data)


def _parsed(data: bytes) -> tuple[str, list[tuple[int, int]]]:
    try:
        text = data.decode("utf-8-sig")
        return text, data_sets_in(text)
    except UnicodeDecodeError:
        raise BadRequest("the metadata is not in UTF-8") from None
    except ValueError as error:
        raise BadRequest(f"the metadata is not a data set in JSON, nor an array of them: {error}") from None


async def _kept(role: BulkDataPart, chunks: AsyncIterator[bytes], spool: Spool) -> BulkPart:
    part = await spool.add(chunks)
    syntax = role.syntax
    if role.jpeg:
        syntax = jpeg_syntax(await spool.read(part.offset, min(part.length, JPEG_HEAD))) or NO_SYNTAX
    return replace(part, syntax=syntax)


def _file(text: str, bulk: _Bulk) -> list[Piece] | Outcome:
    data_set = read_data_set(text)
    try:
        return compose(data_set, bulk.find)
    except CannotCompose as error:
        comments = () if error.tag is None else (Finding(error.tag, error.message),)
        return Outcome(*uids_of(data_set), failure=FailureReason.CANNOT_UNDERSTAND, comments=comments)
