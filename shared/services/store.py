"""Store (PS3.18 §10.5): instances in, blobs and index rows out.

    part bytes --scan, upload while they arrive--> blob --parse, judge--> NewInstance --commit--> visible

Blobs come first and the commit last, so a store that dies leaves nothing but blobs that no row names, and nothing is
visible by half. The instances of a request are committed together at its end, or `COMMIT_AFTER` at a time: a request
that fails as a whole (a broken body, a part of a wrong type) stores none of the instances after the last full batch.

A part that cannot be read, or that breaks a rule, is that instance's failure and harms no other.

Metadata and bulk data in parts of their own become files first (composed.py).
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from shared.dicom.part10 import Part10Scanner
from shared.dicom.scanned import ScannedFile
from shared.dicomweb.store_response import FailureReason
from shared.errors import MalformedDicom, ServiceError, TooLarge, describe
from shared.model import NewInstance
from shared.services.composed import DescribedPart, composed
from shared.services.judging import Outcome, StoreRequest, prepare
from shared.storage.archive import Archive
from shared.storage.blobs import Upload
from shared.storage.commit import CommitResult

logger = logging.getLogger(__name__)

#: Instances that wait for their commit before one is made without waiting for the end of the request; bounds the
#: metadata that is held, some kilobytes an instance.
COMMIT_AFTER = 200
#: Comments of one answer. The instances after those that drew so many are answered without.
MAX_COMMENTS = 20_000


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bytes of one instance and of its header, and parts that are parsed and uploaded at a time, of all requests."""

    instance_bytes: int
    header_bytes: int
    parts_in_flight: int


def _nobody(_: str) -> None:
    """Nobody wants to hear of it."""


class StoreService:
    """Stores instances in one archive."""

    def __init__(
        self, archive: Archive, limits: StoreLimits, new_version: Callable[[], str], parsing: Executor
    ) -> None:
        """`new_version` makes blob names; `parsing` runs what takes CPU, and bounds how much of it runs at once."""
        self._archive = archive
        self._limits = limits
        self._new_version = new_version
        self._parsing = parsing
        # One for all requests. What arrives before its part has ended is not counted: a header and a block a request.
        self._room = asyncio.Semaphore(limits.parts_in_flight)

    async def store(
        self,
        parts: AsyncIterator[AsyncIterator[bytes] | Outcome],
        request: StoreRequest,
        concerned: Callable[[str], object] = _nobody,
    ) -> list[Outcome]:
        """Store every part; outcomes come in the order of parts, none for a body without parts.

        A part that is an outcome has failed before it became a file. `concerned` is told each study into which
        something is to be stored, before it is, for whatever comes after, some of it may be there. Raises TooLarge
        when a part is too large, Unavailable when storage fails, and whatever `parts` raises.
        """
        await self._archive.open()
        run = _Run(self._archive, self._limits, request, self._room, concerned)
        try:
            async for part in parts:
                if isinstance(part, Outcome):
                    run.refuse(part)
                    continue
                await run.take(part, self._new_version(), self._parsing)
                if len(run.ready) >= COMMIT_AFTER:
                    await run.commit()
            await run.commit()
        except BaseException:
            await asyncio.shield(run.abandon())
            raise
        return [run.outcomes[position] for position in range(run.taken)]

    async def store_composed(
        self,
        parts: AsyncIterator[DescribedPart],
        base: str,
        request: StoreRequest,
        concerned: Callable[[str], object] = _nobody,
    ) -> list[Outcome]:
        """As `store`, of metadata and bulk data; outcomes come in the order of data sets.

        `base` is the URL that relative references are relative to. Raises BadRequest when metadata cannot be read.
        """
        files = composed(parts, base, self._limits.instance_bytes, self._parsing)
        async with contextlib.aclosing(files):
            return await self.store(files, request, concerned)


#: What becomes of an instance that the index did not take.
_FAILURES = {
    CommitResult.EXISTS: FailureReason.ALREADY_EXISTS,
    CommitResult.REFUSED: FailureReason.PROCESSING_FAILURE,
}


