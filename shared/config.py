"""The settings of the service: one frozen value, read once from the environment by the composition root.

Each field is documented by its comment, with its unit; the environment variable is the field's name in upper case.
Numbers that no operator has a reason to change are constants beside the code they limit.

What is wrong with a value is told to whoever asks for anything, so the text never holds the value: somebody may have
put a key into the wrong field.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

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
    #: Whether requests must carry a token: "required" or "disabled". While nobody has decided, nothing is answered.
    authentication: str = ""
    #: Id of the Microsoft Entra tenant whose tokens count, as a GUID; or else set AUTH_ISSUER.
    auth_tenant_id: str = ""
    #: Where tenants are looked up; another one for national clouds.
    auth_authority: str = "https://login.microsoftonline.com"
    #: Issuer of the tokens, where that is not Entra: an OpenID provider's URL, exactly as its tokens have it.
    auth_issuer: str = ""
    #: URL of the issuer's signing keys; empty, it is where the issuer's OpenID configuration says.
    auth_jwks_url: str = ""
    #: What the `aud` of a token may be; several values are separated by commas.
    auth_audience: str = ""
    #: The claim that lists the roles of the caller; dots lead into nested claims, as in realm_access.roles.
    auth_roles_claim: str = "roles"
    #: What roles and scopes allow: read, write, delete or *, separated by blanks; entries are separated by commas.
    auth_roles: str = (
        "Dicom.Owner=*, Dicom.Reader=read, Dicom.Read=read, Dicom.Write=write, Dicom.Delete=delete, Dicom.ReadWrite=*"
    )
    #: Origins whose pages may call the service, separated by commas; * is every origin, empty is none.
    cors_origins: str = ""
    #: Seconds a browser may remember that it may call the service.
    cors_max_age_seconds: int = 3600
    #: How the audit log names studies: "hashed", under a key that is kept in the index, or "plain".
    audit_identifiers: str = "hashed"
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
        if self.dicom_storage_connection and not _is_of_azurite(self.dicom_storage_connection):
            raise SettingError(
                "DICOM_STORAGE_CONNECTION is for Azurite: for an account in Azure, whose keys nobody should hold, set "
                "DICOM_BLOB_ENDPOINT and DICOM_TABLE_ENDPOINT"
            )
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise SettingError(f"{name.upper()} must be from {low} to {high}")
        for name, pattern, what in _PATTERNS:
            if getattr(self, name) and not re.fullmatch(pattern, getattr(self, name), re.ASCII):
                raise SettingError(f"{name.upper()} must be {what}")
        for name, choices in _CHOICES:
            if getattr(self, name) not in choices:
                raise SettingError(f"{name.upper()} must be {' or '.join(filter(None, choices))}")


#: The least and the most of every number.
_RANGES = (
    ("cors_max_age_seconds", 0, 86_400),
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

#: What may be said where there is a choice.
_CHOICES = (
    ("authentication", ("", "required", "disabled")),
    ("audit_identifiers", ("hashed", "plain")),
)


_ORIGIN = r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?!:(80|443)(?!\d))(:\d{1,5})?/?"

#: What texts must look like that are not empty, and how to say it.
_PATTERNS = (
    (
        "dicom_blob_endpoint",
        r"https://(?![^/]*\.table\.)[^\s/?#@]+(/[^\s?#]*)?",
        "a URL such as https://account.blob.core.windows.net",
    ),
    (
        "dicom_table_endpoint",
        r"https://(?![^/]*\.blob\.)[^\s/?#@]+(/[^\s?#]*)?",
        "a URL such as https://account.table.core.windows.net",
    ),
    (
        "dicom_container",
        r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*",
        "3 to 63 lower-case letters and digits, with single hyphens between them",
    ),
    ("dicom_table", r"(?!(?i:tables)$)[A-Za-z][A-Za-z0-9]{2,62}", "3 to 63 letters and digits, a letter first"),
    (
        "cors_origins",
        rf"\s*(?i:\*|{_ORIGIN})\s*(,\s*(?i:\*|{_ORIGIN})?\s*)*",
        "*, or origins such as https://viewer.example with commas between them: no path, no usual port",
    ),
)

#: The account that Azurite has unless it is told of others; nobody's in Azure.
_AZURITE_ACCOUNT = "devstoreaccount1"


def _is_of_azurite(connection: str) -> bool:
    """Whether a connection string is of Azurite, on its usual ports or with both endpoints named.

    Another account than its usual one must be on this machine or in its network, which a public name is not.
    """
    pairs = {name.strip().lower(): value for name, _, value in (each.partition("=") for each in connection.split(";"))}
    if pairs.pop("usedevelopmentstorage", "") == "true":
        return not {"accountname", "accountkey", "blobendpoint", "tableendpoint"} & pairs.keys()
    endpoints = [pairs.get("blobendpoint", ""), pairs.get("tableendpoint", "")]
    if not all(endpoints):
        return False
    return pairs.get("accountname") == _AZURITE_ACCOUNT or all(map(_is_near, endpoints))


def _is_near(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return "." not in host or host.endswith((".internal", ".local", ".localhost")) or bool(ip_address(host))
    except ValueError:
        return False


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
                raise SettingError(f"{field.name.upper()} must be a whole number") from None
        else:
            values[field.name] = text
    return Settings(**values)
