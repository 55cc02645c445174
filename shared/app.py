"""The composition root: settings in, handlers out. Only here are clients, clocks, ids and threads made."""

import logging
import os
import random
import secrets
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from azure.data.tables.aio import TableServiceClient
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobServiceClient

from shared.config import Settings, settings_from
from shared.errors import SettingError
from shared.model import DEFAULT_PARTITION
from shared.services.bulkdata import BulkdataService
from shared.services.delete import DeleteService
from shared.services.health import HealthService
from shared.services.pixels import PixelReader
from shared.services.rendering import RenderingService
from shared.services.retrieve import RetrieveService
from shared.services.search import SearchService
from shared.services.store import StoreLimits, StoreService
from shared.services.sweep import SweepService
from shared.services.transcoding import Transcoder
from shared.storage import keys
from shared.storage.archive import Archive
from shared.storage.blobs import BLOCK, PIECE, BlobStore
from shared.storage.commit import Committer
from shared.storage.index import Index
from shared.storage.notes import Notes
from shared.storage.plan import Moment
from shared.storage.table import IndexTable
from shared.web.bulkdata import BulkdataHandlers
from shared.web.delete import DeleteHandlers
from shared.web.description import DescriptionHandlers
from shared.web.health import HealthHandlers
from shared.web.rendered import RenderedHandlers
from shared.web.retrieve import RetrieveHandlers
from shared.web.search import SearchHandlers
from shared.web.store import StoreHandlers

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Application:
    """Everything `function_app.py` calls."""

    store: StoreHandlers
    retrieve: RetrieveHandlers
    bulkdata: BulkdataHandlers
    rendered: RenderedHandlers
    search: SearchHandlers
    delete: DeleteHandlers
    description: DescriptionHandlers
    health: HealthHandlers
    sweep: SweepService


def wire(settings: Settings | None = None) -> Application:
    """The application for some settings, those of the environment when none are given. Connects to nothing yet.

    Raises SettingError naming the setting that is wrong.
    """
    settings = settings or settings_from()
    _keep_identifiers_out_of_logs()
    blobs, tables = _clients(settings)
    clock = _Clock(settings.garbage_grace_seconds * _MICROSECONDS)
    table = IndexTable(tables.get_table_client(settings.dicom_table))
    index = Index(table, DEFAULT_PARTITION, settings.index_buckets)
    archive = Archive(
        blobs=BlobStore(blobs.get_container_client(settings.dicom_container)),
        index=index,
        table=table,
        committer=Committer(table, index.partition_of, clock.moment, random.random),
        notes=Notes(table, index),
        search_scan_rows=settings.search_scan_rows,
    )
    # Parsing and decoding hold the interpreter: more threads than processors would only take memory.
    parsing = ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1), thread_name_prefix="parsing")
    pixels = PixelReader(archive, settings.max_transcode_bytes, parsing)
    retrieve = RetrieveService(pixels, Transcoder(pixels))
    window = settings.download_window
    delete = DeleteService(archive, clock.moment)
    return Application(
        store=StoreHandlers(
            StoreService(
                archive,
                StoreLimits(settings.max_instance_bytes, settings.max_header_bytes, settings.upload_window),
                clock.version,
                parsing,
            )
        ),
        retrieve=RetrieveHandlers(retrieve, _new_boundary, window),
        bulkdata=BulkdataHandlers(BulkdataService(retrieve, pixels), retrieve, _new_boundary, window),
        rendered=RenderedHandlers(RenderingService(retrieve, pixels)),
        search=SearchHandlers(SearchService(archive, parsing)),
        delete=DeleteHandlers(delete),
        description=DescriptionHandlers(),
        health=HealthHandlers(HealthService(archive)),
        sweep=SweepService(archive, delete, clock.moment, orphan_age=settings.orphan_age_seconds * _MICROSECONDS),
    )


def _clients(settings: Settings) -> tuple[BlobServiceClient, TableServiceClient]:
    # One request must never become several: what is written or read at a time is already as large as it may be.
    limits: dict[str, Any] = {
        "max_single_put_size": BLOCK,
        "max_single_get_size": PIECE,
        "max_chunk_get_size": PIECE,
        "max_block_size": BLOCK,
        # As patient as the table client, some seconds: with the SDK's own pauses a 503 takes a minute and a half.
        "initial_backoff": 1,
        "increment_base": 2,
        "random_jitter_range": 1,
    }
    if settings.dicom_storage_connection:
        try:
            return (
                BlobServiceClient.from_connection_string(settings.dicom_storage_connection, **limits),
                TableServiceClient.from_connection_string(settings.dicom_storage_connection),
            )
        except ValueError:
            raise SettingError("DICOM_STORAGE_CONNECTION is not a connection string of a storage account") from None
    credential = DefaultAzureCredential()
    return (
        BlobServiceClient(settings.dicom_blob_endpoint, credential=credential, **limits),
        TableServiceClient(endpoint=settings.dicom_table_endpoint, credential=credential),
    )


class _Clock:
    """Microseconds since 1970, never the same twice in one process, so that times can order what happened."""

    def __init__(self, grace: int) -> None:
        self._grace = grace
        self._latest = 0

    def _now(self) -> int:
        self._latest = max(self._latest + 1, time.time_ns() // 1000)
        return self._latest

    def moment(self) -> Moment:
        """Now, for a commit."""
        now = self._now()
        return Moment(now, keys.version_id(now, secrets.randbits(80)), now + self._grace)

    def version(self) -> str:
        """A new blob name."""
        return keys.version_id(self._now(), secrets.randbits(80))


def _keep_identifiers_out_of_logs() -> None:
    """Silence libraries that log what they work on.

    URLs name table rows and resources by UIDs, and searches by patients; what pydicom has to say quotes values.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    # The worker's own web server configures its access log after this; only a filter outlives that.
    logging.getLogger("uvicorn.access").addFilter(lambda record: False)


def _new_boundary() -> str:
    return secrets.token_hex(16)