@dataclass(slots=True)
class _Run:
    """One store request while it runs."""

    archive: Archive
    limits: StoreLimits
    request: StoreRequest
    room: asyncio.Semaphore
    concerned: Callable[[str], object]
    taken: int = 0
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    ready: dict[int, tuple[NewInstance, Outcome]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    uploads: dict[int, Upload] = field(default_factory=dict)
    comments: int = 0

    def refuse(self, outcome: Outcome) -> None:
        """A part that is no file."""
        self.outcomes[self.taken] = self._within_bounds(outcome)
        self.taken += 1

    async def take(self, part: AsyncIterator[bytes], version: str, parsing: Executor) -> None:
        """Read one part to its end and start what is left to do with it."""
        position, self.taken = self.taken, self.taken + 1
        upload = self.uploads[position] = self.archive.blobs.upload(version)
        scanner = Part10Scanner(max_header_bytes=self.limits.header_bytes)
        length = 0
        malformed = False
        async for chunk in part:
            length += len(chunk)
            if length > self.limits.instance_bytes:
                raise TooLarge(f"an instance is larger than {self.limits.instance_bytes} bytes")
            if malformed:
                continue
            try:
                scanner.feed(chunk)
                await upload.write(chunk)
            except MalformedDicom:
                malformed = True
                await upload.discard()
        try:
            scanned = None if malformed else scanner.finish()
        except MalformedDicom:
            scanned = None
        if scanned is None:
            await self._fail(position, Outcome(None, None, failure=FailureReason.CANNOT_UNDERSTAND))
            return
        await self.room.acquire()
        task = asyncio.create_task(self._finish(position, scanned, parsing))
        task.add_done_callback(lambda _: self.room.release())
        self.tasks.add(task)
        await self._collect([each for each in self.tasks if each.done()])

    async def _finish(self, position: int, scanned: ScannedFile, parsing: Executor) -> None:
        """Parse, judge, and make the blob visible. A defect met on the way is this instance's failure alone."""
        loop = asyncio.get_running_loop()
        upload = self.uploads[position]
        try:
            prepared = await loop.run_in_executor(parsing, prepare, scanned, upload.name, self.request)
        except MalformedDicom:
            await self._fail(position, Outcome(None, None, failure=FailureReason.CANNOT_UNDERSTAND))
            return
        except Exception as error:
            logger.error("an instance could not be processed: %s", describe(error))
            await self._fail(position, Outcome(None, None, failure=FailureReason.PROCESSING_FAILURE))
            return
        outcome, new = prepared
        if new is None:
            await self._fail(position, outcome)
            return
        await upload.finish(new.key)
        await self.archive.put_sidecars(new)
        self.ready[position] = (new, self._within_bounds(outcome))

    async def _collect(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Wait for tasks. Raises the first error of them; the others are looked at too, or asyncio would log them."""
        waited_for = list(tasks)
        results = await asyncio.gather(*waited_for, return_exceptions=True)
        self.tasks.difference_update(waited_for)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _fail(self, position: int, outcome: Outcome) -> None:
        self.outcomes[position] = self._within_bounds(outcome)
        await self.uploads.pop(position).discard()

    def _within_bounds(self, outcome: Outcome) -> Outcome:
        comments = outcome.comments[: MAX_COMMENTS - self.comments]
        self.comments += len(comments)
        return replace(outcome, comments=comments)

    async def commit(self) -> None:
        """Commit what is ready, each study on its own."""
        await self._collect(self.tasks)
        by_study: dict[str, list[int]] = defaultdict(list)
        for position in sorted(self.ready):
            by_study[self.ready[position][0].key.study].append(position)
        for study in by_study:
            self.concerned(study)
        committing = {position: outcome for position, (_, outcome) in self.ready.items()}
        failures = await asyncio.gather(
            *(self._commit_study(positions) for positions in by_study.values()), return_exceptions=True
        )
        for failure, positions in zip(failures, by_study.values(), strict=True):
            if failure is None:
                continue
            if not isinstance(failure, ServiceError) or not self._any_stored():
                raise failure
            # What other studies of the request have become must be told: theirs is the only answer there will be.
            for position in positions:
                known = committing[position]
                self.outcomes[position] = Outcome(
                    known.sop_class, known.sop_instance, failure=FailureReason.PROCESSING_FAILURE
                )

    def _any_stored(self) -> bool:
        return any(outcome.failure is None for outcome in self.outcomes.values())

    async def _commit_study(self, positions: list[int]) -> None:
        # From here on it is the index that knows whether these blobs are wanted; `abandon` must not touch them.
        ready = [self.ready.pop(position) for position in positions]
        for position in positions:
            del self.uploads[position]
        results = await self.archive.store([new for new, _ in ready], replaces=self.request.replaces)
        for position, (new, outcome), result in zip(positions, ready, results, strict=True):
            failure = _FAILURES.get(result)
            if failure is None:
                self.outcomes[position] = outcome
            else:
                self.outcomes[position] = Outcome(outcome.sop_class, outcome.sop_instance, failure=failure)
                # Others of the batch are stored: a blob that stays must not make failures of them. The sweep finds it.
                with contextlib.suppress(ServiceError):
                    await self.archive.delete_blobs_of(new)

    async def abandon(self) -> None:
        """Undo what was not committed. What cannot be undone is left to the sweep."""
        # Waited for, not cancelled: storage would go on with a write whose client has gone, and show its blob later.
        await asyncio.gather(*self.tasks, return_exceptions=True)
        ready = [new for new, _ in self.ready.values()]
        unfinished = [upload for position, upload in self.uploads.items() if position not in self.ready]
        await asyncio.gather(
            *(self.archive.delete_blobs_of(new) for new in ready),
            *(upload.discard() for upload in unfinished),
            return_exceptions=True,
        )
