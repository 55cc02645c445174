"""`import`: files of a folder or container into the archive, through the same store as those that come by HTTP.

Files are taken in groups, each of which is one store: its instances are committed together, and then entered in the
journal together. What is no DICOM file is counted and left alone.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from admin.journal import Journal
from admin.sources import Source, SourceFile, Unreadable
from shared.dicomweb.store_response import FailureReason as _Failure
from shared.dicomweb.store_response import WarningReason as _Warning
from shared.services.judging import Outcome, StoreRequest
from shared.services.progress import Progress, Tally
from shared.services.store import StoreService
from shared.storage.parallel import for_each

#: Files of one group, and bytes after which it is full; a larger file is a group of its own.
GROUP_FILES = 200
GROUP_BYTES = 512 * 1024 * 1024
#: Groups under way at a time: while one is committed, the next one arrives.
GROUPS_AT_ONCE = 3
#: Where the prefix DICM stands (PS3.10 §7.1).
_PREFIX = slice(128, 132)
#: File ID of the directory of a medium, which refers to instances and is none (PS3.10 §8.6).
_DIRECTORY = "DICOMDIR"


class Imported(StrEnum):
    """What becomes of a file."""

    STORED = "stored"
    STORED_IN_PART = (
        f"stored, warning {_Warning.INDEXED_WITHOUT_INVALID_ATTRIBUTES:d}: not found by values that break a rule"
    )
    STORED_IMPLICIT = f"stored, warning {_Warning.DATA_SET_DOES_NOT_MATCH_SOP_CLASS:d}: in Implicit VR, or cut short"
    EXISTS = f"stored already ({_Failure.ALREADY_EXISTS:d})"
    DONE_BEFORE = "done before, says the journal"
    NO_DICOM = "not DICOM"
    DIRECTORY = "directories of media (DICOMDIR)"
    CANNOT_UNDERSTAND = (
        f"failed with {_Failure.CANNOT_UNDERSTAND:d}: cannot be read, or a required attribute breaks a rule"
    )
    PROCESSING_FAILURE = f"failed with {_Failure.PROCESSING_FAILURE:d}: not processed, and perhaps when tried again"
    TOO_LARGE = "failed: larger than MAX_INSTANCE_BYTES"
    UNREADABLE = "failed: a file or folder that cannot be read, or changed while it was"


#: What should not be.
FAULTS = frozenset({Imported.CANNOT_UNDERSTAND, Imported.PROCESSING_FAILURE, Imported.TOO_LARGE, Imported.UNREADABLE})

_OF_FAILURE = {
    _Failure.ALREADY_EXISTS: Imported.EXISTS,
    _Failure.CANNOT_UNDERSTAND: Imported.CANNOT_UNDERSTAND,
    _Failure.PROCESSING_FAILURE: Imported.PROCESSING_FAILURE,
}
_OF_WARNING = {
    None: Imported.STORED,
    _Warning.INDEXED_WITHOUT_INVALID_ATTRIBUTES: Imported.STORED_IN_PART,
    _Warning.DATA_SET_DOES_NOT_MATCH_SOP_CLASS: Imported.STORED_IMPLICIT,
}


def result_of(outcome: Outcome) -> Imported:
    """What became of a file that was handed to the store."""
    return _OF_FAILURE[outcome.failure] if outcome.failure is not None else _OF_WARNING[outcome.warning]


@dataclass(frozen=True, slots=True)
class Importer:
    """One import. `replaces`: instances that exist are replaced; `max_length`: bytes of one file."""

    store: StoreService
    journal: Journal
    replaces: bool
    max_length: int
    progress: Progress
    tally: Tally[Imported]

    async def run(self, source: Source) -> None:
        """Import every file. Raises Unavailable when storage fails; what is in the journal then is done."""
        self.progress.begin("Files found")
        total = 0
        async for found in source.files():
            if isinstance(found, SourceFile):
                total += 1
                self.progress.advance()
        self.progress.begin("Files", total)
        await for_each(self._import_group, self._groups(source), GROUPS_AT_ONCE)

    async def _groups(self, source: Source) -> AsyncIterator[list[SourceFile]]:
        """The files that are to be stored, in groups."""
        group: list[SourceFile] = []
        length = 0
        async for found in source.files():
            if isinstance(found, Unreadable):
                self.tally.add(Imported.UNREADABLE, found.name)
            elif found.digest in self.journal:
                self._count(found, Imported.DONE_BEFORE)
            elif found.length > self.max_length:
                self._count(found, Imported.TOO_LARGE)
            else:
                if group and (len(group) == GROUP_FILES or length + found.length > GROUP_BYTES):
                    yield group
                    group, length = [], 0
                group.append(found)
                length += found.length
        if group:
            yield group

    async def _import_group(self, group: list[SourceFile]) -> None:
        """Store a group and enter what is done in the journal. Without a file that turns out to be unreadable."""
        request = StoreRequest(study=None, replaces=self.replaces, lenient=True)
        left = list(group)
        while True:
            offer = _Offer(left)
            try:
                outcomes = await self.store.store(offer.parts(), request)
                break
            except Unreadable:
                # What was read of it may have looked like a whole instance: nothing of the store may count.
                broken = left.pop(offer.reached)
                self._count(broken, Imported.UNREADABLE)
        results = [*offer.others, *zip(offer.sent, map(result_of, outcomes), strict=True)]
        self.journal.add(file.digest for file, result in results if result not in FAULTS)
        for file, result in results:
            self._count(file, result)

    def _count(self, file: SourceFile, result: Imported) -> None:
        told = result in FAULTS or result in (Imported.NO_DICOM, Imported.EXISTS, Imported.STORED_IN_PART)
        self.tally.add(result, *((file.name,) if told else ()))
        self.progress.advance()


class _Offer:
    """A group as the parts of a store: files that begin like DICOM files are sent, the others are not even read."""

    def __init__(self, group: Sequence[SourceFile]) -> None:
        self._group = group
        self.sent: list[SourceFile] = []
        self.others: list[tuple[SourceFile, Imported]] = []
        self.reached = 0

    async def parts(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The files that are sent, each to be read before the next is asked for."""
        for position, file in enumerate(self._group):
            self.reached = position
            async with aclosing(file.read()) as chunks:
                try:
                    first = await anext(chunks, b"")
                except Unreadable:
                    self.others.append((file, Imported.UNREADABLE))
                    continue
                if first[_PREFIX] != b"DICM":
                    self.others.append((file, Imported.NO_DICOM))
                elif file.base_name.upper() == _DIRECTORY:
                    self.others.append((file, Imported.DIRECTORY))
                else:
                    self.sent.append(file)
                    yield _rejoined(first, chunks)


async def _rejoined(first: bytes, chunks: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk
