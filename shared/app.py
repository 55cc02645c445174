"""The composition root: settings in, handlers out. Only here are clients, clocks, ids and threads made."""

import logging
import os
import random
import secrets
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from azure.data.tables.aio import TableServiceClient
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobServiceClient

from shared.auth.gate import gate_of
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
from shared.storage.identity import Identity
from shared.storage.index import Index
from shared.storage.notes import Notes
from shared.storage.plan import Moment
from shared.storage.pseudonyms import KEY_BYTES, Pseudonyms
from shared.storage.table import IndexTable
from shared.storage.usage import MeasuringTransport
from shared.web.bulkdata import BulkdataHandlers
from shared.web.cors import Cors
from shared.web.delete import DeleteHandlers
from shared.web.description import DescriptionHandlers
from shared.web.edge import Edge, Refusal
from shared.web.health import HealthHandlers
from shared.web.journal import Journal, log_to_standard_output
from shared.web.rendered import RenderedHandlers
from shared.web.retrieve import RetrieveHandlers
from shared.web.search import SearchHandlers
from shared.web.store import StoreHandlers

logger = logging.getLogger(__name__)

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Services:
    """What the service can do, without HTTP."""

    settings: Settings
    archive: Archive
    pseudonyms: Pseudonyms
    pixels: PixelReader
    store: StoreService
    retrieve: RetrieveService
    search: SearchService
    delete: DeleteService
    sweep: SweepService
    #: What stores nothing twice: times that never repeat in this process.
    moment: Callable[[], Moment]
    #: Ends the connections to storage; for commands, which end, unlike the service.
    close: Callable[[], Awaitable[None]]


class Application:
    """Everything `function_app.py` calls.

    Where the settings cannot work there are no handlers: then `operation` and `job` refuse before any is asked for.
    """

    store: StoreHandlers
    retrieve: RetrieveHandlers
    bulkdata: BulkdataHandlers
    rendered: RenderedHandlers
    search: SearchHandlers
    delete: DeleteHandlers
    description: DescriptionHandlers
    health: HealthHandlers
    sweep: SweepService

    def __init__(self, edge: Edge | Refusal, services: Services | None) -> None:
        self.operation = edge.operation
        self.job = edge.job
        if services is None:
            return
        retrieve, pixels, window = services.retrieve, services.pixels, services.settings.download_window
        self.store = StoreHandlers(services.store)
        self.retrieve = RetrieveHandlers(retrieve, _new_hex, window)
        self.bulkdata = BulkdataHandlers(BulkdataService(retrieve, pixels), retrieve, _new_hex, window)
        self.rendered = RenderedHandlers(RenderingService(retrieve, pixels))
        self.search = SearchHandlers(services.search)
        self.delete = DeleteHandlers(services.delete)
        self.description = DescriptionHandlers()
        self.health = HealthHandlers(HealthService(services.archive))
        self.sweep = services.sweep


def application(environment: Mapping[str, str] = os.environ) -> Application:
    """The application for the settings in an environment. Connects to nothing yet.

    A setting that cannot work is logged and told to whoever asks for anything: the platform shows of an app that fails
    while it is imported only that it has no functions.
    """
    keep_identifiers_out_of_logs()
    log_to_standard_output()
    try:
        settings = settings_from(environment)
        gate = gate_of(settings, time.time)
        services = services_of(settings)
    except SettingError as error:
        logger.critical("the service is not configured: %s", error)
        return Application(Refusal(error), None)
    name_of_study = _unchanged if settings.audit_identifiers == "plain" else services.pseudonyms.of
    cors = Cors(settings.cors_origins, settings.cors_max_age_seconds)
    return Application(Edge(gate, cors, Journal(name_of_study), time.perf_counter, _new_hex), services)


def services_of(settings: Settings) -> Services:
    """The services for some settings. Connects to nothing yet.

    Raises SettingError naming the setting that is wrong.
    """
    credential = None if settings.dicom_storage_connection else _identity()
    blobs, tables = _clients(settings, credential)
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
    delete = DeleteService(archive, clock.moment)
    limits = StoreLimits(settings.max_instance_bytes, settings.max_header_bytes, settings.upload_window)
    orphan_age = settings.orphan_age_seconds * _MICROSECONDS

    async def close() -> None:
        for each in (blobs, tables, credential):
            if each is not None:
                await each.close()
        parsing.shutdown(wait=False)

    return Services(
        settings=settings,
        archive=archive,
        pseudonyms=Pseudonyms(table, index, lambda: secrets.token_bytes(KEY_BYTES)),
        pixels=pixels,
        store=StoreService(archive, limits, clock.version, parsing),
        retrieve=RetrieveService(pixels, Transcoder(pixels)),
        search=SearchService(archive, parsing),
        delete=delete,
        sweep=SweepService(archive, delete, clock.moment, orphan_age=orphan_age),
        moment=clock.moment,
        close=close,
    )


def _identity() -> Identity:
    try:
        return Identity(DefaultAzureCredential(), time.monotonic)
    except ValueError:
        # Its text may quote one of them.
        raise SettingError("the variables that begin with AZURE_ do not make a credential") from None


def _clients(settings: Settings, credential: Identity | None) -> tuple[BlobServiceClient, TableServiceClient]:
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
    if credential is None:
        try:
            return (
                BlobServiceClient.from_connection_string(
                    settings.dicom_storage_connection, transport=MeasuringTransport(), **limits
                ),
                TableServiceClient.from_connection_string(
                    settings.dicom_storage_connection, transport=MeasuringTransport()
                ),
            )
        except ValueError:
            raise SettingError("DICOM_STORAGE_CONNECTION is not a connection string of a storage account") from None
    return (
        BlobServiceClient(
            settings.dicom_blob_endpoint, credential=credential, transport=MeasuringTransport(), **limits
        ),
        TableServiceClient(
            endpoint=settings.dicom_table_endpoint, credential=credential, transport=MeasuringTransport()
        ),
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


def keep_identifiers_out_of_logs() -> None:
    """Silence libraries that log what they work on.

    URLs name table rows and resources by UIDs, and searches by patients; what pydicom has to say quotes values.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    # The worker's own web server configures its access log after this; only a filter outlives that.
    logging.getLogger("uvicorn.access").addFilter(lambda record: False)


async def _unchanged(uid: str) -> str:
    return uid


def _new_hex() -> str:
    """32 random hexadecimal digits, for a boundary or a trace."""
    return secrets.token_hex(16)
