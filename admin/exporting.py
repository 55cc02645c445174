"""`export`: instances to files, as they are stored or in another transfer syntax.

A file is written under another name and renamed when it is complete, so what has an instance's name is an instance, and
a run that was stopped is gone on with. Nothing is written outside the folder: names are made of digits and dots, no
folder that is really a link is entered, and a link in the place of a file is replaced, not followed.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from shared.dicomweb.negotiation import Choice
from shared.errors import CannotTranscode, MalformedRow, NotFound
from shared.model import Scope, StoredInstance
from shared.services.progress import Progress, Tally
from shared.services.retrieve import RetrieveService, not_found
from shared.storage.archive import Archive
from shared.storage.parallel import for_each

#: Instances written at a time, each holding two pieces of 4 MiB, or what transcoding it takes.
FILES_AT_ONCE = 6

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class Exported(StrEnum):
    """What becomes of an instance."""

    WRITTEN = "written"
    THERE = "there already"
    GONE = "deleted or replaced meanwhile"
    CANNOT_TRANSCODE = "failed: cannot be had in the transfer syntax"
    NO_BLOB = "failed: its blob is not there"
    NO_FILE_NAME = "failed: a UID that is no name for a file"
    MALFORMED = "failed: studies, or the rest of them, because of a row that cannot be read"


#: What should not be.
FAULTS = frozenset({Exported.CANNOT_TRANSCODE, Exported.NO_FILE_NAME, Exported.NO_BLOB, Exported.MALFORMED})


@dataclass(frozen=True, slots=True)
class Exporter:
    """One export to one folder; `transfer_syntax` is a UID, or None for files as they are stored."""

    archive: Archive
    retrieve: RetrieveService
    folder: Path
    transfer_syntax: str | None
    progress: Progress
    tally: Tally[Exported]

    async def export(self, scope: Scope) -> None:
        """Write a study or series. Raises NotFound when there is none, Unavailable, and OSError."""
        index = self.archive.index
        found = (
            await index.get_study(scope.study)
            if scope.series is None
            else await index.get_series(scope.study, scope.series)
        )
        if found is None:
            raise not_found(scope)
        self.progress.begin("Instances", found.instances)
        await self._export(scope, self.folder)

    async def export_all(self) -> None:
        """Write every study, each to a folder of its own."""
        self.progress.begin("Instances")
        await asyncio.to_thread(self.folder.mkdir, parents=True, exist_ok=True)
        async for studies in self.archive.index.list_studies():
            for study in studies:
                await self._export(Scope(study), self.folder / study)

    async def _export(self, scope: Scope, folder: Path) -> None:
        async def instances() -> AsyncIterator[StoredInstance]:
            try:
                async for page in self.archive.index.pages_of(scope):
                    for instance in page:
                        yield instance
            except MalformedRow as error:
                self.tally.add(Exported.MALFORMED, error.row)

        async def write(instance: StoredInstance) -> None:
            result = await self._write(instance, folder)
            key = instance.key
            self.tally.add(result, *((key.study, key.series, key.instance) if result in FAULTS else ()))
            self.progress.advance()

        await for_each(write, instances(), FILES_AT_ONCE)

    async def _write(self, instance: StoredInstance, folder: Path) -> Exported:
        key = instance.key
        if not all(_UID.fullmatch(uid) for uid in (key.study, key.series, key.instance)):
            return Exported.NO_FILE_NAME
        path = folder / key.series / f"{key.instance}.dcm"
        wanted = self.transfer_syntax or instance.transfer_syntax
        if await asyncio.to_thread(_is_there, path, instance, wanted):
            return Exported.THERE
        try:
            part = await self.retrieve.part_of(instance, Choice(False, "application/dicom", wanted))
            partial = await asyncio.to_thread(_prepare, path, self.folder)
            try:
                with _begun(partial) as file:
                    async with aclosing(part.content.read()) as chunks:
                        async for chunk in chunks:
                            await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(os.replace, partial, path)
            finally:
                partial.unlink(missing_ok=True)
        except CannotTranscode:
            return Exported.CANNOT_TRANSCODE
        except NotFound:
            return Exported.NO_BLOB if await self.archive.owns(key, instance.version) else Exported.GONE
        return Exported.WRITTEN


def _begun(partial: Path) -> BinaryIO:
    """A new file, opened on the loop: what a thread opens for a task that is cancelled meanwhile, nobody closes."""
    return partial.open("xb")


def _prepare(path: Path, below: Path) -> Path:
    """Make the folders of a file; returns the path to write it under, where nothing is. Raises OSError."""
    below.mkdir(parents=True, exist_ok=True)
    for folder in reversed([each for each in path.parents if below in each.parents]):
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise NotADirectoryError(20, "is a link, which is not followed", str(folder))
    partial = path.with_name(f"{path.name}.part")
    partial.unlink(missing_ok=True)
    return partial


def _is_there(path: Path, instance: StoredInstance, wanted: str) -> bool:
    """Whether a file is the instance already: of the length it is stored with, or in the transfer syntax wanted."""
    if path.is_symlink() or not path.is_file():
        return False
    if wanted == instance.transfer_syntax:
        return path.stat().st_size == instance.length
    # How long it is in another transfer syntax is known only afterwards; but a file of this name is complete.
    try:
        return bool(read_file_meta_info(path).TransferSyntaxUID == wanted)
    except (InvalidDicomError, AttributeError, EOFError):
        return False
