"""What each command does: puts services, sources and the console together, and says whether all is well.

Each raises SettingError for an argument or setting that is wrong, Unavailable when storage fails, and OSError when a
file that was named cannot be used.
"""

import argparse
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import ContainerClient

from admin import exporting, importing
from admin.console import DetailsFile, ProgressBar, print_counts
from admin.journal import Journal
from admin.sources import ContainerSource, FolderSource, Source, container_url
from shared.app import Services, services_of
from shared.config import Settings, settings_from
from shared.errors import SettingError
from shared.model import Scope
from shared.services import rebuild as rebuilding
from shared.services import verify as verifying
from shared.services.progress import Tally
from shared.storage.blobs import BlobStore


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Services]:
    services = services_of(settings)
    try:
        yield services
    finally:
        # Of a command that was stopped: blobs whose commit never came would lie about until the sweep finds them.
        await services.archive.committer.finish()
        await services.close()


@contextmanager
def _told[K: StrEnum](
    kinds: type[K], title: str, details: Path | None, *, add: bool = False
) -> Iterator[tuple[ProgressBar, Tally[K]]]:
    """Somebody to tell of progress and of what is found; at the end the table is printed, however that comes about."""
    with DetailsFile(details, add=add) as file:
        tally = Tally[K](file)
        try:
            with ProgressBar() as progress:
                yield progress, tally
        except BaseException:
            if tally.counts:
                print_counts(title, tally.counts, kinds)
            raise
        print_counts(title, tally.counts, kinds)


def _is_well[K: StrEnum](counts: Mapping[K, int], faults: frozenset[K]) -> bool:
    return not any(counts.get(fault) for fault in faults)


async def _need_index(services: Services) -> None:
    if not await services.archive.index.exists():
        raise SettingError(f"DICOM_TABLE: there is no index in the table {services.settings.dicom_table}")


async def rebuild(arguments: argparse.Namespace) -> bool:
    """`rebuild`."""
    settings = settings_from()
    old_table: str | None = arguments.old_table
    if old_table == settings.dicom_table:
        raise SettingError("--old-table must be another table than DICOM_TABLE")
    async with _opened(settings) as services, _opened(replace(settings, dicom_table=old_table or "none")) as old:
        if old_table is not None and not await old.archive.index.exists():
            raise SettingError(f"--old-table: there is no index in the table {old_table}")
        options = rebuilding.RebuildOptions(
            idle=arguments.idle,
            removes=arguments.remove_rows,
            old=old.archive.notes if old_table is not None else None,
        )
        with (
            ThreadPoolExecutor(2, thread_name_prefix="parsing") as parsing,
            _told(rebuilding.Rebuilding, "Rebuilt:", arguments.details) as (progress, tally),
        ):
            service = rebuilding.RebuildService(
                services.archive, services.moment, parsing, max_header_bytes=settings.max_header_bytes
            )
            await service.rebuild(options, progress, tally)
            if old_table is not None:
                await services.pseudonyms.take_over(old.pseudonyms)
        return _is_well(tally.counts, rebuilding.FAULTS)


async def verify(arguments: argparse.Namespace) -> bool:
    """`verify`."""
    settings = settings_from()
    async with _opened(settings) as services:
        await _need_index(services)
        with _told(verifying.Verified, "Verified:", arguments.details) as (progress, tally):
            orphan_age = settings.orphan_age_seconds * 1_000_000
            service = verifying.VerifyService(services.archive, services.moment, orphan_age=orphan_age)
            await service.verify(progress, tally)
        return _is_well(tally.counts, verifying.FAULTS)


async def import_files(arguments: argparse.Namespace) -> bool:
    """`import`."""
    settings = settings_from()
    if arguments.prefix and not arguments.container:
        raise SettingError("--prefix goes with --container; with --container-url it is a part of the URL")
    async with _opened(settings) as services, _source(arguments, settings) as source:
        with (
            Journal(arguments.journal, f"{services.archive.blobs.url} {arguments.replace}") as journal,
            # With a journal a run that was stopped is gone on with, and what it told must not be lost.
            _told(importing.Imported, "Files:", arguments.details, add=arguments.journal is not None) as (
                progress,
                tally,
            ),
        ):
            importer = importing.Importer(
                services.store, journal, arguments.replace, settings.max_instance_bytes, progress, tally
            )
            await importer.run(source)
        return _is_well(tally.counts, importing.FAULTS)


@asynccontextmanager
async def _source(arguments: argparse.Namespace, settings: Settings) -> AsyncIterator[Source]:
    if arguments.folder is not None:
        yield FolderSource(arguments.folder)
        return
    place = container_url(arguments.container_url) if arguments.container_url else None
    container: str = place.container if place else arguments.container
    if place is None and container == settings.dicom_container:
        raise SettingError("--container must be another container than DICOM_CONTAINER, which is the archive's own")
    if place is None and settings.dicom_storage_connection:
        async with ContainerClient.from_connection_string(settings.dicom_storage_connection, container) as client:
            yield ContainerSource(BlobStore(client), client.url, arguments.prefix)
        return
    account = place.account if place else settings.dicom_blob_endpoint
    async with (
        DefaultAzureCredential() as credential,
        ContainerClient(account, container, credential=credential) as client,
    ):
        yield ContainerSource(BlobStore(client), client.url, place.prefix if place else arguments.prefix)


async def export(arguments: argparse.Namespace) -> bool:
    """`export`."""
    if arguments.series and arguments.all:
        raise SettingError("--series goes with --study")
    async with _opened(settings_from()) as services:
        await _need_index(services)
        with _told(exporting.Exported, "Files:", arguments.details) as (progress, tally):
            exporter = exporting.Exporter(
                services.archive, services.retrieve, arguments.folder, arguments.transfer_syntax, progress, tally
            )
            if arguments.all:
                await exporter.export_all()
            else:
                await exporter.export(Scope(arguments.study, arguments.series))
        return _is_well(tally.counts, exporting.FAULTS)
