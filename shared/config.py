"""The settings of the service: one frozen value, read once from the environment by the composition root.

Each field is documented by its comment, with its unit; the environment variable is the field's name in upper case.
Numbers that no operator has a reason to change are constants beside the code they limit.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from shared.errors import SettingError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can choose. Raises SettingError when a value, or a combination, cannot work."""

    #: Connection string of the storage account; for Azurite only. Leave it empty in Azure and set the two endpoints.
    dicom_storage_connection: str = ""
    #: Blob endpoint reached with a managed identity, such as https://account.blob.core.windows.net.
    dicom_blob_endpoint: str = ""
    #: Table endpoint reached with a managed identity, such as https://account.table.core.windows.net.
    dicom_table_endpoint: str = ""
    #: Blob container of the instances; created when it does not exist.
    dicom_container: str = "dicom"
    #: Table of the index; created when it does not exist.
    dicom_table: str = "dicomindex"
    #: Partitions the index is spread over, 1 to 64. Fixed when the table is created; later values are ignored.
    index_buckets: int = 4
    #: Largest instance that is stored, in bytes; larger ones are answered with 413.
    max_instance_bytes: int = 4096 * MIB
    #: Largest frame, decoded or not, and largest data set without pixel data that is held for transcoding, in bytes.
    max_transcode_bytes: int = 128 * MIB
    #: Largest data set without pixel data and bulk values, in bytes; larger ones cannot be stored.
    max_header_bytes: int = 64 * MIB
    #: Blobs that are being downloaded ahead of the one being sent, per response; each holds at most 4 MiB.
    download_window: int = 4
    #: Parts, of all requests together, that are being parsed and uploaded while others arrive; each up to 8 MiB.
    upload_window: int = 8
    #: Index rows a search may read that no key range narrows (`*abc*`), before its answer is cut short.
    search_scan_rows: int = 100_000
    #: Seconds a replaced or deleted blob is kept for readers that are still at it.
    garbage_grace_seconds: int = 3600
    #: Age in seconds from which a blob that no row names counts as left over from a store that died.
    orphan_age_seconds: int = 86_400

    def __post_init__(self) -> None:
        if not self.dicom_storage_connection and not (self.dicom_blob_endpoint and self.dicom_table_endpoint):
            raise SettingError(
                "DICOM_STORAGE_CONNECTION is empty: set it, or set both DICOM_BLOB_ENDPOINT and DICOM_TABLE_ENDPOINT"
            )
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(f"{name.upper()} must be from {low} to {high}, but is {value}")


#: The least and the most of every number.
_RANGES = (
    ("index_buckets", 1, 64),
    ("max_instance_bytes", 1, 1024 * 1024 * MIB),
    ("max_transcode_bytes", 0, 2048 * MIB),
    ("max_header_bytes", 64 * 1024, 1024 * MIB),
    ("download_window", 1, 32),
    ("upload_window", 1, 32),
    ("search_scan_rows", 1000, 10_000_000),
    ("garbage_grace_seconds", 0, 30 * 86_400),
    ("orphan_age_seconds", 0, 30 * 86_400),
)


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment holds; fields it does not name keep their defaults.

    Raises SettingError naming the variable whose value is not of its kind or out of range.
    """
    values: dict[str, Any] = {}
    for field in fields(Settings):
        text = environment.get(field.name.upper(), "").strip()
        if not text:
            continue
        if field.type is int:
            try:
                values[field.name] = int(text)
            except ValueError:
                raise SettingError(f"{field.name.upper()} must be a whole number, but is {text!r}") from None
        else:
            values[field.name] = text
    return Settings(**values)
